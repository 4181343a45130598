package main

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// number is what a series says. The zero number is one that nobody tells.
type number struct {
	value float64
	known bool
}

func some(value float64) number { return number{value, !math.IsNaN(value)} }

// MarshalJSON writes null for what nobody tells, and a word for what JSON has no number for.
func (n number) MarshalJSON() ([]byte, error) {
	switch {
	case !n.known:
		return []byte("null"), nil
	case math.IsInf(n.value, 0):
		return []byte(`"unlimited"`), nil
	}
	return json.Marshal(n.value)
}

// over returns the quotient, unknown where there is none.
func (n number) over(other number) number {
	if !n.known || !other.known || other.value == 0 {
		return number{}
	}
	return some(n.value / other.value)
}

// since returns how much a counter grew. One that is less than before began anew.
func (n number) since(before number) number {
	switch {
	case !n.known:
		return number{}
	case !before.known || before.value > n.value:
		return n
	}
	return some(n.value - before.value)
}

// reading is /metrics at a moment.
type reading struct {
	at     time.Time
	series []sample
}

// sample is a line of /metrics.
type sample struct {
	name string
	// labels :: name → value
	labels map[string]string
	value  float64
}

var errNoMetrics = errors.New("this is not the text format of Prometheus")

// readMetrics reads Prometheus's text format, as this binary writes it: without time stamps.
func readMetrics(text []byte, at time.Time) (reading, error) {
	r := reading{at: at}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := readSample(line)
		if err != nil {
			return reading{}, err
		}
		r.series = append(r.series, s)
	}
	return r, nil
}

func readSample(line string) (sample, error) {
	end := strings.IndexAny(line, "{ ")
	if end < 1 {
		return sample{}, errNoMetrics
	}
	s := sample{name: line[:end], labels: map[string]string{}}
	rest, labeled := strings.CutPrefix(line[end:], "{")
	var err error
	for labeled && err == nil && !strings.HasPrefix(rest, "}") {
		rest, err = s.readLabel(strings.TrimPrefix(rest, ","))
	}
	if err != nil {
		return sample{}, err
	}
	s.value, err = strconv.ParseFloat(strings.TrimSpace(strings.TrimPrefix(rest, "}")), 64)
	return s, err
}

// readLabel reads name="value" and returns the rest. What Go takes for a string in quotes is what the format does.
func (s sample) readLabel(text string) (rest string, err error) {
	name, rest, _ := strings.Cut(text, "=")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return "", errNoMetrics
	}
	s.labels[name], err = strconv.Unquote(quoted)
	return rest[len(quoted):], err
}

// matching returns the series of that name which have all of the labels (name, value, name, value, …).
func (r reading) matching(name string, labels ...string) []sample {
	var found []sample
	for _, s := range r.series {
		if s.name == name && s.has(labels) {
			found = append(found, s)
		}
	}
	return found
}

func (s sample) has(labels []string) bool {
	for pair := range slices.Chunk(labels, 2) {
		if s.labels[pair[0]] != pair[1] {
			return false
		}
	}
	return true
}

func (r reading) has(name string) bool { return len(r.matching(name)) > 0 }

// values returns what a label of the series of that name is, in order.
func (r reading) values(name, label string) []string {
	var values []string
	for _, s := range r.matching(name) {
		values = append(values, s.labels[label])
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// sum adds up the series of that name which have all of the labels.
func (r reading) sum(name string, labels ...string) number {
	var total number
	for _, s := range r.matching(name, labels...) {
		total = some(total.value + s.value)
	}
	return total
}

// buckets adds up the histograms of that name which have all of the labels (:: upper bound → count up to there).
func (r reading) buckets(name string, labels ...string) map[float64]float64 {
	buckets := map[float64]float64{}
	for _, s := range r.matching(name+"_bucket", labels...) {
		if bound, err := strconv.ParseFloat(s.labels["le"], 64); err == nil {
			buckets[bound] += s.value
		}
	}
	return buckets
}

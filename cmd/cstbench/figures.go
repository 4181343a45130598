package main

import (
	"maps"
	"slices"
)

// loadFigures are what results/load.json holds.
type loadFigures struct {
	Machine machine `json:"machine"`
	Rounds  int     `json:"rounds"`
	// SliceMillis is how long each contender is asked, each time.
	SliceMillis int64             `json:"sliceMillis"`
	Contenders  []string          `json:"contenders"`
	Skipped     map[string]string `json:"skipped"` // name -> why it could not run
	Notes       []note            `json:"notes"`
	Workloads   []workload        `json:"workloads"`
	Cells       []cell            `json:"cells"`
	Pairs       []pair            `json:"pairs"`
	Noise       noise             `json:"noise"`
	// PerHit are the commands that Redis counted for a request, by contender; Background those a second without any request.
	PerHit     map[string]float64 `json:"perHit"`
	Background map[string]float64 `json:"background"`
}

// note tells what a contender is.
type note struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Text    string `json:"text"`
}

// ownNotes are of our own.
var ownNotes = []note{
	{Name: nameEcho, Text: "the floor: a bare Echo handler that answers the document, without any middleware or time-out."},
	{Name: nameGet, Text: "an Echo handler that answers what a plain `GET` by go-redis gives; its pool has a connection for every caller."},
	{Name: nameProxy, Text: "as it is shipped, on Redis: it answers from memory, and, as nobody has to show a key, on the connection itself, before net/http."},
	{Name: nameCallers, Text: "the same with a callers file: every request has a key, and goes through net/http."},
	{Name: nameProxyRedis, Text: "the same with `" + memoryOff + "`: it looks into Redis for every request."},
	{Name: "…" + again, Text: "the same program once more, in another process."},
	{Name: "…" + many, Text: "it is asked for 512 clients in turn, so that callers have nothing to share."},
	{Name: "…" + overUnix, Text: "callers come by a Unix socket, Redis is reached by TCP as ever."},
}

// cell is what one contender did under one workload: medians over the rounds, and sums. Durations are in ns.
type cell struct {
	Contender  string   `json:"contender"`
	Workload   workload `json:"workload"`
	PerSecond  float64  `json:"perSecond"`
	P50        float64  `json:"p50"`
	P99        float64  `json:"p99"`
	P999       float64  `json:"p999"`
	Own        float64  `json:"own"`       // processor time for a request, its own
	Redis      float64  `json:"redis"`     // that of Redis
	Generator  float64  `json:"generator"` // cores that the generator used
	Requests   int      `json:"requests"`
	Unanswered int      `json:"unanswered"`
	Gets       int      `json:"gets"` // that Redis counted meanwhile
}

// pair compares a contender with another, within the rounds.
type pair struct {
	Contender string   `json:"contender"`
	Base      string   `json:"base"`
	Workload  workload `json:"workload"`
	PerSecond ratio    `json:"perSecond"`
	P50       ratio    `json:"p50"`
	P99       ratio    `json:"p99"`
	Processor ratio    `json:"processor"` // its own and Redis's, for a request
}

// noise is how much others had of the machine.
type noise struct {
	Slices  int     `json:"slices"`
	Repeats int     `json:"repeats"`
	Noisy   int     `json:"noisy"`
	Median  float64 `json:"median"` // cores that others used
	Most    float64 `json:"most"`
}

func (r *rounds) noise() noise {
	return noise{Slices: r.Slices, Repeats: r.Repeats, Noisy: r.Noisy, Median: median(r.Others), Most: slices.Max(append(r.Others, 0))}
}

func column(samples []sample, of func(sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return values
}

func cellOf(name string, w workload, samples []sample) cell {
	mid := func(of func(sample) float64) float64 { return median(column(samples, of)) }
	c := cell{
		Contender: name, Workload: w,
		PerSecond: mid(sample.perSecond), P50: mid(sample.p50), P99: mid(sample.p99), P999: mid(func(s sample) float64 { return s.P999 }),
		Own: mid(func(s sample) float64 { return s.Own }), Redis: mid(func(s sample) float64 { return s.Redis }),
		Generator: mid(func(s sample) float64 { return s.Generator }),
	}
	for _, s := range samples {
		c.Requests += s.Requests
		c.Unanswered += s.Unanswered
		c.Gets += s.Commands[hitCommand]
	}
	return c
}

func (s sample) perSecond() float64 { return s.PerSecond }
func (s sample) p50() float64       { return s.P50 }
func (s sample) p99() float64       { return s.P99 }
func (s sample) processor() float64 { return s.Own + s.Redis }

func pairOf(a, b string, w workload, samples map[string][]sample) pair {
	compare := func(of func(sample) float64) ratio { return ratioOf(column(samples[a], of), column(samples[b], of)) }
	return pair{
		Contender: a, Base: b, Workload: w,
		PerSecond: compare(sample.perSecond), P50: compare(sample.p50), P99: compare(sample.p99), Processor: compare(sample.processor),
	}
}

// bases are what every contender is compared with; subjects are compared with every contender.
var (
	bases    = []string{nameEcho, nameGet}
	subjects = []string{nameProxy, nameProxyRedis, nameProxyRedis + many}
)

// summarize makes figures of the samples.
func (r *rounds) summarize(f *loadFigures) {
	f.Noise = r.noise()
	f.PerHit, f.Background = r.perHit(), r.background()
	for _, w := range f.Workloads {
		for _, name := range f.Contenders {
			c := cellOf(name, w, r.Samples[w][name])
			f.Cells = append(f.Cells, c)
			f.Pairs = append(f.Pairs, pairsOf(name, w, r.Samples[w])...)
		}
	}
}

func pairsOf(name string, w workload, samples map[string][]sample) (all []pair) {
	for _, base := range slices.Sorted(maps.Keys(samples)) {
		twice := base+again == name
		if base != name && (twice || slices.Contains(bases, base) || slices.Contains(subjects, name)) {
			all = append(all, pairOf(name, base, w, samples))
		}
	}
	return all
}

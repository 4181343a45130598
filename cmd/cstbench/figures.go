package main

import (
	"maps"
	"slices"
)

// loadFigures are what results/load.json holds.
type loadFigures struct {
	Machine machine `json:"machine"`
	Command string  `json:"command"`
	Rounds  int     `json:"rounds"`
	// SliceMillis is how long each contender is asked, each time.
	SliceMillis int64             `json:"sliceMillis"`
	Contenders  []string          `json:"contenders"`
	Skipped     map[string]string `json:"skipped"` // name -> why it could not run
	Workloads   []workload        `json:"workloads"`
	Cells       []cell            `json:"cells"`
	Pairs       []pair            `json:"pairs"`
	Noise       noise             `json:"noise"`
	Commands    commandFigures    `json:"commands"`
}

// cell is what one contender did under one workload: medians over the rounds, and sums. Durations are in ns.
type cell struct {
	Contender string   `json:"contender"`
	Workload  workload `json:"workload"`
	PerSecond float64  `json:"perSecond"`
	P50       float64  `json:"p50"`
	P99       float64  `json:"p99"`
	P999      float64  `json:"p999"`
	Own       float64  `json:"own"`   // processor time for a request, its own
	Redis     float64  `json:"redis"` // that of Redis
	Requests  int      `json:"requests"`
	Unsent    int      `json:"unsent"`
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

// commandFigures are the commands that Redis counted.
type commandFigures struct {
	// PerHit is by contender: commands for a request, those in the background left out.
	PerHit map[string]float64 `json:"perHit"`
	// Background are those that come without any request.
	Background []string `json:"background"`
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
	}
	for _, s := range samples {
		c.Requests += s.Requests
		c.Unsent += s.Unsent
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

// bases are what every contender is compared with, where they were measured too.
var bases = []string{nameEcho, nameGet, nameProxy, nameProxyRedis}

// summarize makes figures of the samples.
func (r *rounds) summarize(f *loadFigures) {
	f.Noise = r.noise()
	for _, w := range f.Workloads {
		for _, name := range f.Contenders {
			f.Cells = append(f.Cells, cellOf(name, w, r.Samples[w][name]))
			f.Pairs = append(f.Pairs, pairsOf(name, w, r.Samples[w])...)
		}
	}
}

func pairsOf(name string, w workload, samples map[string][]sample) (all []pair) {
	measured := slices.Collect(maps.Keys(samples))
	for _, base := range bases {
		if base != name && slices.Contains(measured, base) {
			all = append(all, pairOf(name, base, w, samples))
		}
	}
	return all
}

package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// registrar makes series and registers them. A mistake in a declaration is a panic, at the first test.
type registrar struct{ *prometheus.Registry }

// newRegistrar returns a registrar in whose registry the Go runtime, the process and the build report already.
func newRegistrar(parts Parts) registrar {
	r := registrar{prometheus.NewRegistry()}
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.build(parts)
	return r
}

func (r registrar) counter(name, help string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.MustRegister(vec)
	return vec
}

func (r registrar) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	r.MustRegister(vec)
	return vec
}

func (r registrar) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.MustRegister(vec)
	return vec
}

// counters are the children of a counter with one label, by its value: kept, because looking one up in the vec costs
// more than counting.
type counters[K ~string] map[K]prometheus.Counter

// known returns the children of vec for all values, each at 0.
func known[K ~string](vec *prometheus.CounterVec, values ...K) counters[K] {
	children := make(counters[K], len(values))
	for _, value := range values {
		children[value] = vec.WithLabelValues(string(value))
	}
	return children
}

// timed returns the children of vec for all values, each with nothing observed.
func timed[K ~string](vec *prometheus.HistogramVec, values ...K) map[K]prometheus.Observer {
	children := make(map[K]prometheus.Observer, len(values))
	for _, value := range values {
		children[value] = vec.WithLabelValues(string(value))
	}
	return children
}

// inc counts value. One that nobody declared makes no series.
func (c counters[K]) inc(value K) {
	if child, ok := c[value]; ok {
		child.Inc()
	}
}

// incOr counts value, or rest if nobody declared it.
func (c counters[K]) incOr(value, rest K) {
	if _, ok := c[value]; !ok {
		c.inc(rest)
		return
	}
	c.inc(value)
}

// incTraced counts value, with the id of the trace that it is an example of; "" is none.
func (c counters[K]) incTraced(value K, trace string) {
	child, ok := c[value]
	if !ok {
		return
	}
	if example, ok := child.(prometheus.ExemplarAdder); ok && trace != "" {
		example.AddWithExemplar(1, exemplar(trace))
		return
	}
	child.Inc()
}

// observe takes a duration, with the id of the trace that it is an example of; "" is none.
func observe(in prometheus.Observer, took time.Duration, trace string) {
	if example, ok := in.(prometheus.ExemplarObserver); ok && trace != "" {
		example.ObserveWithExemplar(took.Seconds(), exemplar(trace))
		return
	}
	in.Observe(took.Seconds())
}

func exemplar(trace string) prometheus.Labels { return prometheus.Labels{"trace_id": trace} }

// build says what was built.
func (r registrar) build(parts Parts) {
	r.gauge("cstproxy_build_info", "1, labeled with what was built.", "version", "goversion", "revision").
		WithLabelValues(parts.Version, runtime.Version(), parts.Revision).Set(1)
}

package metrics

import (
	"runtime"

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

// inc counts value. One that nobody declared makes no series.
func (c counters[K]) inc(value K) {
	if child, ok := c[value]; ok {
		child.Inc()
	}
}

// build says what was built.
func (r registrar) build(parts Parts) {
	r.gauge("cstproxy_build_info", "1, labeled with what was built.", "version", "goversion", "revision").
		WithLabelValues(parts.Version, runtime.Version(), parts.Revision).Set(1)
}

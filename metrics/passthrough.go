package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Pass is what requests that are passed on to Portal are told apart by.
type Pass struct{ Family, Mode, Outcome string }

// passes count and time requests that are passed on. One that is not among [Parts].Passes makes no series.
type passes struct {
	total    map[Pass]prometheus.Counter
	duration map[string]prometheus.Observer // :: family
	retries  counters[string]               // :: family
}

// passWaits reach from an answer of Portal's next to it to one that takes as long as it may.
var passWaits = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}

func newPasses(in registrar, all []Pass) passes {
	total := in.counter("cstproxy_passthrough_requests_total", "Requests that were passed on to Portal, or were to be.", "family", "mode", "outcome")
	duration := in.histogram("cstproxy_passthrough_duration_seconds", "Time from a request that was to be passed on to the end of its answer.", passWaits, "family")
	retries := in.counter("cstproxy_passthrough_retries_total", "Requests that Portal refused the token of, and that were sent once more with another.", "family")
	p := passes{total: map[Pass]prometheus.Counter{}}
	var families []string
	for _, pass := range all {
		p.total[pass] = total.WithLabelValues(pass.Family, pass.Mode, pass.Outcome)
		families = append(families, pass.Family)
	}
	p.duration, p.retries = timed(duration, families...), known(retries, families...)
	return p
}

// Passed counts and times a request that was passed on; trace is the id of the sampled trace that it is part of, "" for none.
func (m *Metrics) Passed(pass Pass, took time.Duration, trace string) {
	if child, ok := m.passes.total[pass]; ok {
		child.Inc()
		observe(m.passes.duration[pass.Family], took, trace)
	}
}

// Repeated counts a request of the family that was sent once more, with another token.
func (m *Metrics) Repeated(family string) { m.passes.retries.inc(family) }

package metrics

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Standing is how the fleet's budget for a class of requests stands: what Limit allows in a minute, what is Left of that,
// and for how long no turn is given.
type Standing struct {
	Limit, Left float64
	Paused      time.Duration
}

// Key is what Portal thinks of the Portal API Key in use: 1 it accepts it, 0 it refuses it, -1 it was not asked. Worked is
// when it last accepted one, the zero Time for never.
type Key struct {
	Verdict int8
	Worked  time.Time
}

// Looks are what is looked at when somebody scrapes, and asks nobody else. Every field is required but Breaker, which is
// nil where there is no Redis.
type Looks struct {
	Budget   func(session.Class) Standing
	Key      func() Key
	Replicas func() int
	Breaker  func() (state string)
}

// Look has scrapes look at these from now on. Until then nothing is limited, and nobody knows of the key.
func (m *Metrics) Look(at Looks) { m.looks.at.Store(&at) }

// looks collects what is looked at.
type looks struct {
	at atomic.Pointer[Looks]

	limit, left, paused, valid, worked, replicas, breaker *prometheus.Desc
}

func newLooks(in registrar) *looks {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	l := &looks{
		limit: desc("cstproxy_budget_limit",
			"Requests that the fleet may send Portal in a minute; +Inf without a limit.", "class"),
		left: desc("cstproxy_budget_left",
			"How many of these are not taken, as this replica last knew; +Inf without a limit.", "class"),
		paused: desc("cstproxy_budget_paused_seconds",
			"How long no request is sent yet, since Portal said that it was too much, or refuses the key.", "class"),
		valid: desc("cstproxy_portal_key_valid",
			"1 if Portal accepts the Portal API Key in use, 0 if it refuses it, -1 if it was not asked yet."),
		worked: desc("cstproxy_portal_key_last_success_timestamp_seconds",
			"When Portal last accepted a Portal API Key; 0 if it never did."),
		replicas: desc("cstproxy_fleet_replicas", "Replicas that share the Redis, as last known; 1 without one."),
		breaker: desc("cstproxy_redis_breaker",
			"1 for the state that the circuit breaker before Redis is in; 0 for all where there is no Redis.", "state"),
	}
	l.at.Store(&Looks{
		Budget:   func(session.Class) Standing { return Standing{Limit: math.Inf(1), Left: math.Inf(1)} },
		Key:      func() Key { return Key{Verdict: -1} },
		Replicas: func() int { return 1 },
	})
	in.MustRegister(l)
	return l
}

// Describe implements [prometheus.Collector].
func (l *looks) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{l.limit, l.left, l.paused, l.valid, l.worked, l.replicas, l.breaker} {
		to <- desc
	}
}

// Collect implements [prometheus.Collector].
func (l *looks) Collect(to chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	at := l.at.Load()
	for _, class := range session.Classes() {
		budget := at.Budget(class)
		gauge(l.limit, budget.Limit, string(class))
		gauge(l.left, budget.Left, string(class))
		gauge(l.paused, budget.Paused.Seconds(), string(class))
	}
	key := at.Key()
	gauge(l.valid, float64(key.Verdict))
	gauge(l.worked, unix(key.Worked))
	gauge(l.replicas, float64(at.Replicas()))
	for state, is := range l.breakerStates() {
		gauge(l.breaker, is, state)
	}
}

// breakerStates returns 1 for the state that the breaker is in.
func (l *looks) breakerStates() map[string]float64 {
	states := map[string]float64{"closed": 0, "half_open": 0, "open": 0}
	if breaker := l.at.Load().Breaker; breaker != nil {
		state := breaker()
		if _, known := states[state]; known {
			states[state] = 1
		}
	}
	return states
}

// unix returns the date in seconds; 0 for the zero Time.
func unix(date time.Time) float64 {
	if date.IsZero() {
		return 0
	}
	return float64(date.UnixMilli()) / 1000
}

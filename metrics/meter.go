package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Began counts a request as in flight until ended is called, once, with how it was answered. That comes from
// [Parts].Answers, and "" for the route is one that is timed elsewhere; trace is the id of the sampled trace that the request is part of, "" for none.
func (m *Metrics) Began() (ended func(route, method string, status int, trace string)) {
	began := time.Now()
	m.inFlight.Inc()
	return func(route, method string, status int, trace string) {
		m.inFlight.Dec()
		if route == "" {
			return
		}
		observe(m.requests.child(Answer{route, method, status}), time.Since(began), trace)
	}
}

// Handed takes how long an answer with a token took, by where the token came from; trace is the id of the sampled trace that
// the request is part of, "" for none.
func (m *Metrics) Handed(source session.Source, took time.Duration, trace string) {
	if child, ok := m.handed[source]; ok {
		observe(child, took, trace)
	}
}

// Granted counts a token handed out with that much life left.
func (m *Metrics) Granted(grant session.Grant, left time.Duration) {
	m.served.inc(grant.Source)
	m.remaining.Observe(left.Seconds())
	if left <= 0 {
		m.expired.Inc()
	}
	if grant.Shared != "" {
		m.collapsed.inc(grant.Shared)
	}
}

// Hit counts in one what Began, Handed and Granted do for a GET of the route that was answered with a token from the cache: it
// took so long, and the token has so much life left.
func (m *Metrics) Hit(route string, left, took time.Duration) {
	m.Granted(session.Grant{Source: session.SourceCache}, left)
	m.Handed(session.SourceCache, took, "")
	observe(m.requests.child(Answer{route, http.MethodGet, http.StatusOK}), took, "")
}

// Refused counts a request answered with a problem. A code that [Parts] does not list counts as "internal".
func (m *Metrics) Refused(code string) {
	m.refused.incOr(code, internal)
}

// Answer is what the duration of requests is told apart by.
type Answer struct {
	Route, Method string
	Status        int
}

// requests are the children of the duration of requests, all made at the start: an answer that was not foreseen counts as
// none of the others, and makes no series.
type requests struct {
	foreseen map[Answer]prometheus.Observer
	rest     prometheus.Observer
}

func newRequests(duration *prometheus.HistogramVec, answers []Answer) requests {
	r := requests{foreseen: make(map[Answer]prometheus.Observer, len(answers)), rest: duration.WithLabelValues(other, other, other)}
	for _, a := range answers {
		r.foreseen[a] = duration.WithLabelValues(a.Route, a.Method, strconv.Itoa(a.Status))
	}
	return r
}

func (r requests) child(a Answer) prometheus.Observer {
	if child, ok := r.foreseen[a]; ok {
		return child
	}
	return r.rest
}

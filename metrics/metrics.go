// Package metrics counts and times what cstproxy does, for Prometheus.
//
// What holds, always:
//
//  1. Every series of the product is declared in [New], or what it calls, and nowhere else, in a registry that belongs to its [Metrics].
//  2. A label takes its values from a closed set: never a client, a token or a caller.
//  3. What is known at the start is there at the start, as 0: a rate sees the first event too.
//  4. Counting changes nothing: a wrapped port returns what the port returned.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Parts is what a Metrics is made of.
type Parts struct {
	// Version and Revision name the build; empty if not known.
	Version, Revision string
	// Codes lists every code that [Metrics.Refused] is told; "internal" need not be among them.
	Codes []string
	// Sheds lists everything that [Metrics.Shed] is told, Ports that [Metrics.Dropped] is.
	Sheds, Ports []string
	// Drops lists everything that [Metrics.SpansDropped] is told.
	Drops []string
}

// Metrics holds every series. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	served    counters[session.Source]
	refused   counters[string]
	minted    counters[session.Reason]
	collapsed counters[session.Scope]
	expired   prometheus.Counter
	remaining prometheus.Observer

	attempts        *prometheus.CounterVec
	attemptDuration *prometheus.HistogramVec

	loads      *prometheus.CounterVec
	unreadable prometheus.Counter
	redisUp    *prometheus.GaugeVec
	skew       *prometheus.GaugeVec

	memoryHits, memoryMisses prometheus.Counter

	reloads *prometheus.CounterVec

	requests *requests
	inFlight prometheus.Gauge
	limits   limits
}

// New returns a Metrics with a registry of its own, in which the Go runtime and the process report too.
func New(parts Parts) *Metrics {
	in := newRegistrar(parts)
	m := &Metrics{
		registry: in.Registry,

		served: known(in.counter("cstproxy_tokens_served_total",
			"Tokens handed out.", "source"), session.Sources()...),
		refused: known(in.counter("cstproxy_token_errors_total",
			"Requests answered with a problem.", "code"), append([]string{internal}, parts.Codes...)...),
		minted: known(in.counter("cstproxy_mints_total",
			"Tokens that Portal made for clients it knew.", "reason"), session.Reasons()...),
		collapsed: known(in.counter("cstproxy_requests_collapsed_total",
			"Requests that shared another's request to Portal.", "scope"), session.Scopes()...),
		expired:   in.counter("cstproxy_expired_tokens_served_total", "Tokens handed out with no life left; must stay 0.").WithLabelValues(),
		remaining: in.histogram("cstproxy_token_remaining_seconds", "Life left in tokens at hand-out.", lives).WithLabelValues(),

		attempts: in.counter("cstproxy_portal_requests_total",
			"Requests to Portal, each attempt by itself.", "operation", "outcome"),
		attemptDuration: in.histogram("cstproxy_portal_request_duration_seconds",
			"Time that one request to Portal took.", portalWaits, "operation"),

		loads: in.counter("cstproxy_cache_requests_total",
			"Lookups of tokens; a hit need not be live.", "tier", "result"),
		unreadable: in.counter("cstproxy_corrupt_records_total",
			"Replies of Redis that are not what was asked for: torn, sealed with a key not known, or another client's.").WithLabelValues(),
		redisUp: in.gauge("cstproxy_redis_up",
			"1 if Redis did what it was last asked, else 0; only where there is a Redis."),
		skew: in.gauge("cstproxy_clock_skew_seconds",
			"How far this machine's clock is ahead of Redis's, whose time counts."),

		reloads: in.counter("cstproxy_reloads_total", "Files that changed while the proxy ran.", "file", "outcome"),
		requests: newRequests(in.histogram("cstproxy_http_request_duration_seconds",
			"Time that an answer took.", answerWaits, "route", "method", "code")),
		inFlight: in.gauge("cstproxy_http_requests_in_flight",
			"Requests being answered.").WithLabelValues(),
		limits: newLimits(in, parts),
	}
	m.start()
	return m
}

// Handler serves all series in the text format that the scraper prefers.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// start makes the children that have no [counters] to make them. How a request was answered is known when it was.
func (m *Metrics) start() {
	m.memoryHits, m.memoryMisses = m.loads.WithLabelValues(TierMemory, hit), m.loads.WithLabelValues(TierMemory, miss)
	for _, tier := range []string{TierMemory, TierRedis} {
		for _, result := range []string{hit, miss, failed} {
			m.loads.WithLabelValues(tier, result)
		}
	}
	for _, operation := range []string{mint, register, probe, key} {
		m.attemptDuration.WithLabelValues(operation)
		for _, outcome := range outcomes() {
			m.attempts.WithLabelValues(operation, outcome)
		}
	}
}

// The values of labels that more than one place names.
const (
	internal = "internal" // the code of everything that has none
	other    = "other"    // what isn't in a closed set
)

var (
	// lives are finest where a token is about to be of no use, and end at the longest idle time.
	lives = []float64{60, 300, 900, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 16 * 3600, 20 * 3600, 24 * 3600}
	// portalWaits end beyond the time-out of an attempt.
	portalWaits = []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	// answerWaits reach from a hit in memory to a mint that was tried again.
	answerWaits = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
)

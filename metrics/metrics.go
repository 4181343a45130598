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
	"context"
	"net/http"
	"time"

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
	// Answers lists every answer that [Metrics.Began]'s ended is told of; another counts as none of them.
	Answers []Answer
	// Sheds lists everything that [Metrics.Shed] is told, Ports that [Metrics.Dropped] is, and SealOperations that
	// [Metrics.SealFailed] is.
	Sheds, Ports, SealOperations []string
	// Drops lists everything that [Metrics.SpansDropped] is told.
	Drops []string
	// Passes lists everything that [Metrics.Passed] is told.
	Passes []Pass
	// Trace returns the id of the sampled trace that a request to Portal is part of, "" for none. It may be nil.
	Trace func(context.Context) string
}

// Metrics holds every series. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	served    counters[session.Source]
	handed    map[session.Source]prometheus.Observer
	refused   counters[string]
	minted    counters[session.Reason]
	collapsed counters[session.Scope]
	expired   prometheus.Counter
	remaining prometheus.Observer

	replaced prometheus.Observer
	portal   asked

	kept     kept
	reloads  reloads
	requests requests
	inFlight prometheus.Gauge
	limits   limits
	budget   budget
	looks    *looks
	passes   passes
	skipped  prometheus.Counter
	trace    func(context.Context) string
}

// New returns a Metrics with a registry of its own, in which the Go runtime and the process report too.
func New(parts Parts) *Metrics {
	in := newRegistrar(parts)
	return &Metrics{
		registry: in.Registry,

		served: known(in.counter("cstproxy_tokens_served_total",
			"Tokens handed out.", "source"), session.Sources()...),
		handed: timed(in.histogram("cstproxy_token_duration_seconds",
			"Time that an answer with a token took.", answerWaits, "source"), session.Sources()...),
		refused: known(in.counter("cstproxy_token_errors_total",
			"Requests answered with a problem.", "code"), append([]string{internal}, parts.Codes...)...),
		minted: known(in.counter("cstproxy_mints_total",
			"Tokens that Portal made for clients it knew.", "reason"), session.Reasons()...),
		collapsed: known(in.counter("cstproxy_requests_collapsed_total",
			"Requests that shared another's request to Portal.", "scope"), session.Scopes()...),
		expired:   in.counter("cstproxy_expired_tokens_served_total", "Tokens handed out with no life left; must stay 0.").WithLabelValues(),
		remaining: in.histogram("cstproxy_token_remaining_seconds", "Life left in tokens at hand-out.", lives).WithLabelValues(),

		replaced: in.histogram("cstproxy_replaced_token_age_seconds", "How long ago a token was minted when another took its place.", ages).WithLabelValues(),
		portal:   newAsked(in),

		kept:    newKept(in, parts),
		reloads: newReloads(in),
		requests: newRequests(in.histogram("cstproxy_http_request_duration_seconds",
			"Time that an answer took.", answerWaits, "route", "method", "code"), parts.Answers),
		inFlight: in.gauge("cstproxy_http_requests_in_flight",
			"Requests being answered.").WithLabelValues(),
		limits: newLimits(in, parts),
		budget: newBudget(in),
		looks:  newLooks(in),
		passes: newPasses(in, parts.Passes),
		skipped: in.counter("cstproxy_log_lines_skipped_total",
			"Lines of requests that were left out of the log, since there were too many.").WithLabelValues(),
		trace: parts.Trace,
	}
}

// Handler serves all series in the text format that the scraper prefers.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Replaced takes how long ago a token was minted when another took its place.
func (m *Metrics) Replaced(age time.Duration) { m.replaced.Observe(age.Seconds()) }

// Skipped counts a line of the log that was left out.
func (m *Metrics) Skipped() { m.skipped.Inc() }

// traced returns the id of the sampled trace that ctx is part of, "" for none.
func (m *Metrics) traced(ctx context.Context) string {
	if m.trace == nil {
		return ""
	}
	return m.trace(ctx)
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
	// answerWaits reach from a hit in memory to a mint that was tried again. Each is there for every answer of every route,
	// so they are few.
	answerWaits = []float64{.0005, .001, .0025, .01, .025, .1, .5, 2.5, 10}
	// ages end at the longest window: a token is replaced after a day without use, after seven in any case.
	ages = []float64{60, 3600, 6 * 3600, 12 * 3600, 24 * 3600, 2 * 24 * 3600, 3 * 24 * 3600, 5 * 24 * 3600, 7 * 24 * 3600, 8 * 24 * 3600}
)

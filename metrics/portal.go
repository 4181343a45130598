package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// What Portal is asked to do.
const (
	mint     = "mint"
	register = "register"
	probe    = "probe"
	key      = "key" // to say whether it accepts the Portal API Key
)

const succeeded = "ok"

// failures says, by error, what became of a request to Portal; the first that matches does.
var failures = []struct {
	err     error
	outcome string
}{
	{session.ErrTokenRejected, "rejected"},
	{session.ErrPortalUnauthorized, "unauthorized"},
	{session.ErrClientNotFound, "not_found"},
	{session.ErrPortalRateLimited, "rate_limited"},
	{session.ErrPortalTimeout, "timeout"},
	{session.ErrPortalUnavailable, "unavailable"},
	{session.ErrPortalBadResponse, "bad_response"},
}

// asks lists what Portal is asked.
var asks = []string{mint, register, probe, key}

// asked counts and times requests to Portal.
type asked struct {
	attempts map[string]counters[string]    // :: operation -> by outcome
	duration map[string]prometheus.Observer // :: operation -> its duration
	failures counters[session.PortalFailure]
}

func newAsked(in registrar) asked {
	attempts := in.counter("cstproxy_portal_requests_total",
		"Requests to Portal, each attempt by itself.", "operation", "outcome")
	duration := in.histogram("cstproxy_portal_request_duration_seconds",
		"Time that one request to Portal took.", portalWaits, "operation")
	a := asked{
		attempts: map[string]counters[string]{}, duration: timed(duration, asks...),
		failures: known(in.counter("cstproxy_portal_failures_total",
			"Requests to Portal that failed, by what went wrong.", "kind"), session.PortalFailures()...),
	}
	for _, operation := range asks {
		a.attempts[operation] = known(attempts.MustCurryWith(prometheus.Labels{"operation": operation}), outcomes()...)
	}
	return a
}

// outcomes lists every outcome of a request to Portal.
func outcomes() []string {
	all := []string{succeeded, failed}
	for _, failure := range failures {
		all = append(all, failure.outcome)
	}
	return all
}

// outcomeOf returns what became of a request that ended with err.
func outcomeOf(err error) string {
	if err == nil {
		return succeeded
	}
	for _, failure := range failures {
		if errors.Is(err, failure.err) {
			return failure.outcome
		}
	}
	return failed
}

// Mints counts, by reason, what next mints. It goes around whatever retries: a mint counts once, when it succeeded.
func (m *Metrics) Mints(next session.Portal) session.Portal {
	return countedMints{Portal: next, metrics: m}
}

type countedMints struct {
	session.Portal
	metrics *Metrics
}

// Mint implements [session.Portal].
func (p countedMints) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	token, err := p.Portal.Mint(ctx, client, reason)
	if err == nil {
		p.metrics.minted.incTraced(reason, p.metrics.traced(ctx))
	}
	return token, err
}

// PortalAttempts counts and times what next asks of Portal. It goes inside whatever retries or refuses: each request
// that leaves counts.
func (m *Metrics) PortalAttempts(next session.Portal) session.Portal {
	return timedPortal{next: next, metrics: m}
}

type timedPortal struct {
	next    session.Portal
	metrics *Metrics
}

// Mint implements [session.Portal].
func (p timedPortal) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	sent := time.Now()
	token, err := p.next.Mint(ctx, client, reason)
	p.metrics.attempted(ctx, attempt{mint, sent, err})
	return token, err
}

// Probe implements [session.Portal].
func (p timedPortal) Probe(ctx context.Context, token session.Token) error {
	sent := time.Now()
	err := p.next.Probe(ctx, token)
	p.metrics.attempted(ctx, attempt{probe, sent, err})
	return err
}

// Register implements [session.Portal].
func (p timedPortal) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	sent := time.Now()
	token, err := p.next.Register(ctx, registration)
	p.metrics.attempted(ctx, attempt{register, sent, err})
	return token, err
}

// KeyChecks counts and times next, one request that asks whether Portal accepts the Portal API Key.
func (m *Metrics) KeyChecks(next func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		sent := time.Now()
		err := next(ctx)
		m.attempted(ctx, attempt{key, sent, err})
		return err
	}
}

// attempt is one request to Portal, and how it ended.
type attempt struct {
	operation string
	sent      time.Time
	err       error
}

func (m *Metrics) attempted(ctx context.Context, a attempt) {
	m.portal.attempts[a.operation].inc(outcomeOf(a.err))
	observe(m.portal.duration[a.operation], time.Since(a.sent), m.traced(ctx))
	if a.err != nil && !errors.Is(a.err, context.Canceled) {
		m.portal.failures.incOr(session.FailureOf(a.err), session.FailureOther)
	}
}

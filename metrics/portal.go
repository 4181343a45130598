package metrics

import (
	"context"
	"errors"
	"time"

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
	return countedMints{Portal: next, minted: m.minted}
}

type countedMints struct {
	session.Portal
	minted counters[session.Reason]
}

// Mint implements [session.Portal].
func (p countedMints) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	token, err := p.Portal.Mint(ctx, client, reason)
	if err == nil {
		p.minted.inc(reason)
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
	p.metrics.attempted(mint, sent, err)
	return token, err
}

// Probe implements [session.Portal].
func (p timedPortal) Probe(ctx context.Context, token session.Token) error {
	sent := time.Now()
	err := p.next.Probe(ctx, token)
	p.metrics.attempted(probe, sent, err)
	return err
}

// Register implements [session.Portal].
func (p timedPortal) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	sent := time.Now()
	token, err := p.next.Register(ctx, registration)
	p.metrics.attempted(register, sent, err)
	return token, err
}

// KeyChecks counts and times next, one request that asks whether Portal accepts the Portal API Key.
func (m *Metrics) KeyChecks(next func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		sent := time.Now()
		err := next(ctx)
		m.attempted(key, sent, err)
		return err
	}
}

func (m *Metrics) attempted(operation string, sent time.Time, err error) {
	m.attempts.WithLabelValues(operation, outcomeOf(err)).Inc()
	m.attemptDuration.WithLabelValues(operation).Observe(time.Since(sent).Seconds())
}

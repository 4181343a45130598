package portal

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// The wait before the one retry is drawn anew each time, so that callers who failed together don't come back together.
const (
	minRetryDelay = 50 * time.Millisecond
	maxRetryDelay = 250 * time.Millisecond
)

// Retry wraps a [session.Portal]: a mint or a probe that found Portal unavailable is repeated once. One that timed out
// is not, since it has cost the caller its time; nor one that Portal told when to come back; nor a mint ahead, for which
// nobody waits; nor ever a registration, of which a second makes a second wallet. Ten requests earn one repeat, so that a Portal in trouble gets a tenth more
// at the most.
type Retry struct {
	next  session.Portal
	once  failsafe.Executor[any]
	extra *allowance
}

// NewRetry returns a Retry of next.
func NewRetry(next session.Portal) *Retry {
	extra := &allowance{}
	return &Retry{next: next, extra: extra, once: failsafe.With(retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return mayPass(err) && extra.spend() }).
		WithMaxRetries(1).WithRandomDelay(minRetryDelay, maxRetryDelay).ReturnLastFailure().Build())}
}

// mayPass reports whether err may be gone in a moment.
func mayPass(err error) bool {
	return errors.Is(err, session.ErrPortalUnavailable) && session.RetryAfter(err) == 0
}

// Mint implements [session.Portal].
func (r *Retry) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	if reason == session.Ahead {
		return r.next.Mint(ctx, client, reason)
	}
	var token session.Token
	unknown := false
	err := r.do(ctx, func() (err error) {
		token, err = r.next.Mint(ctx, client, reason)
		if err == nil && unknown {
			token.Doubt = time.Now() // for the Broker to date
		}
		unknown = errors.Is(err, session.ErrOutcomeUnknown)
		return err
	})
	return token, err
}

// Probe implements [session.Portal].
func (r *Retry) Probe(ctx context.Context, token session.Token) error {
	return r.do(ctx, func() error { return r.next.Probe(ctx, token) })
}

// Register implements [session.Portal].
func (r *Retry) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	return r.next.Register(ctx, registration)
}

// do returns how the last attempt ended, even if ctx ended meanwhile: an answer is not lost for having come late. Only a
// failure that may pass gives way to ctx's end.
func (r *Retry) do(ctx context.Context, attempt func() error) error {
	r.extra.earn()
	var last error
	err := r.once.WithContext(ctx).Run(func() error {
		last = attempt()
		return last
	})
	switch {
	case !mayPass(last):
		return last
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return session.ErrPortalTimeout
	}
	return err
}

const (
	// perRetry is how many requests earn one repeat.
	perRetry = 10
	// mostRetries bounds what is saved up in good times.
	mostRetries = 10
)

// allowance is what is left for repeats, in parts of one.
type allowance struct{ parts atomic.Int64 }

func (a *allowance) earn() {
	if a.parts.Add(1) > perRetry*mostRetries {
		a.parts.Add(-1)
	}
}

// spend reports whether there is one left, and takes it.
func (a *allowance) spend() bool {
	if a.parts.Add(-perRetry) < 0 {
		a.parts.Add(perRetry)
		return false
	}
	return true
}

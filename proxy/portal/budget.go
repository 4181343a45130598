package portal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Limit is how many requests may leave in any stretch of time as long as Per. The zero Limit is none.
type Limit struct {
	Requests int
	Per      time.Duration
}

// BudgetParts is what a [Budget] is made of. Every field is required.
type BudgetParts struct {
	Next session.Portal
	// Mint holds for minting and registering together, which Portal counts as one API; Probe for probing.
	Mint, Probe Limit
	Now         func() time.Time
}

// Budget wraps a [session.Portal] so that no more requests leave this process than Portal allows: whoever comes too
// early waits for its turn, first come first served. A turn that would come too late for the caller's deadline is
// [session.ErrPortalRateLimited] at once, with the wait. A probe never waits: its token is still live.
type Budget struct {
	next        session.Portal
	mint, probe *turns
}

// NewBudget returns a Budget made of parts.
func NewBudget(parts BudgetParts) *Budget {
	return &Budget{next: parts.Next, mint: newTurns(parts.Mint, parts.Now), probe: newTurns(parts.Probe, parts.Now)}
}

// Mint implements [session.Portal].
func (b *Budget) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	if err := b.mint.wait(ctx); err != nil {
		return session.Token{}, err
	}
	return b.next.Mint(ctx, client, reason)
}

// Register implements [session.Portal].
func (b *Budget) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	if err := b.mint.wait(ctx); err != nil {
		return session.Token{}, err
	}
	return b.next.Register(ctx, registration)
}

// Probe implements [session.Portal].
func (b *Budget) Probe(ctx context.Context, token session.Token) error {
	if wait := b.probe.reserve(0); wait > 0 {
		return spent(wait)
	}
	return b.next.Probe(ctx, token)
}

func spent(wait time.Duration) error {
	return &session.RetryError{After: wait, Err: fmt.Errorf("%w: the next turn is in %s", session.ErrPortalRateLimited, wait)}
}

// turns hands out the moments at which requests leave. Each is at least the limit's Per, and some slack, after the one
// that came Requests before it: that bounds every stretch of time, which a bucket that refills does not.
type turns struct {
	slack time.Duration
	per   time.Duration
	now   func() time.Time

	mu sync.Mutex
	// left is a ring of the latest moments given; next is the oldest of them.
	left []time.Time
	next int
}

// newTurns adds slack for what lies between a request's leaving and its arrival, which is when Portal counts.
func newTurns(limit Limit, now func() time.Time) *turns {
	return &turns{per: limit.Per, slack: limit.Per / 60, now: now, left: make([]time.Time, limit.Requests)}
}

// wait returns when the caller's turn has come. It leaves at least half of the time to ctx's deadline to the request.
func (t *turns) wait(ctx context.Context) error {
	patience := t.per
	if deadline, ok := ctx.Deadline(); ok {
		patience = max(0, time.Until(deadline)/2)
	}
	wait := t.reserve(patience)
	if wait > patience {
		return spent(wait)
	}
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return spent(wait)
	}
}

// reserve takes the next turn if it comes within patience, and returns how long that is from now; else it takes
// nothing, and returns how long it would have been.
func (t *turns) reserve(patience time.Duration) time.Duration {
	if len(t.left) == 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	turn := now
	if free := t.left[t.next].Add(t.per + t.slack); !t.left[t.next].IsZero() && free.After(now) {
		turn = free
	}
	wait := turn.Sub(now)
	if wait <= patience {
		t.left[t.next] = turn
		t.next = (t.next + 1) % len(t.left)
	}
	return wait
}

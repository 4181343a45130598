package metrics

import (
	"context"
	"errors"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// What becomes of a lease.
const (
	taken     = "taken"
	busy      = "busy" // another replica has it
	leaseLost = "lost" // it ran out, or became another's, before it was given back
)

// Leases counts what becomes of next's leases. Where the caller left meanwhile, that says nothing of them.
func (m *Metrics) Leases(next session.Leaser) session.Leaser {
	return countedLeases{Leaser: next, outcomes: m.kept.leases}
}

type countedLeases struct {
	session.Leaser
	outcomes counters[string]
}

// Acquire implements [session.Leaser].
func (l countedLeases) Acquire(ctx context.Context, client session.ClientID, owner string) (session.Lease, error) {
	lease, err := l.Leaser.Acquire(ctx, client, owner)
	if err == nil {
		l.outcomes.inc(taken)
	}
	l.count(ctx, err)
	return lease, err
}

// Renew implements [session.Leaser].
func (l countedLeases) Renew(ctx context.Context, lease session.Lease) error {
	err := l.Leaser.Renew(ctx, lease)
	l.count(ctx, err)
	return err
}

// LetGo implements [session.Leaser].
func (l countedLeases) LetGo(ctx context.Context, lease session.Lease) error {
	err := l.Leaser.LetGo(ctx, lease)
	l.count(ctx, err)
	return err
}

// Abandon implements [session.Leaser].
func (l countedLeases) Abandon(ctx context.Context, lease session.Lease) error {
	err := l.Leaser.Abandon(ctx, lease)
	l.count(ctx, err)
	return err
}

func (l countedLeases) count(ctx context.Context, err error) {
	switch {
	case err == nil, errors.Is(err, session.ErrLeaseDoubt):
	case errors.Is(err, session.ErrLeaseBusy):
		l.outcomes.inc(busy)
	case errors.Is(err, session.ErrLeaseLost):
		l.outcomes.inc(leaseLost)
	case !callerLeft(ctx, err):
		l.outcomes.inc(failed)
	}
}

package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Leaser lets one replica at a time mint for a client.
type Leaser interface {
	// Acquire takes the client's lease for owner. [ErrLeaseBusy]: another owner has it. Any other error: it is not known
	// who has it, since the store failed. Taking one's own lease again gives the same lease.
	Acquire(ctx context.Context, client ClientID, owner string) (Lease, error)
	// Renew makes the lease last as long again as when it was taken. [ErrLeaseLost]: it is not the owner's any more.
	Renew(ctx context.Context, lease Lease) error
	// LetGo gives the lease back if it is still the owner's: nothing that was done under it is under way any more.
	// [ErrLeaseDoubt]: it did, but somebody abandoned a mint of the client's that may be carried out yet.
	LetGo(ctx context.Context, lease Lease) error
	// Abandon gives the lease back likewise, but a mint under it may be carried out yet. For a while, leases say so. A mint
	// without a lease is abandoned with one that has no owner.
	Abandon(ctx context.Context, lease Lease) error
	// Watch returns a channel that receives when the client's token or lease may have changed; stop ends that.
	Watch(client ClientID) (changed <-chan struct{}, stop func())
}

// Lease is the right to mint for a client. The zero Lease is that of a replica on its own, which nobody fences.
type Lease struct {
	Client ClientID
	Owner  string
	// Fence is higher than that of any lease before it.
	Fence uint64
	// Seen is the fence of the token that was kept when the lease was taken, 0 for none.
	Seen uint64
	// Doubt: a mint under an earlier lease was cut off, or its owner died, and it may be carried out yet.
	Doubt bool
	// Hold is how long it lasts unless renewed.
	Hold time.Duration
}

// Waiters look for themselves this often, drawn anew each time, in case the message that should wake them is lost.
const (
	minLookAgain = 50 * time.Millisecond
	maxLookAgain = 150 * time.Millisecond
)

// lead gets the client a new token: it mints under the client's lease, or takes what another replica minted meanwhile.
func (b *Broker) lead(ctx context.Context, ask Ask, old Token) (Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, b.parts.Deadline)
	defer cancel()
	changed, stop := b.parts.Leaser.Watch(ask.Client)
	defer stop()
	owner := newOwner()
	for {
		var lease Lease
		err := insist(ctx, func() (err error) {
			lease, err = b.parts.Leaser.Acquire(ctx, ask.Client, owner)
			return err
		})
		var grant Grant
		switch {
		case err == nil:
			grant, err = b.mintUnder(ctx, ask, lease)
		case errors.Is(err, ErrLeaseBusy):
			grant, err = b.waitFor(ctx, ask, changed)
		default:
			return b.mintAlone(ctx, ask, old, err)
		}
		if !errors.Is(err, ErrLeaseBusy) && !errors.Is(err, ErrLeaseLost) {
			return grant, err
		}
	}
}

// storeTries is how often a store is asked for what may be asked again, before it counts as down. One that is down costs
// no more for it: it is left alone after the second.
const storeTries = 5

// insist asks a store again where it failed. That may have been a moment's trouble, and a replica that goes by itself may
// cost a mint more than the fleet needs.
func insist(ctx context.Context, ask func() error) (err error) {
	for range storeTries {
		if err = ask(); err == nil || errors.Is(err, ErrLeaseBusy) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// waitFor returns the token that another replica minted; [ErrLeaseBusy] if there is none yet that serves.
func (b *Broker) waitFor(ctx context.Context, ask Ask, changed <-chan struct{}) (Grant, error) {
	if err := pause(ctx, changed); err != nil {
		return Grant{}, err
	}
	token, err := b.look(ctx, ask.Client)
	if err != nil {
		return Grant{}, err
	}
	now := b.now()
	if decision := b.parts.Lifetime.Decide(token, now, ask.Need); decision.Action < ServeAndExtend || ask.mints(decision) {
		return Grant{}, ErrLeaseBusy
	}
	return Grant{Token: token, Source: SourceMint, Shared: ScopeFleet, At: now}, nil
}

// mintUnder looks again, now that nobody else can mint, and mints if it still must. The lease is renewed meanwhile;
// should that fail, the request to Portal ends before the lease does.
func (b *Broker) mintUnder(ctx context.Context, ask Ask, lease Lease) (Grant, error) {
	held, giveBack := b.hold(ctx, lease)
	outcome := ErrOutcomeUnknown // unless this returns
	defer func() { giveBack(outcome) }()
	grant, err := b.mintHeld(held, ask, lease)
	if outcome = err; grant.open {
		outcome = ErrOutcomeUnknown
	}
	return grant, err
}

func (b *Broker) mintHeld(held context.Context, ask Ask, lease Lease) (Grant, error) {
	token, err := b.look(held, ask.Client)
	if err != nil {
		return Grant{}, timely(held, err)
	}
	now := b.now()
	switch decision := b.parts.Lifetime.Decide(token, now, ask.Need); {
	case ask.mints(decision):
		return b.mint(held, ask.Client, order{old: token, reason: decision.Reason, lease: lease})
	case decision.Action >= ServeAndExtend:
		return Grant{Token: token, Source: SourceMint, Shared: ScopeFleet, At: now}, nil
	}
	return Grant{}, nil // another replica's token must be refreshed first; the callers look again
}

// mintAlone mints without a lease, since the store can't say who has it.
func (b *Broker) mintAlone(ctx context.Context, ask Ask, old Token, err error) (Grant, error) {
	if ctx.Err() != nil {
		return Grant{}, ErrPortalTimeout
	}
	if ask.ahead || b.parts.StoreDown == StoreDownFail {
		return Grant{}, storeError(err)
	}
	decision := b.parts.Lifetime.Decide(old, b.now(), ask.Need)
	if decision.Action != Mint {
		return Grant{}, nil // the clock stepped back meanwhile, so that it is live; the callers look again
	}
	b.parts.Log.WarnContext(ctx, "minting without a lease", "client", ask.Client, "error", err)
	grant, err := b.mint(ctx, ask.Client, order{old: old, reason: decision.Reason})
	if !settled(err) || grant.open {
		b.adrift.note(ask.Client, time.Now().Add(b.parts.Deadline))
		b.abandon(context.WithoutCancel(ctx), Lease{Client: ask.Client})
	}
	return grant, err
}

// hold keeps the lease until giveBack is called, with how the mint under it ended. held ends when the lease is about to
// be lost.
func (b *Broker) hold(ctx context.Context, lease Lease) (held context.Context, giveBack func(error)) {
	holding, lost := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.renew(holding, lease, lost)
	}()
	return holding, func(outcome error) {
		lost(context.Canceled)
		<-ended
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease.Hold)
		defer cancel()
		b.giveBack(after, lease, outcome)
	}
}

func (b *Broker) giveBack(ctx context.Context, lease Lease, outcome error) {
	if !settled(outcome) {
		b.abandon(ctx, lease)
		return
	}
	switch err := b.parts.Leaser.LetGo(ctx, lease); {
	case errors.Is(err, ErrLeaseDoubt) && !lease.Doubt:
		b.leaveWord(ctx, lease.Client)
	case err != nil && !errors.Is(err, ErrLeaseDoubt):
		b.notLetGo(ctx, lease, err)
	}
}

// abandon notes that a mint may be carried out yet: for those who take a lease after this, for who holds one and lets go of
// it after this, and for whatever token of the client there is by then. In this order: whoever is told of none has committed
// a token before it is looked for.
func (b *Broker) abandon(ctx context.Context, lease Lease) {
	if err := b.parts.Leaser.Abandon(ctx, lease); err != nil {
		b.notLetGo(ctx, lease, err)
	}
	b.leaveWord(ctx, lease.Client)
}

func (b *Broker) notLetGo(ctx context.Context, lease Lease, err error) {
	b.parts.Log.WarnContext(ctx, "lease not let go of, it will run out", "client", lease.Client, "error", err)
}

// renew renews every third of the hold, and gives up while a sixth of it is still left.
func (b *Broker) renew(held context.Context, lease Lease, lost context.CancelCauseFunc) {
	ticks := time.NewTicker(lease.Hold / 3)
	defer ticks.Stop()
	end := time.NewTimer(lease.Hold * 5 / 6)
	defer end.Stop()
	for {
		select {
		case <-held.Done():
			return
		case <-end.C:
			lost(ErrLeaseLost)
			return
		case <-ticks.C:
		}
		sent := time.Now()
		switch err := b.parts.Leaser.Renew(held, lease); {
		case err == nil:
			end.Reset(lease.Hold*5/6 - time.Since(sent))
		case errors.Is(err, ErrLeaseLost):
			lost(ErrLeaseLost)
			return
		}
	}
}

// pause waits until the client's token may have changed, or it is time to look without having been told.
func pause(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(minLookAgain + rand.N(maxLookAgain-minLookAgain)) //nolint:gosec // jitter
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ErrPortalTimeout
	}
}

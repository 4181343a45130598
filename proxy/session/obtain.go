package session

import (
	"context"
	"time"
)

const (
	// usableWait is how long a caller who could be served at once waits for something better.
	usableWait = time.Second
	// calm is how long usable tokens are left alone after Portal failed to refresh one.
	calm = time.Second
	// maxRounds bounds how often a caller whose need others' flights did not meet tries again; two is the most it takes
	// unless tokens are forgotten as fast as they are made.
	maxRounds = 4
)

// obtain gets a token that the store alone could not give: one flight per client, and as many rounds as it takes for
// a flight to bring what this caller needs.
func (b *Broker) obtain(ctx context.Context, ask Ask, found Token) (Grant, error) {
	if b.usable(found, ask.Need) && b.calmed() {
		return Grant{Token: found, Source: SourceCache, At: b.now()}, nil
	}
	for range maxRounds {
		f, led := b.flights.join(ctx, ask.Client, func(ctx context.Context) (Grant, error) { return b.fly(ctx, ask) })
		grant, err := b.await(ctx, f, ask)
		if err != nil {
			return b.fallBack(ctx, ask, err)
		}
		if b.serves(grant, ask.Need) {
			grant.Collapsed, grant.At = !led, b.now()
			return grant, nil
		}
	}
	return b.fallBack(ctx, ask, ErrPortalUnavailable)
}

// await returns what the flight brought. A caller who could be served at once does not wait for long.
func (b *Broker) await(ctx context.Context, f *flight[Grant], ask Ask) (Grant, error) {
	patience := time.NewTimer(usableWait)
	defer patience.Stop()
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return Grant{}, ctx.Err()
	case <-patience.C:
	}
	// Look again: the flight may have found out meanwhile that the token is dead.
	if token, err := b.lookup(ctx, ask.Client); err == nil && b.usable(token, ask.Need) {
		return Grant{Token: token, Source: SourceCache, At: b.now()}, nil
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return Grant{}, ctx.Err()
	}
}

// fly is the work of a flight. It looks again, since another flight may have landed after the caller looked.
func (b *Broker) fly(ctx context.Context, ask Ask) (Grant, error) {
	token, err := b.lookup(ctx, ask.Client)
	if err != nil {
		return Grant{}, err
	}
	now := b.now()
	decision := b.parts.Lifetime.Decide(token, now, ask.Need)
	switch decision.Action {
	case Mint:
		return b.mint(ctx, ask.Client, token.ID, decision.Reason)
	case Refresh, ServeAndExtend:
		return b.refresh(ctx, token)
	case Slide:
		return b.slide(ctx, token)
	}
	return Grant{Token: token, Source: SourceCache, At: now}, nil
}

// serves reports whether what a flight brought is what this caller needs; a flight led by somebody else may bring less.
// A need is measured from when the flight decided: what the store and Portal take after that can't be made up for.
func (b *Broker) serves(grant Grant, need Need) bool {
	life := b.parts.Lifetime
	switch {
	case !life.Live(grant.Token, b.now()):
		return false
	case grant.Source == SourceMint: // nothing newer can be had, even if Portal gave a rejected text once more
		return true
	case grant.Token.ID == need.Rejected:
		return false
	case grant.Source == SourceRefresh:
		return life.Meets(grant.Token, need)
	}
	return b.usable(grant.Token, need) || life.Decide(grant.Token, grant.At, need).Action >= ServeAndExtend
}

// fallBack serves what is still live when Portal can't be asked; err if that is not what the caller needs.
func (b *Broker) fallBack(ctx context.Context, ask Ask, err error) (Grant, error) {
	if !ask.Need.Rejected.IsZero() {
		// The flight may have been another caller's, who did not know that the token is dead.
		b.drop(context.WithoutCancel(ctx), ask.Client, ask.Need.Rejected)
	}
	if ctx.Err() != nil {
		return Grant{}, ctx.Err()
	}
	token, lookupErr := b.lookup(ctx, ask.Client)
	if lookupErr != nil || !b.usable(token, ask.Need) {
		return Grant{}, err
	}
	return Grant{Token: token, Source: SourceCache, At: b.now()}, nil
}

// usable reports whether t may be served as it is, when nothing better can be had: it is live, the caller did not see
// it rejected, and it has what life the caller asked for in particular.
func (b *Broker) usable(t Token, need Need) bool {
	life, now := b.parts.Lifetime, b.now()
	met := !need.Explicit || life.ExpiresAt(t).Sub(now) >= need.Life
	return met && t.ID != need.Rejected && life.Live(t, now)
}

// calmed reports whether Portal failed to refresh a token a moment ago.
func (b *Broker) calmed() bool { return b.now().UnixMilli() < b.calmAt.Load() }

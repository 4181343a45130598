package session

import (
	"context"
	"time"
)

const (
	// usableWait is how long a caller who could be served at once waits for something better.
	usableWait = time.Second
	// maxRounds bounds how often a caller whose need others' flights did not meet tries again; two is the most it takes
	// unless tokens are forgotten as fast as they are made.
	maxRounds = 4
)

// obtain gets a token that the store alone could not give, if one more caller may wait for it.
func (b *Broker) obtain(ctx context.Context, ask Ask, token Token) (Grant, error) {
	if b.usable(token, ask.Need) && b.calm.holds(ask.Client, time.Now()) {
		return Grant{Token: token, Source: SourceCache, At: b.now()}, nil
	}
	work := WorkRefresh
	if b.parts.Lifetime.Decide(token, b.now(), ask.Need).Action == Mint {
		work = WorkMint
	}
	if err := b.waiting.enter(work); err != nil {
		return b.fallBack(ctx, ask, err)
	}
	defer b.waiting.leave()
	return b.pursue(ctx, ask, token)
}

// pursue takes one flight per client, and as many rounds as it takes for a flight to bring what this caller needs.
func (b *Broker) pursue(ctx context.Context, ask Ask, token Token) (Grant, error) {
	for range maxRounds {
		f, led := b.board(ctx, ask, b.parts.Lifetime.Decide(token, b.now(), ask.Need).Action)
		grant, err := b.await(ctx, f, ask)
		if err != nil {
			return b.fallBack(ctx, ask, err)
		}
		if b.serves(grant, ask.Need) {
			return b.handOut(grant, landing{led}), nil
		}
		if token, err = b.next(ctx, ask.Client, grant.Token); err != nil {
			return Grant{}, err
		}
	}
	return b.fallBack(ctx, ask, ErrPortalUnavailable)
}

// next returns what to go on with after a flight that brought token, or none.
func (b *Broker) next(ctx context.Context, client ClientID, token Token) (Token, error) {
	if token.IsZero() {
		return b.look(ctx, client)
	}
	return token, nil
}

// board joins the flight that the action asks for, or starts it. Mints fly apart from refreshes, so that who needs
// another token never waits for a request with the old one.
func (b *Broker) board(ctx context.Context, ask Ask, action Action) (f *flight[Grant], led bool) {
	if action == Mint {
		return b.mints.join(ctx, ask.Client, func(ctx context.Context) (Grant, error) { return b.flyToMint(ctx, ask) })
	}
	return b.refreshes.join(ctx, ask.Client, func(ctx context.Context) (Grant, error) { return b.flyToRefresh(ctx, ask) })
}

// landing is how a caller came by what a flight brought: it led the flight, or joined another's.
type landing struct{ led bool }

// handOut dates a grant, and says with whom it was shared.
func (b *Broker) handOut(grant Grant, by landing) Grant {
	if !by.led && grant.Shared == "" {
		grant.Shared = ScopeProcess
	}
	grant.At = b.now()
	return grant
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
	return f.wait(ctx)
}

// flyToMint is the work of a flight that gets another token. It looks again, past this replica's memory, since another
// flight or another replica may have been faster.
func (b *Broker) flyToMint(ctx context.Context, ask Ask) (Grant, error) {
	token, err := b.look(ctx, ask.Client)
	if err != nil {
		return Grant{}, err
	}
	now := b.now()
	switch decision := b.parts.Lifetime.Decide(token, now, ask.Need); {
	case ask.mints(decision):
		return b.lead(ctx, ask, token)
	case decision.Action >= ServeAndExtend:
		return Grant{Token: token, Source: SourceCache, At: now}, nil
	}
	return Grant{}, nil // it wants a refresh by now: the callers look again
}

// flyToRefresh is the work of a flight that makes the token last. It looks again as well.
func (b *Broker) flyToRefresh(ctx context.Context, ask Ask) (Grant, error) {
	token, err := b.look(ctx, ask.Client)
	if err != nil {
		return Grant{}, err
	}
	now := b.now()
	switch b.parts.Lifetime.Decide(token, now, ask.Need).Action {
	case Mint:
		return b.changePlanes(ctx, ask)
	case Refresh, ServeAndExtend:
		return b.refresh(ctx, token)
	case Slide:
		return b.slide(ctx, token)
	}
	return Grant{Token: token, Source: SourceCache, At: now}, nil
}

// changePlanes gets another token for a flight that found that it needs one.
func (b *Broker) changePlanes(ctx context.Context, ask Ask) (Grant, error) {
	f, _ := b.board(ctx, ask, Mint)
	return f.wait(ctx)
}

// serves reports whether what a flight brought is what this caller needs; a flight led by somebody else may bring less.
// A need is measured from when the flight decided: what the store and Portal take after that can't be made up for. One
// that is suspect is asked for first, though it was just minted; one that another replica put there need not be new.
func (b *Broker) serves(grant Grant, need Need) bool {
	life := b.parts.Lifetime
	switch {
	case !life.Live(grant.Token, b.now()), grant.Token.Suspect:
		return false
	case grant.Token.ID == need.Rejected:
		return grant.instead == need.Rejected // nothing newer can be had: Portal gave the rejected text once more
	case grant.Source == SourceMint && grant.Shared == "":
		return true
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
	return met && t.ID != need.Rejected && life.Usable(t, now)
}

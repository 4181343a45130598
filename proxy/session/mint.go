package session

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// order is what a mint is for: why, in the place of which token, and under which lease.
type order struct {
	old    Token
	reason Reason
	lease  Lease
}

// mint is the only path on which Portal is asked for another token of a client it knows.
func (b *Broker) mint(ctx context.Context, client ClientID, order order) (Grant, error) {
	// First, so that the dead token is gone even if the mint fails. If it is gone already, the callers look again: another
	// may have taken its place, or nobody may ask for one any more.
	if order.reason == Rejected && b.drop(ctx, client, order.old.ID) != MatchSame {
		return Grant{}, nil
	}
	sent := b.sent()
	token, err := b.ask(ctx, client, order)
	if err != nil {
		return Grant{}, timely(ctx, err)
	}
	b.parts.Log.InfoContext(ctx, "minted", "client", client, "token_id", token.ID, "reason", order.reason)
	token.Fence = order.lease.Fence
	open := !token.Doubt.IsZero()
	if order.lease.Doubt || open || b.adrift.may(client, time.Now()) {
		token.Doubt = b.after(sent, b.parts.Deadline)
	}
	b.replaced(order.old)
	grant, err := b.keep(context.WithoutCancel(ctx), token, sent, order.lease.Seen)
	grant.Reason, grant.open = order.reason, open
	if order.reason == Rejected {
		grant.instead = order.old.ID
	}
	return grant, err
}

// replaced tells of a token in whose place another was minted, if its record was still there.
func (b *Broker) replaced(old Token) {
	if b.parts.Replaced != nil && !old.IsZero() {
		b.parts.Replaced(max(b.now().Sub(old.MintedAt), 0))
	}
}

// ask has Portal mint. A token that others are served meanwhile is in doubt from before the request leaves until it is
// known that nothing was done: an answer that can't be used may have been a mint's.
func (b *Broker) ask(ctx context.Context, client ClientID, order order) (Token, error) {
	asking, cancel := context.WithTimeout(ctx, b.parts.Deadline)
	defer cancel()
	old := order.old
	served := order.reason != Rejected && b.parts.Lifetime.Live(old, b.now())
	if served {
		b.doubt(ctx, old, b.after(old.ActiveAt, 2*b.parts.Deadline))
	}
	token, err := b.parts.Portal.Mint(asking, client, order.reason)
	if served && err != nil && settled(err) && !errors.Is(err, ErrPortalBadResponse) {
		b.doubt(context.WithoutCancel(ctx), old, later(old.Doubt, old.MintedAt))
	}
	return token, err
}

// leaveWord notes that a mint may be carried out yet, for whatever token of the client there is: where the store lost the
// lease, another replica has minted meanwhile and knows of no mint but its own.
func (b *Broker) leaveWord(ctx context.Context, client ClientID) {
	b.doubt(ctx, Token{Client: client}, b.after(time.Time{}, b.parts.Deadline))
}

// doubt puts token in doubt until the given time.
func (b *Broker) doubt(ctx context.Context, token Token, until time.Time) {
	if _, err := b.parts.Store.Slide(ctx, Move{Client: token.Client, ID: token.ID, Doubt: until}); err != nil {
		b.parts.Log.WarnContext(ctx, "doubt not stored", "client", token.Client, "token_id", token.ID, "error", err)
	}
}

// after returns the time that wait takes from now, at the latest that it may be, for a token last active at active: a
// clock that is in doubt may turn out to have run behind either, and then nothing would be asked for.
func (b *Broker) after(active time.Time, wait time.Duration) time.Time {
	return later(b.now(), active).Add(wait)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// settled reports whether a mint that ended with err is over: Portal answered, or was never asked.
func settled(err error) bool {
	for _, open := range []error{ErrOutcomeUnknown, ErrPortalTimeout, ErrLeaseLost, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, open) {
			return false
		}
	}
	return true
}

// timely names a request that was cut off because its lease was about to be lost.
func timely(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), ErrLeaseLost) {
		return ErrLeaseLost
	}
	return err
}

// keep dates a token that Portal just made and stores it. sent is when the request left, so never later than Portal's
// own date. A store that fails costs a mint later, not this caller's token. What is granted is what is kept: it may be
// a newer token that was there, or be suspect, in which case the callers look again.
func (b *Broker) keep(ctx context.Context, token Token, sent time.Time, seen uint64) (Grant, error) {
	token.MintedAt, token.ActiveAt = sent, sent
	var kept Token
	err := insist(ctx, func() (err error) {
		kept, err = b.parts.Store.Commit(ctx, token, seen)
		return err
	})
	if err != nil {
		b.parts.Log.WarnContext(ctx, "token not stored", "client", token.Client, "token_id", token.ID, "error", err)
		return Grant{Token: token, Source: SourceMint}, nil
	}
	if kept.Suspect {
		b.parts.Log.WarnContext(ctx, "two mints at once", "client", token.Client, "token_id", token.ID, "kept_token_id", kept.ID)
	}
	return Grant{Token: kept, Source: SourceMint}, nil
}

// drop forgets a token that Portal refuses, and no other. It returns which one it found; a store that fails does not know
// better than Portal, so that counts as the same.
func (b *Broker) drop(ctx context.Context, client ClientID, dead TokenID) Match {
	match, err := b.parts.Store.Forget(ctx, client, dead)
	if err != nil {
		b.parts.Log.WarnContext(ctx, "dead token not forgotten", "client", client, "token_id", dead, "error", err)
		return MatchSame
	}
	return match
}

func newOwner() string { return rand.Text() }

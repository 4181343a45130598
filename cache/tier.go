package cache

import (
	"context"
	"errors"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// TierMeter is what a [Tier] reports its lookups to.
type TierMeter interface {
	// MemoryHit counts a lookup that memory answered.
	MemoryHit()
	// MemoryMiss counts one that it did not.
	MemoryMiss()
}

// TierParts is what a [Tier] is made of. Every field is required.
type TierParts struct {
	// Store is the one that the fleet shares.
	Store session.Store
	// Restore puts back a token that the store lost, and returns what it keeps for the client then.
	Restore  func(context.Context, session.Token) (session.Token, error)
	Lifetime session.Lifetime
	// Entries bounds the tokens remembered; the least used go first.
	Entries int
	// TTL is how long a token is served from memory without looking into the store; 0 is never while the store answers.
	TTL time.Duration
	// Now returns the latest that it may be, Sent the earliest.
	Now, Sent func() time.Time
	Meter     TierMeter
}

// Tier remembers, in front of the store that the fleet shares, what this replica saw of it: for the TTL it answers in
// the store's place, and while the store fails for as long as a token lives. What the store could not be told is told
// when it is back.
type Tier struct {
	parts  TierParts
	tokens memories
	// looks lets those who miss one client at once share a look.
	looks singleflight.Group
	// catches lets one at a time tell the store of a client.
	catches singleflight.Group
	// era counts the times that everything remembered became old at once, drops the times that one client's did.
	era   atomic.Uint64
	drops drops
	// owing: the store may have to be told something.
	owing atomic.Bool
	// lost: the store may have lost what it was told.
	lost atomic.Bool
}

// remembered is a client's token as this replica last saw it; the zero token, that it was forgotten.
type remembered struct {
	token session.Token
	seen  time.Time
	era   uint64
	owed
}

// owed is what the store is still to be told.
type owed struct {
	// unsaved: the store could not be told of its latest activity; if minted is set, it never was told of the token, nor of
	// base, the fence that was there when its lease was taken.
	unsaved, minted bool
	base            uint64
	// noted is when it was last noted that the store could not be told.
	noted instant
	// forgotten is the token that the store could not be told to forget.
	forgotten session.TokenID
}

// NewTier returns an empty Tier.
func NewTier(parts TierParts) *Tier {
	return &Tier{parts: parts, drops: drops{seed: maphash.MakeSeed()}, tokens: newMemories(parts.Entries, func(r remembered) time.Duration {
		if r.token.IsZero() {
			return parts.Lifetime.IdleTTL
		}
		return max(parts.Lifetime.ExpiresAt(r.token).Sub(parts.Now()), 1)
	})}
}

// Close ends the goroutines.
func (t *Tier) Close() error {
	t.tokens.cache.StopAllGoroutines()
	return nil
}

// Doubt makes everything remembered old: messages may have been missed. It is served only while the store fails.
func (t *Tier) Doubt() { t.era.Add(1) }

// Drop drops what is remembered of the client, unless it is now: its token changed on some replica. The zero id is none.
func (t *Tier) Drop(client session.ClientID, now session.TokenID) {
	t.drops.of(client).Add(1) // first: a look under way must not bring the old token back
	t.looks.Forget(string(client))
	t.tokens.computeIfPresent(client, func(r remembered) (remembered, otter.ComputeOp) {
		switch {
		case !now.IsZero() && r.token.ID == now:
			return r, otter.CancelOp
		case r.unsaved:
			r.seen = time.Time{}
			return r, otter.WriteOp
		}
		return r, otter.InvalidateOp
	})
}

// Look implements [session.Store]. It fails only if the store does and nothing is remembered.
func (t *Tier) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	seen, era, drops := t.parts.Now(), t.era.Load(), t.drops.of(client).Load()
	token, err := t.parts.Store.Look(ctx, client)
	r, found := t.tokens.look(client)
	switch {
	case err != nil && found && !errors.Is(err, session.ErrRecordUnreadable):
		t.owe(r)
		return r.token, nil
	case err != nil:
		return session.Token{}, err
	case r.unsaved:
		return t.catchUp(ctx, client), nil
	case t.gone(token) && t.parts.Lifetime.Live(r.token, seen):
		return t.restore(ctx, r), nil
	}
	if now := (remembered{token: token, seen: seen, era: era}); !found || !t.saysNothingNew(r, now) {
		t.remember(client, now, drops)
	}
	return token, nil
}

// remember replaces what is remembered unless that was seen later, or it was dropped since drops were counted.
// Activity that is known stays known.
func (t *Tier) remember(client session.ClientID, r remembered, drops uint64) {
	t.tokens.compute(client, func(old remembered, found bool) (remembered, otter.ComputeOp) {
		switch {
		case drops != t.drops.of(client).Load():
			return old, otter.CancelOp
		case found && (old.unsaved || old.seen.After(r.seen)):
			return old, otter.CancelOp
		case r.token.IsZero():
			return old, otter.InvalidateOp
		case found && old.token.ID == r.token.ID && old.token.ActiveAt.After(r.token.ActiveAt):
			r.token.ActiveAt = old.token.ActiveAt
		}
		return r, otter.WriteOp
	})
}

// Commit implements [session.Store]. If the store can't be told, the token is remembered, and told when it can be.
func (t *Tier) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	client := token.Client
	era, drops := t.era.Load(), t.drops.of(client).Load()
	kept, err := t.parts.Store.Commit(ctx, token, seen)
	if err != nil {
		kept = token
		t.owing.Store(true)
	}
	r := remembered{token: kept, seen: t.parts.Now(), era: era}
	if err != nil {
		r.owed = owed{unsaved: true, minted: true, base: seen, noted: t.instant()}
	}
	t.looks.Forget(string(client))
	if drops != t.drops.of(client).Load() {
		r.seen = time.Time{}
	}
	t.tokens.set(client, r)
	return kept, err
}

// Slide implements [session.Store]. While the store fails, the memory's word stands.
func (t *Tier) Slide(ctx context.Context, move session.Move) (session.Match, error) {
	t.settleOne(ctx, move.Client)
	match, err := t.parts.Store.Slide(ctx, move)
	if err == nil && match != session.MatchSame {
		t.Drop(move.Client, session.TokenID{})
		return match, nil
	}
	kept := session.MatchNone
	t.tokens.computeIfPresent(move.Client, func(r remembered) (remembered, otter.ComputeOp) {
		switch {
		case r.token.IsZero():
			return r, otter.CancelOp
		case !move.ID.IsZero() && r.token.ID != move.ID:
			kept = session.MatchOther
			return r, unlessKnown(err)
		}
		kept = session.MatchSame
		r.token = move.Of(r.token)
		if err != nil {
			r.unsaved, r.noted = true, t.instant()
		}
		return r, otter.WriteOp
	})
	if err != nil && kept == session.MatchSame {
		t.owing.Store(true)
		return kept, nil
	}
	return match, err
}

// Forget implements [session.Store]. While the store fails the error stays, but the token does not come back with it.
func (t *Tier) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	t.settleOne(ctx, client)
	match, err := t.parts.Store.Forget(ctx, client, id)
	t.drops.of(client).Add(1) // before memory forgets it: a look under way may have seen it
	t.looks.Forget(string(client))
	t.tokens.compute(client, func(r remembered, found bool) (remembered, otter.ComputeOp) {
		switch {
		case found && !r.token.IsZero() && !id.IsZero() && r.token.ID != id:
			return r, otter.CancelOp
		case err == nil:
			return r, otter.InvalidateOp
		case id.IsZero():
			id = r.token.ID
		}
		return remembered{owed: owed{forgotten: id, unsaved: true, noted: t.instant()}}, otter.WriteOp
	})
	if err != nil {
		t.owing.Store(true)
	}
	return match, err
}

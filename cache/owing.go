package cache

import (
	"context"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Lost says that the store lost what it was told: what is remembered will be put back.
func (t *Tier) Lost() { t.lost.Store(true) }

// Settle tells the store what it could not be told while it failed, or lost. It costs nothing if there is nothing to tell.
func (t *Tier) Settle(ctx context.Context) {
	owing, lost := t.owing.Swap(false), t.lost.Swap(false)
	if !owing && !lost {
		return
	}
	for client, r := range t.tokens.all() {
		if ctx.Err() != nil {
			t.owing.Store(owing)
			t.lost.Store(lost)
			return
		}
		if r.unsaved || lost {
			_, _ = t.Look(ctx, client)
		}
	}
}

// restore puts the token of r back into a store that lost it, and returns what is right now. Where a change may have been
// missed since it was seen, Portal is asked whether it is still alive.
func (t *Tier) restore(ctx context.Context, r remembered) session.Token {
	token, drops := r.token, t.drops.of(r.token.Client).Load()
	if !t.fresh(r, t.parts.Now()) {
		token = t.inDoubt(token)
	}
	kept, err := t.parts.Restore(ctx, token)
	if err != nil {
		t.lost.Store(true)
		return r.token
	}
	t.adopt(r, kept, drops)
	return kept
}

// inDoubt returns token such that Portal is asked for it once from now on, also by a clock that came in doubt since it was
// active and may run behind that.
func (t *Tier) inDoubt(token session.Token) session.Token {
	now := stored(t.parts.Sent())
	if now.Before(token.ActiveAt) {
		now = token.ActiveAt.Add(time.Millisecond)
	}
	if now.After(token.Doubt) {
		token.Doubt = now
	}
	return token
}

// adopt remembers what the store keeps in the place of r, unless that changed, and returns what is remembered then. It is
// an old answer if the client was dropped since drops were counted.
func (t *Tier) adopt(r remembered, kept session.Token, drops uint64) (now remembered, found bool) {
	return t.tokens.computeIfPresent(r.token.Client, func(now remembered) (remembered, otter.ComputeOp) {
		switch {
		case now.token.ID != r.token.ID || now.minted && !r.minted:
			return now, otter.CancelOp
		case kept.IsZero():
			return now, otter.InvalidateOp
		}
		fresh := remembered{token: kept, seen: t.parts.Now(), era: t.era.Load()}
		if drops != t.drops.of(r.token.Client).Load() {
			fresh.seen = time.Time{}
		}
		return fresh, otter.WriteOp
	})
}

// stored cuts a date to the precision of a record.
func stored(date time.Time) time.Time { return date.UTC().Truncate(time.Millisecond) }

// owe notes that there is still something to tell.
func (t *Tier) owe(r remembered) {
	if r.unsaved {
		t.owing.Store(true)
	}
}

// settleOne tells the store of the client's token before that is asked to change it: it would not know it.
func (t *Tier) settleOne(ctx context.Context, client session.ClientID) {
	if r, found := t.tokens.get(client); found && r.unsaved {
		_, _ = t.Look(ctx, client)
	}
}

// unlessKnown drops what is remembered where the store, which answered, says otherwise.
func unlessKnown(err error) otter.ComputeOp {
	if err == nil {
		return otter.InvalidateOp
	}
	return otter.CancelOp
}

// catchUp tells the store what this replica knows better, and returns what is right then. Once at a time for a client:
// what one tells is no news to the next.
func (t *Tier) catchUp(ctx context.Context, client session.ClientID) session.Token {
	told, _, _ := t.catches.Do(string(client), func() (any, error) { return t.tell(context.WithoutCancel(ctx), client), nil })
	return told.(session.Token) //nolint:forcetypeassert,errcheck // it is what tell returns
}

// tell is catchUp's work. A store that can be read may still refuse to be told; then it is told later.
func (t *Tier) tell(ctx context.Context, client session.ClientID) session.Token {
	drops := t.drops.of(client).Load()
	stored, err := t.parts.Store.Look(ctx, client)
	if t.gone(stored) {
		stored = session.Token{}
	}
	r, found := t.tokens.get(client)
	switch {
	case err != nil && !errors.Is(err, session.ErrRecordUnreadable):
		t.owe(r)
		return r.token
	case !found || !r.unsaved:
		return stored
	case r.token.IsZero():
		return t.forgetLate(ctx, client, r, stored)
	case r.token.ID == stored.ID:
		return t.slideLate(ctx, r, stored, drops)
	case r.minted:
		return t.commitLate(ctx, r, drops)
	case stored.IsZero():
		return t.restore(ctx, r)
	}
	t.adopt(r, stored, drops)
	return stored
}

// commitLate commits a token that the store could not be told of. Others may have minted meanwhile and told nobody, or a
// store that lost it, so Portal is asked whether it is still alive. If it was forgotten here meanwhile, it is forgotten there
// too.
func (t *Tier) commitLate(ctx context.Context, r remembered, drops uint64) session.Token {
	kept, err := t.parts.Store.Commit(ctx, t.inDoubt(t.redated(r)), r.base)
	if err != nil {
		t.owe(r)
		return r.token
	}
	now, found := t.adopt(r, kept, drops)
	if !found || now.token.IsZero() {
		_, _ = t.parts.Store.Forget(ctx, kept.Client, r.token.ID)
		return session.Token{}
	}
	return now.token
}

// forgetLate forgets what should be gone, and only that: any token was not one that was minted since.
func (t *Tier) forgetLate(ctx context.Context, client session.ClientID, r remembered, stored session.Token) session.Token {
	named := stored.ID == r.forgotten || r.forgotten.IsZero() && !stored.MintedAt.After(r.noted.sent)
	if named && !stored.IsZero() {
		if _, err := t.parts.Store.Forget(ctx, client, stored.ID); err != nil {
			t.owing.Store(true)
			return session.Token{}
		}
		stored = session.Token{}
	}
	t.tokens.computeIfPresent(client, func(now remembered) (remembered, otter.ComputeOp) {
		if now.unsaved && now.token.IsZero() {
			return now, otter.InvalidateOp
		}
		return now, otter.CancelOp
	})
	return stored
}

// slideLate notes activity that the store missed.
func (t *Tier) slideLate(ctx context.Context, r remembered, stored session.Token, drops uint64) session.Token {
	token := t.redated(r)
	move := session.Move{Client: stored.Client, ID: stored.ID, At: token.ActiveAt}
	if token.Doubt.After(stored.Doubt) {
		move.Doubt = token.Doubt
	}
	match, err := t.parts.Store.Slide(ctx, move)
	if err != nil {
		t.owing.Store(true)
		return r.token
	}
	known := session.Token{} // it was replaced or forgotten just now: the next look tells
	if match == session.MatchSame {
		known = move.Of(stored)
	}
	t.adopt(r, known, drops)
	return known
}

// instant is what time the fleet's clock had at a moment of this machine's.
type instant struct{ sent, local time.Time }

func (t *Tier) instant() instant { return instant{sent: t.parts.Sent(), local: time.Now()} }

// redated returns the token of r as the fleet's clock would have dated it, if that turned out to be behind since: it may
// not have been known when the store was down.
func (t *Tier) redated(r remembered) session.Token {
	token, ahead := r.token, r.noted.sent.Add(time.Since(r.noted.local)).Sub(t.parts.Sent())
	if r.noted.sent.IsZero() || ahead <= sameTime {
		return token
	}
	ahead = ahead.Round(time.Millisecond)
	token.MintedAt, token.ActiveAt = token.MintedAt.Add(-ahead), token.ActiveAt.Add(-ahead)
	return token
}

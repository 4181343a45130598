package cache

import (
	"context"
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
	for client, r := range t.tokens.All() {
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
	token, drops := r.token, t.drops.Load()
	if now := stored(t.parts.Now()); !t.fresh(r) && now.After(token.Doubt) {
		token.Doubt = now
	}
	kept, err := t.parts.Restore(ctx, token)
	if err != nil {
		t.lost.Store(true)
		return r.token
	}
	t.adopt(r, kept, drops)
	return kept
}

// adopt remembers what the store keeps in the place of r, unless that changed. It is an old answer if anything was dropped
// since drops were counted.
func (t *Tier) adopt(r remembered, kept session.Token, drops uint64) {
	t.tokens.ComputeIfPresent(r.token.Client, func(now remembered) (remembered, otter.ComputeOp) {
		switch {
		case now.token.ID != r.token.ID || now.minted:
			return now, otter.CancelOp
		case kept.IsZero():
			return now, otter.InvalidateOp
		}
		fresh := remembered{token: kept, seen: t.parts.Now(), era: t.era.Load()}
		if drops != t.drops.Load() {
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
	if r, found := t.tokens.GetIfPresent(client); found && r.unsaved {
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

// catchUp tells the store, which holds stored, what this replica knows better by r, and returns what is right now. A
// store that can be read may still refuse to be told; then it is told later.
func (t *Tier) catchUp(ctx context.Context, client session.ClientID, r remembered, stored session.Token) session.Token {
	switch {
	case r.token.IsZero():
		return t.forgetLate(ctx, client, r.forgotten, stored)
	case r.token.ID == stored.ID:
		return t.slideLate(ctx, r, stored)
	case r.minted:
		return t.commitLate(ctx, r)
	case stored.IsZero():
		return t.restore(ctx, r)
	}
	t.adopt(r, stored, t.drops.Load())
	return stored
}

// commitLate commits a token that the store could not be told of. If it was forgotten here meanwhile, it is forgotten
// there too.
func (t *Tier) commitLate(ctx context.Context, r remembered) session.Token {
	kept, err := t.parts.Store.Commit(ctx, r.token, r.base)
	if err != nil {
		t.owe(r)
		return r.token
	}
	still := false
	t.tokens.ComputeIfPresent(kept.Client, func(now remembered) (remembered, otter.ComputeOp) {
		if still = now.unsaved && now.token.ID == r.token.ID; !still {
			return now, otter.CancelOp
		}
		return remembered{token: kept, seen: t.parts.Now(), era: t.era.Load()}, otter.WriteOp
	})
	if !still {
		_, _ = t.parts.Store.Forget(ctx, kept.Client, kept.ID)
		return session.Token{}
	}
	return kept
}

// forgetLate forgets what should be gone, and only that.
func (t *Tier) forgetLate(ctx context.Context, client session.ClientID, gone session.TokenID, stored session.Token) session.Token {
	wanted := !stored.IsZero() && (gone.IsZero() || stored.ID == gone)
	if wanted {
		if _, err := t.parts.Store.Forget(ctx, client, stored.ID); err != nil {
			t.owing.Store(true)
			return session.Token{}
		}
		stored = session.Token{}
	}
	t.tokens.ComputeIfPresent(client, func(now remembered) (remembered, otter.ComputeOp) {
		if now.unsaved && now.token.IsZero() {
			return now, otter.InvalidateOp
		}
		return now, otter.CancelOp
	})
	return stored
}

// slideLate notes activity that the store missed.
func (t *Tier) slideLate(ctx context.Context, r remembered, stored session.Token) session.Token {
	move := session.Move{Client: stored.Client, ID: stored.ID, At: r.token.ActiveAt, Doubt: r.token.Doubt}
	if _, err := t.parts.Store.Slide(ctx, move); err != nil {
		t.owing.Store(true)
		return r.token
	}
	known := move.Of(stored)
	t.tokens.Set(stored.Client, remembered{token: known, seen: t.parts.Now(), era: t.era.Load()})
	return known
}

package cache

import (
	"context"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Settle tells the store what it could not be told while it failed. It costs nothing if there is nothing to tell.
func (t *Tier) Settle(ctx context.Context) {
	if !t.owing.CompareAndSwap(true, false) {
		return
	}
	for client, r := range t.tokens.All() {
		if r.unsaved && ctx.Err() == nil {
			_, _ = t.Look(ctx, client)
		}
	}
}

// catchUp tells the store, which holds stored, what this replica knows better, and returns what is right now. A store
// that can be read may still refuse to be told; then it is told later.
func (t *Tier) catchUp(ctx context.Context, client session.ClientID, stored session.Token) session.Token {
	r, found := t.tokens.GetIfPresent(client)
	switch {
	case !found || !r.unsaved: // another look was faster
		return stored
	case r.token.IsZero():
		return t.forgetLate(ctx, client, r.forgotten, stored)
	case r.token.ID == stored.ID:
		return t.slideLate(ctx, r, stored)
	}
	kept, _ := t.Commit(ctx, r.token, r.base)
	return kept
}

// forgetLate forgets what should be gone, and only that.
func (t *Tier) forgetLate(ctx context.Context, client session.ClientID, gone session.TokenID, stored session.Token) session.Token {
	if !stored.IsZero() && (gone.IsZero() || stored.ID == gone) {
		_, _ = t.Forget(ctx, client, stored.ID)
		return session.Token{}
	}
	t.tokens.Invalidate(client)
	return stored
}

// slideLate notes activity that the store missed.
func (t *Tier) slideLate(ctx context.Context, r remembered, stored session.Token) session.Token {
	move := session.Move{Client: stored.Client, ID: stored.ID, At: r.token.ActiveAt}
	if _, err := t.parts.Store.Slide(ctx, move); err != nil {
		t.owing.Store(true)
		return r.token
	}
	known := move.Of(stored)
	t.tokens.Set(stored.Client, remembered{token: known, seen: t.parts.Now(), era: t.era.Load()})
	return known
}

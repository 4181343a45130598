package cache

import (
	"context"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Load implements [session.Store].
func (t *Tier) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	r, found := t.tokens.get(client)
	if found && !r.unsaved && t.fresh(r, t.parts.Now()) {
		t.parts.Meter.MemoryHit()
		return r.token, nil
	}
	return t.share(ctx, client)
}

// Recall implements [session.Remembering].
func (t *Tier) Recall(
	ctx context.Context, client session.ClientID, good func(session.Token, time.Time) bool,
) (session.Token, time.Time, bool) {
	r, found := t.tokens.get(client)
	now := t.parts.Now()
	if !found && !t.full() || found && (r.unsaved || !good(r.token, now)) {
		return session.Token{}, time.Time{}, false
	}
	if found && t.fresh(r, now) {
		t.parts.Meter.MemoryHit()
		return r.token, now, true
	}
	token, err := t.share(ctx, client)
	now = t.parts.Now()
	return token, now, err == nil && good(token, now)
}

// full reports whether memory has no room, so that who is not remembered may well have a token.
func (t *Tier) full() bool { return t.tokens.cache.EstimatedSize() >= t.parts.Entries }

// fresh reports whether r may be served at now without looking into the store.
func (t *Tier) fresh(r remembered, now time.Time) bool {
	age := now.Sub(r.seen)
	return r.era == t.era.Load() && age >= 0 && age < t.parts.TTL
}

// share looks for all who ask for one client at once: whoever comes first does. Its leaving ends nobody else's look, and the
// store has a time-out of its own.
func (t *Tier) share(ctx context.Context, client session.ClientID) (session.Token, error) {
	t.parts.Meter.MemoryMiss()
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	looked, err, _ := t.looks.Do(string(client), func() (any, error) { return t.Look(ctx, client) })
	return looked.(session.Token), err //nolint:forcetypeassert,errcheck // it is what Look returns
}

// soon is how long it does not matter that something was seen again.
const soon = time.Second

// saysNothingNew reports whether to remember now in the place of r is worth no write: where the store is looked into each
// time, only news are.
func (t *Tier) saysNothingNew(r, now remembered) bool {
	age := now.seen.Sub(r.seen)
	now.token.Secret = r.token.Secret // which the token's id is made of
	return t.parts.TTL == 0 && now.token == r.token && now.era == r.era && !r.unsaved && age >= 0 && age < soon
}

package cache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// inDoubt returns the token as it is once a change to it may have been missed.
func inDoubt(token session.Token, now time.Time) session.Token {
	token.Doubt = now.UTC().Truncate(time.Millisecond)
	return token
}

func TestTokenThatTheStoreLostIsPutBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		later time.Duration
		event func(rig)
		doubt bool
	}{
		"as it is while memory would have answered": {later: memoryTTL - 1},
		"in doubt once that is over":                {later: memoryTTL, doubt: true},
		"in doubt after messages were missed":       {event: func(r rig) { r.Doubt() }, doubt: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			token := r.token()
			save(t, r, token)
			r.clock.advance(c.later)
			if c.event != nil {
				c.event(r)
			}
			r.store.Lose()
			want := token
			if c.doubt {
				want = inDoubt(token, r.clock.Now())
			}
			if got, err := r.Look(t.Context(), alice); err != nil || got.ID != token.ID {
				t.Errorf("Look = %+v, %v; want the token", got, err)
			}
			wantLoaded(t, r.store, alice, want)
			wantLoaded(t, r, alice, want)
		})
	}
}

// The clock came in doubt since the token was accepted, and may be behind that.
func TestTokenThatIsPutBackIsAskedForThoughTheClockCameInDoubt(t *testing.T) {
	t.Parallel()
	store, clock, behind := &sessiontest.Store{}, newClock(), time.Duration(0)
	tier := newTier(t, cache.TierParts{
		Store: store, TTL: memoryTTL, Now: clock.Now, Sent: func() time.Time { return clock.Now().Add(-behind) },
	})
	save(t, tier, sessiontest.NewToken(alice, clock.Now()))
	clock.advance(time.Minute)
	behind = hour
	store.Lose()
	got, err := tier.Look(t.Context(), alice)
	must(t, err)
	if action := portal().Decide(got, clock.Now(), session.Need{}).Action; action != session.Refresh {
		t.Errorf("a fetch would %s it, want it refreshed", action)
	}
}

func TestTokenThatIsNotLostIsNotPutBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens func(rig, session.Token)
		kept    bool
	}{
		"one that another replica forgot": {happens: func(r rig, token session.Token) {
			_, _ = r.store.Forget(r.t.Context(), alice, token.ID)
		}},
		"any that another replica forgot": {happens: func(r rig, _ session.Token) {
			_, _ = r.store.Forget(r.t.Context(), alice, session.TokenID{})
		}},
		"one lost, and forgotten then": {happens: func(r rig, token session.Token) {
			r.store.Lose()
			_, _ = r.store.Forget(r.t.Context(), alice, token.ID)
		}},
		"one that has ended": {happens: func(r rig, _ session.Token) {
			r.store.Lose()
			r.clock.advance(day)
		}},
		"one in whose place another is": {kept: true, happens: func(r rig, token session.Token) {
			r.store.Lose()
			other := r.token()
			other.Fence = 1
			_, _ = r.store.Commit(r.t.Context(), other, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			token := r.token()
			save(t, r, token)
			c.happens(r, token)
			got, err := r.Look(t.Context(), alice)
			if err != nil || got.ID == token.ID || got.IsZero() == c.kept {
				t.Errorf("Look = %+v, %v; want another token: %t", got, err, c.kept)
			}
			wantLoaded(t, r.store, alice, got)
			wantLoaded(t, r, alice, got)
		})
	}
}

func TestTokensThatTheStoreLostArePutBackWithoutAFetch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	save(t, r, token)
	r.store.Lose()
	r.Settle(t.Context())
	wantLoaded(t, r.store, alice, session.Token{})
	r.Lost()
	r.Settle(t.Context())
	wantLoaded(t, r.store, alice, token)
	r.store.Lose()
	r.Settle(t.Context())
	wantLoaded(t, r.store, alice, session.Token{})
}

func TestTokenThatCanNotBePutBackYetIsServedAndPutBackLater(t *testing.T) {
	t.Parallel()
	store, refuse := &sessiontest.Store{}, true
	tier := newTier(t, cache.TierParts{Store: store, TTL: hour, Restore: func(ctx context.Context, token session.Token) (session.Token, error) {
		if refuse {
			return session.Token{}, errDown
		}
		return store.Restore(ctx, token)
	}})
	token := newToken(alice)
	save(t, tier, token)
	store.Lose()
	if got, err := tier.Look(t.Context(), alice); err != nil || got.ID != token.ID {
		t.Errorf("Look = %+v, %v; want the token", got, err)
	}
	refuse = false
	tier.Settle(t.Context())
	wantLoaded(t, store, alice, token)
}

// A replica noted activity while the store failed, and another forgot the token meanwhile.
func TestActivityThatTheStoreMissedDoesNotBringBackATokenThatWasForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	save(t, r, token)
	r.store.Break(errDown)
	wantMatch(t, session.MatchSame)(r.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(time.Minute)}))
	r.store.Break(nil)
	wantMatch(t, session.MatchSame)(r.store.Forget(t.Context(), alice, token.ID))
	wantLoaded(t, r, alice, session.Token{})
	wantLoaded(t, r.store, alice, session.Token{})
}

func TestActivityThatTheStoreMissedIsKeptThoughItLostTheToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	save(t, r, token)
	r.store.Break(errDown)
	token.ActiveAt = token.ActiveAt.Add(time.Minute)
	wantMatch(t, session.MatchSame)(r.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
	r.store.Break(nil)
	r.store.Lose()
	wantLoaded(t, r, alice, token)
	wantLoaded(t, r.store, alice, token)
}

func TestRedisPutsBackOnlyWhatItLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	restore := func(token session.Token) session.Token {
		t.Helper()
		kept, err := store.Restore(t.Context(), token)
		must(t, err)
		wantLoaded(t, store, token.Client, kept)
		return kept
	}
	token, other := newToken(alice), newToken(alice)
	other.Fence = 2
	if diff := cmp.Diff(token, restore(token)); diff != "" {
		t.Errorf("put back (-want +got):\n%s", diff)
	}
	if want := portal().ExpiresAt(token).Add(day).UnixMilli(); server.Do("PEXPIRETIME", keyOf(alice)) != want {
		t.Errorf("the record expires at %v, want %d", server.Do("PEXPIRETIME", keyOf(alice)), want)
	}
	save(t, store, other)
	if got := restore(token); got.ID != other.ID {
		t.Errorf("kept %+v, want the token that is there", got)
	}
	wantMatch(t, session.MatchSame)(store.Forget(t.Context(), alice, other.ID))
	if got := restore(token); !got.IsZero() {
		t.Errorf("kept %+v after it was forgotten", got)
	}
	if left := server.Do("PTTL", keyOf(alice)).(int64); left <= day.Milliseconds()-60_000 || left > day.Milliseconds() {
		t.Errorf("the mark is kept for %d ms, want a day: as long as anybody may remember the token", left)
	}
	server.Do("SET", keyOf(alice), "noise")
	if got, err := store.Restore(t.Context(), token); !errors.Is(err, session.ErrRecordUnreadable) {
		t.Errorf("put back over noise: %+v, %v", got, err)
	}
	server.Do("FLUSHALL")
	wantMatch(t, session.MatchNone)(store.Forget(t.Context(), alice, session.TokenID{}))
	if got := restore(token); !got.IsZero() {
		t.Errorf("kept %+v after it was forgotten, though it was lost before", got)
	}
	wantMatch(t, session.MatchNone)(store.Slide(t.Context(), session.Move{Client: alice, At: time.Now()}))
	save(t, store, token)
	wantLoaded(t, store, alice, token)
}

package cache_test

import (
	"context"
	"testing"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func TestWhatIsOwedIsToldThoughTheFirstTryFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	r.store.Break(errDown)
	r.commitDown(token, 0)
	r.Settle(t.Context())
	r.store.Break(nil)
	r.Settle(t.Context())
	wantLoaded(t, r.store, alice, inDoubt(token, r.clock.Now()))
}

// interrupted is a store in which something happens just before a commit.
type interrupted struct {
	*sessiontest.Store
	before func()
}

func (s *interrupted) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
	return s.Store.Commit(ctx, token, seen)
}

func TestTokenForgottenWhileTheStoreIsToldOfItStaysForgotten(t *testing.T) {
	t.Parallel()
	store, clock := &interrupted{Store: &sessiontest.Store{}}, newClock()
	tier := newTier(t, cache.TierParts{Store: store, TTL: memoryTTL, Now: clock.Now})
	store.Break(errDown)
	if _, err := tier.Commit(t.Context(), sessiontest.NewToken(alice, clock.Now()), 0); err == nil {
		t.Fatal("commit: no error of a store that is down")
	}
	store.Break(nil)
	forgotten := make(chan error, 1)
	store.before = func() {
		go func() {
			_, err := tier.Forget(t.Context(), alice, session.TokenID{})
			forgotten <- err
		}()
	}
	tier.Settle(t.Context())
	must(t, <-forgotten)
	wantLoaded(t, tier, alice, session.Token{})
	wantLoaded(t, store, alice, session.Token{})
}

func TestTokenThatTheStoreWasNotToldOfYetCanBeNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	r.store.Break(errDown)
	r.commitDown(token, 0)
	r.store.Break(nil)
	token = inDoubt(token, r.clock.Now())
	token.ActiveAt = token.ActiveAt.Add(hour)
	wantMatch(t, session.MatchSame)(r.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
	wantLoaded(t, r.store, alice, token)
	wantMatch(t, session.MatchSame)(r.Forget(t.Context(), alice, token.ID))
	wantLoaded(t, r.store, alice, session.Token{})
}

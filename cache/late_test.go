package cache_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// The monitor and callers find at the same time that there is something to tell.
func TestTokenThatManyTellRedisOfAtOnceIsKept(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	lost := 0
	for range 50 {
		client := newClient()
		lostStore := &failFirst{Redis: store}
		tier := newTier(t, cache.TierParts{Store: lostStore, Restore: store.Restore, TTL: memoryTTL})
		token := newToken(client)
		_, _ = tier.Commit(t.Context(), token, 0)
		var g sync.WaitGroup
		g.Go(func() { tier.Settle(t.Context()) })
		for range 2 {
			g.Go(func() { _, _ = tier.Look(t.Context(), client) })
		}
		g.Go(func() { _, _ = tier.Load(t.Context(), client) })
		g.Wait()
		if got, _ := store.Load(t.Context(), client); got.ID != token.ID {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of 50 tokens were minted, written back, and forgotten", lost)
	}
}

// failFirst is a Redis whose first commit fails.
type failFirst struct {
	*cache.Redis
	mu sync.Mutex
	n  int
}

func (s *failFirst) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	s.mu.Lock()
	s.n++
	first := s.n == 1
	s.mu.Unlock()
	if first {
		return session.Token{}, errDown
	}
	return s.Redis.Commit(ctx, token, seen)
}

// beforeSlide is a store in which something happens just before a slide.
type beforeSlide struct {
	*sessiontest.Store
	before func()
}

func (s *beforeSlide) Slide(ctx context.Context, m session.Move) (session.Match, error) {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
	return s.Store.Slide(ctx, m)
}

// owingActivity returns a tier that is to tell its store, which is well again, of a token's activity.
func owingActivity(t *testing.T) (*beforeSlide, *cache.Tier, *clock) {
	t.Helper()
	store, clock := &beforeSlide{Store: &sessiontest.Store{}}, newClock()
	tier := newTier(t, cache.TierParts{Store: store, TTL: memoryTTL, Now: clock.Now})
	token := sessiontest.NewToken(alice, clock.Now())
	save(t, tier, token)
	store.Break(errDown)
	_, _ = tier.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(time.Second)})
	store.Break(nil)
	return store, tier, clock
}

func TestTokenReplacedWhileTheStoreIsToldOfActivityIsNotServed(t *testing.T) {
	t.Parallel()
	store, tier, clock := owingActivity(t)
	next := sessiontest.NewToken(alice, clock.Now().Add(time.Second))
	next.Fence = 1
	store.before = func() { // another replica replaces it, and says so
		_, err := store.Commit(t.Context(), next, 0)
		must(t, err)
		tier.Drop(alice, next.ID)
	}
	tier.Settle(t.Context())
	got, err := tier.Load(t.Context(), alice)
	if err != nil || got.ID != next.ID {
		t.Errorf("served %s from memory as fresh, want %s (%v)", got.ID, next.ID, err)
	}
}

func TestTokenForgottenWhileTheStoreIsToldOfActivityIsNotServed(t *testing.T) {
	t.Parallel()
	store, tier, _ := owingActivity(t)
	store.before = func() { // another replica forgets it, and says so
		_, err := store.Forget(t.Context(), alice, session.TokenID{})
		must(t, err)
		tier.Drop(alice, session.TokenID{})
	}
	tier.Settle(t.Context())
	wantLoaded(t, tier, alice, session.Token{})
}

func TestActivityToldLateLeavesALaterDoubt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	token.Doubt = token.ActiveAt.Add(-time.Hour) // settled long ago
	save(t, r, token)
	r.store.Break(errDown)
	_, _ = r.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt.Add(time.Second)})
	r.store.Break(nil)
	until := token.ActiveAt.Add(time.Hour)
	_, err := r.store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, Doubt: until}) // another replica's mint may kill it
	must(t, err)
	r.Settle(t.Context())
	got, _ := r.store.Load(t.Context(), alice)
	if !got.Doubt.Equal(until) {
		t.Errorf("doubt until %s, want %s", got.Doubt, until)
	}
}

func TestLookBegunBeforeALogoutIsNotSharedAfterIt(t *testing.T) {
	t.Parallel()
	fake, clock := &sessiontest.Store{}, newClock()
	token := sessiontest.NewToken(alice, clock.Now())
	save(t, fake, token)
	g := &slowLook{Store: fake, entered: make(chan struct{}), release: make(chan struct{})}
	tier := newTier(t, cache.TierParts{Store: g, TTL: memoryTTL, Now: clock.Now})
	before := make(chan struct{})
	go func() {
		defer close(before)
		_, _ = tier.Load(t.Context(), alice)
	}()
	<-g.entered
	_, err := tier.Forget(t.Context(), alice, session.TokenID{})
	must(t, err)
	defer func() { close(g.release); <-before }()
	wantLoaded(t, tier, alice, session.Token{}) // begun after the logout was done
}

// slowLook is a store whose first look is answered only when it is released.
type slowLook struct {
	*sessiontest.Store
	n                atomic.Int32
	entered, release chan struct{}
}

func (s *slowLook) Look(ctx context.Context, c session.ClientID) (session.Token, error) {
	tok, err := s.Store.Look(ctx, c)
	if s.n.Add(1) == 1 {
		close(s.entered)
		<-s.release
	}
	return tok, err
}

func TestTokenMintedBeforeRedisTimeWasKnownIsDatedByIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := connect(t, server.URL())
	clock := cache.NewClock(cache.ClockParts{Local: func() time.Time { return time.Now().Add(10 * time.Minute) }, Lifetime: portal(), Log: slog.New(slog.DiscardHandler)})
	parts := partsOf(client, "p", &cache.Changes{})
	parts.Sent = clock.Sent
	store := cache.NewRedis(parts)
	tier := newTier(t, cache.TierParts{Store: store, Restore: store.Restore, TTL: memoryTTL, Now: clock.Now, Sent: clock.Sent})
	monitor := cache.NewMonitor(cache.MonitorParts{Client: client, Prefix: "p", Name: "us", Log: slog.New(slog.DiscardHandler), Clock: clock, Heard: func(error, time.Duration) {}, Lost: tier.Lost})
	server.Kill()
	_ = monitor.Look(t.Context()) // it starts while Redis is down
	token := sessiontest.NewToken(alice, clock.Sent())
	_, _ = tier.Commit(t.Context(), token, 0)
	server.Restart()
	await(t, "Redis", func() bool { return monitor.Look(t.Context()) == nil })
	tier.Settle(t.Context())
	got, err := store.Load(t.Context(), alice)
	if err != nil || got.MintedAt.After(time.Now().Add(time.Second)) {
		t.Errorf("minted %s in the future (%v)", time.Until(got.MintedAt), err)
	}
}

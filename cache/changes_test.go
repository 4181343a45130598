package cache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// replica is one of a fleet: a Redis, a Tier in front of it that remembers for an hour, and the messages for both.
type replica struct {
	*cache.Redis
	tier *cache.Tier
	// lost counts how often messages may have been missed.
	lost *atomic.Int64
	stop func()
}

// startReplica returns a replica that listens, and ends with the test.
func startReplica(t *testing.T, target string) replica {
	t.Helper()
	client, changes := connect(t, target), &cache.Changes{}
	r := replica{
		Redis: cache.NewRedis(partsOf(client, "p", changes)),
		lost:  &atomic.Int64{},
	}
	r.tier = newTier(t, cache.TierParts{Store: r.Redis, TTL: hour})
	changes.Changed = r.tier.Drop
	changes.Lost = func() { r.tier.Doubt(); r.lost.Add(1) }
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		changes.Run(ctx, client, "p")
	}()
	r.stop = func() { cancel(); <-ended }
	t.Cleanup(r.stop)
	await(t, "a subscription", func() bool { return r.lost.Load() > 0 })
	reach(t, r.Redis, alice)
	return r
}

func wantWoken(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(20 * time.Second):
		t.Error("nobody was woken")
	}
}

func TestChangeOnOneReplicaWakesWhoeverWatchesOnAnother(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := startReplica(t, server.URL()), startReplica(t, server.URL())
	token, late := newToken(alice), newToken(alice)
	token.Fence, late.Fence = 2, 1
	lease := acquire(t, there.Redis, alice, "them")
	another, stop := here.Watch("another")
	defer stop()
	for _, change := range []struct {
		name string
		make func() error
	}{
		{"a commit", func() error { _, err := there.Commit(t.Context(), token, 0); return err }},
		{"a commit that is refused", func() error { _, err := there.Commit(t.Context(), late, 0); return err }},
		{"a forget", func() error { _, err := there.Forget(t.Context(), alice, token.ID); return err }},
		{"a lease let go of", func() error { return there.LetGo(t.Context(), lease) }},
	} {
		first, stopFirst := here.Watch(alice)
		second, stopSecond := here.Watch(alice)
		must(t, change.make())
		wantWoken(t, first)
		wantWoken(t, second)
		stopFirst()
		stopSecond()
		if t.Failed() {
			t.Fatal("by", change.name)
		}
	}
	select {
	case <-another:
		t.Error("another client's watcher was woken")
	default:
	}
}

func TestMessagesComeAgainAfterTheSubscriptionWasLost(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*redistest.Server){
		"the connection was cut": func(server *redistest.Server) { server.Do("CLIENT", "KILL", "TYPE", "pubsub") },
		"Redis was restarted":    (*redistest.Server).Restart,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			r := startReplica(t, server.URL())
			before := r.lost.Load()
			cut(server)
			await(t, "the loss to be told", func() bool { return r.lost.Load() > before })
			changed, stop := r.Watch(alice)
			defer stop()
			await(t, "Redis to be reached", func() bool { _, err := r.Commit(t.Context(), newToken(alice), 0); return err == nil })
			wantWoken(t, changed)
		})
	}
}

func TestChangesThatTellNobodyStillWakeWatchers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, changes := connect(t, server.URL()), &cache.Changes{}
	store := cache.NewRedis(partsOf(client, "p", changes))
	changed, stop := store.Watch(alice)
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		changes.Run(ctx, client, "p")
	}()
	await(t, "a message", func() bool {
		_, _ = store.Commit(t.Context(), newToken(alice), 0)
		return len(changed) > 0
	})
	cancel()
	<-ended
}

func TestTokenRejectedReplacedOrSuspectIsDroppedOnEveryReplicaAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := startReplica(t, server.URL()), startReplica(t, server.URL())
	for name, change := range map[string]func(session.Token) session.Token{
		"rejected": func(token session.Token) session.Token {
			wantMatch(t, session.MatchSame)(there.tier.Forget(t.Context(), token.Client, token.ID))
			return session.Token{}
		},
		"deleted": func(token session.Token) session.Token {
			wantMatch(t, session.MatchSame)(there.tier.Forget(t.Context(), token.Client, session.TokenID{}))
			return session.Token{}
		},
		"replaced": func(token session.Token) session.Token {
			next := newToken(token.Client)
			next.Fence = token.Fence + 1
			kept, err := there.tier.Commit(t.Context(), next, token.Fence)
			must(t, err)
			return kept
		},
		"suspect": func(token session.Token) session.Token {
			late := newToken(token.Client)
			late.Fence = token.Fence - 1
			kept, err := there.tier.Commit(t.Context(), late, 0)
			must(t, err)
			return kept
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := newToken(newClient())
			token.Fence = 5
			save(t, there.tier, token)
			wantLoaded(t, here.tier, token.Client, token)
			want := change(token)
			await(t, "the old token to be dropped", func() bool {
				got, err := here.tier.Load(t.Context(), token.Client)
				return err == nil && got.ID == want.ID && got.Suspect == want.Suspect
			})
		})
	}
}

func TestReplicaThatMissedTheMessageStillLooksRight(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := startReplica(t, server.URL()), startReplica(t, server.URL())
	token, next := newToken(alice), newToken(alice)
	token.Fence, next.Fence = 1, 2
	save(t, there.tier, token)
	here.stop()
	wantLoaded(t, here.tier, alice, token)
	_, err := there.tier.Commit(t.Context(), next, 1)
	must(t, err)
	wantLoaded(t, here.tier, alice, token) // it can't know
	if got, err := here.tier.Look(t.Context(), alice); err != nil || got.ID != next.ID {
		t.Errorf("Look = %+v, %v; want the token that replaced it", got, err)
	}
	wantLoaded(t, here.tier, alice, next)
}

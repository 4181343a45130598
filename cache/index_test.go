package cache_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// newIndex returns an Index over the store of a replica of its own, which runs until the test ends.
func newIndex(t *testing.T, store session.Store, shared *cache.Redis) *cache.Index {
	t.Helper()
	index := cache.NewIndex(cache.IndexParts{Store: store, Shared: shared, Lifetime: portal(), Entries: 1000})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); index.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return index
}

// owner returns whose the token is, as far as the index knows.
func owner(t *testing.T, index *cache.Index, id session.TokenID) session.ClientID {
	t.Helper()
	client, err := index.Client(t.Context(), id)
	if err != nil {
		t.Fatalf("Client: %v", err)
	}
	return client
}

func TestATokenTellsItsClient(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	shared := open(t, server.URL(), "p")
	memory := remember(t, time.Now)
	for name, index := range map[string]*cache.Index{"in Redis": newIndex(t, shared, shared), "in the process": newIndex(t, memory, nil)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := newToken(alice)
			if got := owner(t, index, token.ID); got != "" {
				t.Errorf("before it is kept it is %s's", got)
			}
			kept, err := index.Commit(t.Context(), token, 0)
			if err != nil || kept.ID != token.ID {
				t.Fatalf("Commit = %v, %v", kept.ID, err)
			}
			if got := owner(t, index, token.ID); got != alice {
				t.Errorf("it is %q's, want %s's", got, alice)
			}
		})
	}
}

func TestATokenCanBeFoundOnEveryReplicaOnceItIsKept(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one, two := open(t, server.URL(), "p"), open(t, server.URL(), "p")
	token := newToken(alice)
	if _, err := newIndex(t, one, one).Commit(t.Context(), token, 0); err != nil {
		t.Fatal(err)
	}
	if got := owner(t, newIndex(t, two, two), token.ID); got != alice {
		t.Errorf("on another replica it is %q's, want %s's", got, alice)
	}
	stranger := open(t, server.URL(), "other")
	if got := owner(t, newIndex(t, stranger, stranger), token.ID); got != "" {
		t.Errorf("under another prefix it is %q's", got)
	}
}

func TestIndexThatWasLostIsThereAgainOnceItsTokensAreSeen(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	shared := open(t, server.URL(), "p")
	index := newIndex(t, shared, shared)
	token := newToken(alice)
	if _, err := index.Commit(t.Context(), token, 0); err != nil {
		t.Fatal(err)
	}
	plain := connect(t, server.URL())
	key := "p:owner:" + token.ID.String()
	if n := plain.Del(t.Context(), key).Val(); n != 1 {
		t.Fatalf("%d keys were deleted, want %s", n, key)
	}
	if _, err := index.Load(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if n := plain.Exists(t.Context(), key).Val(); n != 0 {
		t.Error("it was noted again, though nobody said that it was lost")
	}
	index.Lost()
	await(t, "the index to be noted again", func() bool {
		_, _ = index.Load(t.Context(), alice)
		return plain.Exists(t.Context(), key).Val() == 1
	})
	if ttl := plain.PTTL(t.Context(), key).Val(); ttl <= 7*day || ttl > 8*day {
		t.Errorf("it lasts for %s, want as long as a token can be kept: 8 days", ttl)
	}
	if text := plain.Get(t.Context(), key).Val(); text == "" || text == string(alice) {
		t.Errorf("it says %q, want its client, sealed", text)
	}
}

func TestTokenOfAStoreThatFailsIsFoundHere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	shared := open(t, server.URL(), "p")
	tier := newTier(t, cache.TierParts{Store: shared, TTL: memoryTTL, Now: time.Now})
	index := newIndex(t, tier, shared)
	server.Kill()
	token := newToken(alice)
	if kept, err := index.Commit(t.Context(), token, 0); err == nil || kept.ID != token.ID {
		t.Errorf("Commit = %v, %v; want the token and the store's error", kept.ID, err)
	}
	if got := owner(t, index, token.ID); got != alice {
		t.Errorf("it is %q's, want %s's", got, alice)
	}
	if _, err := index.Client(t.Context(), sessiontest.NewToken("bob", time.Now()).ID); err == nil {
		t.Error("whose a token is that was never seen can't be known while Redis is down")
	}
	server.Restart()
	other := newIndex(t, shared, shared)
	await(t, "the fleet to be told", func() bool {
		_, _ = index.Load(t.Context(), alice)
		client, err := other.Client(t.Context(), token.ID)
		return err == nil && client == alice
	})
}

func TestIndexOfAWrongKindIsNone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	shared := open(t, server.URL(), "p")
	index, plain := newIndex(t, shared, shared), connect(t, server.URL())
	list, text := newToken("list"), newToken("text")
	plain.RPush(t.Context(), "p:owner:"+list.ID.String(), "x")
	plain.Set(t.Context(), "p:owner:"+text.ID.String(), "alice", 0)
	for _, token := range []session.Token{list, text} {
		if got := owner(t, index, token.ID); got != "" {
			t.Errorf("what is no index says %q", got)
		}
	}
}

// TestIndexRemembersNoMoreThanItMay has far more tokens seen than there is room for: the latest are known.
func TestIndexRemembersNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	memory := remember(t, time.Now)
	index := cache.NewIndex(cache.IndexParts{Store: memory, Lifetime: portal(), Entries: 100})
	var ids []session.TokenID
	for i := range 1000 {
		token := newToken(session.ClientID("client-" + strconv.Itoa(i)))
		if _, err := index.Commit(t.Context(), token, 0); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, token.ID)
	}
	known := 0
	for _, id := range ids {
		if owner(t, index, id) != "" {
			known++
		}
	}
	if last := owner(t, index, ids[len(ids)-1]); last != "client-999" || known < 100 || known > 200 {
		t.Errorf("%d are known, want 100 to 200, and the last is %q's", known, last)
	}
}

func TestIndexForgetsWhatItDidNotSeeForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &sessiontest.Store{}
		index := cache.NewIndex(cache.IndexParts{Store: store, Lifetime: portal(), Entries: 100})
		token := sessiontest.NewToken(alice, time.Now())
		if _, err := index.Commit(t.Context(), token, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(16*day - 1)
		if got := owner(t, index, token.ID); got != alice {
			t.Errorf("as long as it may be kept it is %q's", got)
		}
		time.Sleep(time.Nanosecond)
		if got := owner(t, index, token.ID); got != "" {
			t.Errorf("after that it is still %q's", got)
		}
	})
}

func BenchmarkLoadThroughTheIndex(b *testing.B) {
	memory := remember(b, time.Now)
	index := cache.NewIndex(cache.IndexParts{Store: memory, Lifetime: portal(), Entries: 1000})
	token := newToken(alice)
	if _, err := index.Commit(b.Context(), token, 0); err != nil {
		b.Fatal(err)
	}
	for name, store := range map[string]session.Store{"without": memory, "with": index} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = store.Load(b.Context(), alice)
			}
		})
	}
}

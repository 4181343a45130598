package cache_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// promised is how long a call may take, whatever Redis does.
const promised = 250 * time.Millisecond

// calls :: name -> call, every call that a Redis has
func calls(store *cache.Redis, token session.Token) map[string]func(context.Context) error {
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "me", Hold: time.Minute}
	return map[string]func(context.Context) error{
		"Load":   func(ctx context.Context) error { _, err := store.Load(ctx, token.Client); return err },
		"Commit": func(ctx context.Context) error { _, err := store.Commit(ctx, token, 0); return err },
		"Slide": func(ctx context.Context) error {
			_, err := store.Slide(ctx, session.Move{Client: token.Client, ID: token.ID, At: token.ActiveAt.Add(time.Minute)})
			return err
		},
		"Forget":  func(ctx context.Context) error { _, err := store.Forget(ctx, token.Client, token.ID); return err },
		"Claim":   func(ctx context.Context) error { _, err := store.Claim(ctx, claim); return err },
		"Settle":  func(ctx context.Context) error { return store.Settle(ctx, claim, token.Client, time.Minute) },
		"Release": func(ctx context.Context) error { return store.Release(ctx, claim) },
		"Ping":    store.Ping,
		"Look":    func(ctx context.Context) error { _, err := store.Look(ctx, token.Client); return err },
		"Acquire": func(ctx context.Context) error { _, err := store.Acquire(ctx, token.Client, "me"); return err },
		"Renew": func(ctx context.Context) error {
			err := store.Renew(ctx, session.Lease{Client: token.Client, Owner: "me"})
			if errors.Is(err, session.ErrLeaseLost) {
				return nil // that is an answer
			}
			return err
		},
		"LetGo": func(ctx context.Context) error {
			err := store.LetGo(ctx, session.Lease{Client: token.Client, Owner: "me"})
			if errors.Is(err, session.ErrLeaseDoubt) {
				return nil // that too
			}
			return err
		},
		"Abandon": func(ctx context.Context) error {
			return store.Abandon(ctx, session.Lease{Client: token.Client, Owner: "me"})
		},
	}
}

// timed returns how long a call took that is to fail.
func timed(t *testing.T, name string, call func(context.Context) error) time.Duration {
	t.Helper()
	began := time.Now()
	err := call(t.Context())
	took := time.Since(began)
	if err == nil {
		t.Errorf("%s succeeded", name)
	}
	return took
}

// wantPrompt wants what measure returns, the time of the slowest call, to be as promised. A busy machine may be late:
// so the promise counts as kept if it is kept once in three times.
func wantPrompt(t *testing.T, measure func() time.Duration) {
	t.Helper()
	for range 3 {
		took := measure()
		t.Logf("the slowest call took %s", took)
		if took <= promised {
			return
		}
	}
	t.Errorf("no time of three did every call return within %s", promised)
}

// slowest returns a measure of all calls, one after the other.
func slowest(t *testing.T, store *cache.Redis) func() time.Duration {
	t.Helper()
	return func() (longest time.Duration) {
		for name, call := range calls(store, newToken(alice)) {
			longest = max(longest, timed(t, name, call))
		}
		return longest
	}
}

// fresh returns a Redis that has no connection yet.
func fresh(t *testing.T, target string) *cache.Redis {
	t.Helper()
	return cache.NewRedis(partsOf(connect(t, target), "p", &cache.Changes{}))
}

// The tests of time-outs are not parallel, so that they measure Redis and not each other.

func TestHungRedisCostsEachCallATimeOutAtMost(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	server.Pause()
	wantPrompt(t, slowest(t, store))
	server.Resume()
	wantRecovered(t, store)
}

func TestHungRedisCostsAFreshClientATimeOutAtMost(t *testing.T) {
	server := redistest.Start(t)
	server.Pause()
	for name, call := range calls(fresh(t, server.URL()), newToken(alice)) {
		t.Run(name, func(t *testing.T) {
			wantPrompt(t, func() time.Duration { return timed(t, name, call) })
		})
	}
	store := fresh(t, server.SocketURL())
	wantPrompt(t, slowest(t, store))
	server.Resume()
	wantRecovered(t, store)
}

func TestHungRedisCostsEachOfManyCallersATimeOutAtMost(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	server.Pause()
	wantPrompt(t, slowestOfMany(t, store))
	server.Resume()
	wantRecovered(t, store)
}

// slowestOfMany returns a measure of more callers at once than there are connections.
func slowestOfMany(t *testing.T, store *cache.Redis) func() time.Duration {
	t.Helper()
	const callers = 50
	return func() time.Duration {
		took := make([]time.Duration, callers)
		var group sync.WaitGroup
		for i := range callers {
			group.Go(func() {
				took[i] = timed(t, "Load", func(ctx context.Context) error { _, err := store.Load(ctx, alice); return err })
			})
		}
		group.Wait()
		return slices.Max(took)
	}
}

func TestHungClusterCostsEachCallATimeOutAtMost(t *testing.T) {
	cluster := redistest.StartCluster(t)
	known, cold := open(t, cluster.URL(), "p"), fresh(t, cluster.URL())
	for _, node := range cluster.Nodes {
		node.Pause()
	}
	wantPrompt(t, slowest(t, known))
	wantPrompt(t, slowest(t, cold))
	wantPrompt(t, slowestOfMany(t, cold))
	for _, node := range cluster.Nodes {
		node.Resume()
	}
	wantRecovered(t, known)
	wantRecovered(t, cold)
}

func TestHungSentinelsCostEachCallATimeOutAtMost(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	known, cold := open(t, sentinel.URL(), "p"), fresh(t, sentinel.URL())
	for _, watcher := range sentinel.Watchers {
		watcher.Pause()
	}
	if _, err := known.Commit(t.Context(), newToken(alice), 0); err != nil {
		t.Errorf("hung Sentinels kept a connected client from its primary: %v", err)
	}
	wantPrompt(t, slowest(t, cold))
	wantPrompt(t, slowestOfMany(t, cold))
	sentinel.Primary.Pause()
	wantPrompt(t, slowest(t, known))
	sentinel.Primary.Resume() // first, so that no Sentinel finds it silent
	for _, watcher := range sentinel.Watchers {
		watcher.Resume()
	}
	wantRecovered(t, known)
	wantRecovered(t, cold)
}

func TestRefusedConnectionIsNotWaitedFor(t *testing.T) {
	server := redistest.Start(t)
	known, cold, local := open(t, server.URL(), "p"), fresh(t, server.URL()), open(t, server.SocketURL(), "p")
	server.Kill()
	for name, store := range map[string]*cache.Redis{"known": known, "cold": cold, "local": local} {
		wantPrompt(t, slowest(t, store))
		wantPrompt(t, slowestOfMany(t, store))
		if t.Failed() {
			t.Log("by the client", name)
		}
	}
	server.Restart()
	wantRecovered(t, known)
	wantRecovered(t, cold)
	wantRecovered(t, local)
}

// wantRecovered wants every call to work again, with no help for the client.
func wantRecovered(t *testing.T, store *cache.Redis) {
	t.Helper()
	reach(t, store, alice)
	for name, call := range calls(store, newToken(newClient())) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s after the fault: %v", name, err)
		}
	}
}

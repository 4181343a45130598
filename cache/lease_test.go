package cache_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func leaseOf(client session.ClientID) string { return keyUnder("p", client, "lease") }

func acquire(t *testing.T, store *cache.Redis, client session.ClientID, owner string) session.Lease {
	t.Helper()
	lease, err := store.Acquire(t.Context(), client, owner)
	must(t, err)
	return lease
}

func TestAcquiringHasThreeOutcomes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	if lease, err := store.Acquire(t.Context(), alice, "us"); err != nil || lease.Fence == 0 {
		t.Errorf("a free lease = %+v, %v; want it ours", lease, err)
	}
	if lease, err := store.Acquire(t.Context(), alice, "them"); !errors.Is(err, session.ErrLeaseBusy) {
		t.Errorf("a lease that is held = %+v, %v; want ErrLeaseBusy", lease, err)
	}
	server.Kill()
	if lease, err := store.Acquire(t.Context(), alice, "them"); err == nil || errors.Is(err, session.ErrLeaseBusy) {
		t.Errorf("a lease in a dead Redis = %+v, %v; want another error than ErrLeaseBusy", lease, err)
	}
	if err := store.Renew(t.Context(), session.Lease{Client: alice, Owner: "us"}); err == nil || errors.Is(err, session.ErrLeaseLost) {
		t.Errorf("renewed in a dead Redis: %v; want another error than ErrLeaseLost", err)
	}
}

func TestLeaseWhoseReplyIsLostIsStillOurs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := startProxy(t, server)
	store := open(t, proxy.URL(), "p")
	acquire(t, store, newClient(), "us") // so that Redis knows the script
	proxy.losses.arm()
	if lease, err := store.Acquire(t.Context(), alice, "us"); err == nil || errors.Is(err, session.ErrLeaseBusy) {
		t.Errorf("acquired without a reply = %+v, %v", lease, err)
	}
	reach(t, store, alice)
	lost := server.Do("GET", keyUnder("p", alice, "fence"))
	if lease := acquire(t, store, alice, "us"); fmt.Sprint(lease.Fence) != lost {
		t.Errorf("the fence is %d, want that of the lease whose reply was lost, %v", lease.Fence, lost)
	}
}

func TestLeaseRunsOutUnlessItIsRenewed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	lease := acquire(t, store, alice, "us")
	if left := server.Do("PTTL", leaseOf(alice)).(int64); left <= 0 || left > lease.Hold.Milliseconds() {
		t.Errorf("the lease holds for %d ms, want %s at most", left, lease.Hold)
	}
	server.Do("PEXPIRE", leaseOf(alice), 500)
	must(t, store.Renew(t.Context(), lease))
	if left := server.Do("PTTL", leaseOf(alice)).(int64); left <= 500 || left > lease.Hold.Milliseconds() {
		t.Errorf("renewed, the lease holds for %d ms, want %s at most", left, lease.Hold)
	}
	server.Do("PEXPIRE", leaseOf(alice), 1)
	await(t, "the lease to run out", func() bool { return server.Do("EXISTS", leaseOf(alice)) == int64(0) })
	if err := store.Renew(t.Context(), lease); !errors.Is(err, session.ErrLeaseLost) {
		t.Errorf("renewed what ran out: %v, want ErrLeaseLost", err)
	}
	theirs := acquire(t, store, alice, "them")
	if theirs.Fence <= lease.Fence {
		t.Errorf("fence %d after %d", theirs.Fence, lease.Fence)
	}
	if !theirs.Doubt {
		t.Error("there is no doubt about the mint of an owner who was not heard of again")
	}
	if err := store.Renew(t.Context(), lease); !errors.Is(err, session.ErrLeaseLost) {
		t.Errorf("renewed what another holds: %v, want ErrLeaseLost", err)
	}
	must(t, store.LetGo(t.Context(), lease))
	if got := server.Do("GET", leaseOf(alice)); got != "them" {
		t.Errorf("let go of another's lease: %v holds it", got)
	}
}

func TestFenceGrowsWhateverRedisForgot(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(server *redistest.Server, record string){
		"nothing": func(server *redistest.Server, _ string) { server.Do("DEL", leaseOf(alice)) },
		"all but the record": func(server *redistest.Server, record string) {
			server.Do("FLUSHALL")
			server.Do("SET", keyOf(alice), record)
		},
		"everything": func(server *redistest.Server, _ string) { server.Do("FLUSHALL") },
		"the record": func(server *redistest.Server, _ string) { server.Do("DEL", leaseOf(alice), keyOf(alice)) },
		"the fence, while it is held": func(server *redistest.Server, _ string) {
			server.Do("DEL", keyUnder("p", alice, "fence"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			store := open(t, server.URL(), "p")
			for range 5 {
				must(t, store.LetGo(t.Context(), acquire(t, store, alice, "us")))
			}
			lease := acquire(t, store, alice, "us")
			token := newToken(alice)
			token.Fence = lease.Fence
			_, err := store.Commit(t.Context(), token, lease.Seen)
			must(t, err)
			forget(server, server.Do("GET", keyOf(alice)).(string))
			if again := acquire(t, store, alice, "us"); again.Fence <= lease.Fence {
				t.Errorf("fence %d after %d", again.Fence, lease.Fence)
			}
		})
	}
}

func TestWhatIsNoLeaseHoldsNone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	server.Do("SET", leaseOf(alice), "text")
	acquire(t, store, alice, "us")
	if _, err := store.Acquire(t.Context(), alice, "them"); !errors.Is(err, session.ErrLeaseBusy) {
		t.Errorf("acquired by another: %v, want it busy", err)
	}
}

func TestForeignValueUnderTheKeyDoesNotKeepTheLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	for name, set := range map[string]func(key string){
		"a hash": func(key string) { server.Do("HSET", key, "field", "value") },
		"text":   func(key string) { server.Do("SET", key, "text") },
		"a bitmap, all ones": func(key string) {
			server.Do("SET", key, "\x02"+string(make([]byte, 40))+"\xff\xff\xff\xff\xff\xff\xff\xff"+string(make([]byte, 9))+"secret")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient()
			set(keyOf(client))
			if lease := acquire(t, store, client, "us"); lease.Fence == 0 || lease.Fence > 1<<50 || lease.Seen != 0 {
				t.Errorf("lease = %+v, want one that goes by nothing there", lease)
			}
		})
	}
}

func TestDoubtAboutAMintEndsWithTheTimeInWhichItMayBeCarriedOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	key := keyUnder("p", alice, "open")
	wantLeft := func(most time.Duration) {
		t.Helper()
		if left := server.Do("PTTL", key).(int64); left <= most.Milliseconds()-5000 || left > most.Milliseconds() {
			t.Errorf("there is doubt for %d ms more, want %s", left, most)
		}
	}
	lease := acquire(t, store, alice, "us")
	wantLeft(lease.Hold + sessiontest.Late)
	server.Do("PEXPIRE", key, 1000)
	must(t, store.Renew(t.Context(), lease))
	wantLeft(lease.Hold + sessiontest.Late)
	must(t, store.Abandon(t.Context(), lease))
	wantLeft(sessiontest.Late)
	server.Do("DEL", key)
	if lease = acquire(t, store, alice, "them"); lease.Doubt {
		t.Error("the doubt did not end")
	}
	server.Do("DEL", leaseOf(alice))
	must(t, store.LetGo(t.Context(), lease))
	if lease = acquire(t, store, alice, "us"); lease.Doubt {
		t.Error("a mint that ended well after its lease leaves a doubt")
	}
}

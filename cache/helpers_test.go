package cache_test

import (
	"context"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// alice is a client for tests that have a server of their own.
const alice = session.ClientID("cm0r6nkek00ej10dwwx8wdjmf")

// portal is Portal's own rule.
func portal() session.Lifetime { return session.Lifetime{IdleTTL: day, RefreshWindow: 7 * day} }

// connect returns a client for target that ends with the test.
func connect(tb testing.TB, target string) redis.UniversalClient {
	tb.Helper()
	access, err := cache.NewAccess(session.NewSecret(target))
	if err != nil {
		tb.Fatal(err)
	}
	client := access.Connect()
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// partsOf are those of a Redis by Portal's rule and this machine's clock.
func partsOf(client redis.UniversalClient, prefix string, changes *cache.Changes) cache.RedisParts {
	seal := sealOf(prefix)
	changes.Seal = seal
	return cache.RedisParts{
		Client: client, Prefix: prefix, Seal: seal, Lifetime: portal(), Changes: changes, Late: sessiontest.Late, Sent: time.Now,
		Unreadable: func() {},
	}
}

// custodian is the Portal API Key of all replicas.
var custodian = session.NewSecret("custodian-key")

// sealOf returns a seal for the prefix, by a key that is derived from the custodian's.
func sealOf(prefix string) *cache.Seal {
	seal, err := cache.NewSeal(cache.SealParts{Prefix: prefix, Window: 7 * day, Key: custodian})
	if err != nil {
		panic(err)
	}
	return seal
}

// keyUnder is the key for this kind of thing of client under the prefix.
func keyUnder(prefix string, client session.ClientID, kind string) string {
	return sealOf(prefix).Key(client, kind)
}

// open returns a Redis on target that was reached, so that no call has to connect first.
func open(tb testing.TB, target, prefix string) *cache.Redis {
	tb.Helper()
	store := cache.NewRedis(partsOf(connect(tb, target), prefix, &cache.Changes{}))
	reach(tb, store, alice)
	return store
}

// reach returns once the store has a connection to where client's record is.
func reach(tb testing.TB, store *cache.Redis, client session.ClientID) {
	tb.Helper()
	await(tb, "Redis to be reached", func() bool { _, err := store.Load(tb.Context(), client); return err == nil })
}

// remember returns a Memory that ends with the test.
func remember(tb testing.TB, now func() time.Time) *cache.Memory {
	tb.Helper()
	return newMemory(tb, cache.MemoryParts{Entries: 1000, Lifetime: portal(), Late: sessiontest.Late, Now: now})
}

func newMemory(tb testing.TB, parts cache.MemoryParts) *cache.Memory {
	tb.Helper()
	memory := cache.NewMemory(parts)
	tb.Cleanup(func() { _ = memory.Close() })
	return memory
}

type restorer interface {
	Restore(ctx context.Context, token session.Token) (session.Token, error)
}

// newTier returns a Tier that ends with the test; what parts leave open is Portal's rule, real time, and room enough.
func newTier(tb testing.TB, parts cache.TierParts) *cache.Tier {
	tb.Helper()
	parts.Lifetime, parts.Meter = portal(), &lookups{}
	if store, ok := parts.Store.(restorer); ok && parts.Restore == nil {
		parts.Restore = store.Restore
	}
	if parts.Restore == nil {
		parts.Restore = func(context.Context, session.Token) (session.Token, error) { return session.Token{}, errDown }
	}
	if parts.Now == nil {
		parts.Now = time.Now
	}
	if parts.Sent == nil {
		parts.Sent = parts.Now
	}
	if parts.Entries == 0 {
		parts.Entries = 1000
	}
	tier := cache.NewTier(parts)
	tb.Cleanup(func() { _ = tier.Close() })
	return tier
}

// lookups counts what a Tier reports.
type lookups struct{ hits, misses atomic.Int64 }

func (l *lookups) MemoryHit() { l.hits.Add(1) }

func (l *lookups) MemoryMiss() { l.misses.Add(1) }

// newToken returns a token of client, minted now.
func newToken(client session.ClientID) session.Token { return sessiontest.NewToken(client, time.Now()) }

// save commits a token as if it were minted without a lease, and fails the test if that fails.
func save(tb testing.TB, store session.Store, token session.Token) {
	tb.Helper()
	_, err := store.Commit(tb.Context(), token, 0)
	must(tb, err)
}

// must fails the test for an error of a step that only leads up to the claim.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantLoaded(tb testing.TB, store session.Store, client session.ClientID, want session.Token) {
	tb.Helper()
	got, err := store.Load(tb.Context(), client)
	if err != nil {
		tb.Errorf("load: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("loaded token (-want +got):\n%s", diff)
	}
}

func wantMatch(tb testing.TB, want session.Match) func(session.Match, error) {
	tb.Helper()
	return func(got session.Match, err error) {
		tb.Helper()
		if err != nil || got != want {
			tb.Errorf("match = %v, %v; want %v", got, err, want)
		}
	}
}

// await returns once condition holds, and fails the test if it takes too long.
func await(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("waited too long for %s", what)
		}
	}
}

var callsPattern = regexp.MustCompile(`cmdstat_(\S+):calls=(\d+)`)

// counted returns how often the servers ran each command during work, those inside of scripts too.
func counted(work func(), servers ...*redistest.Server) map[string]int {
	for _, server := range servers {
		server.Do("CONFIG", "RESETSTAT")
	}
	work()
	calls := map[string]int{}
	for _, server := range servers {
		text, _ := server.Do("INFO", "commandstats").(string)
		for _, line := range callsPattern.FindAllStringSubmatch(text, -1) {
			n, _ := strconv.Atoi(line[2])
			calls[line[1]] += n
		}
	}
	delete(calls, "config|resetstat")
	return calls
}

// clock is a time that stands still until it is moved. It is safe for concurrent use.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().UTC().Truncate(time.Millisecond)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}

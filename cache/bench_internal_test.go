package cache

import (
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// alice is a client with an id as Portal's are.
const alice = session.ClientID("cm0r6nkek00ej10dwwx8wdjmf")

// recordWork is what is done with the record of a token: once for each commit, or each time that Redis is asked.
func recordWork(tb testing.TB) map[string]func() {
	tb.Helper()
	token := sessiontest.NewToken(alice, monday)
	token.Secret = session.NewSecret("3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") // as long as one of the simulated Portal
	token.ID = session.IdentifyToken(token.Secret)
	record := string(encodeRecord(token))
	check := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return map[string]func(){
		"name": func() { _ = fixed.Key(alice, kindToken) },
		"seal": func() { _, err := fixed.encode(token); check(err) },
		"open": func() { _, _, err := fixed.openSecret(alice, record); check(err) },
		"decode": func() {
			got, _, err := fixed.decode(alice, record)
			check(err)
			if got.ID != token.ID {
				tb.Fatal("another token")
			}
		},
	}
}

func BenchmarkRecord(b *testing.B) {
	for _, name := range []string{"name", "seal", "open", "decode"} {
		b.Run(name, func(b *testing.B) {
			work := recordWork(b)[name]
			b.ReportAllocs()
			for b.Loop() {
				work()
			}
		})
	}
}

// remembering returns a tier that remembers a token of alice, and will never look into a store.
func remembering(tb testing.TB) *Tier {
	tb.Helper()
	life := session.Lifetime{IdleTTL: 24 * time.Hour, RefreshWindow: 7 * 24 * time.Hour}
	tier := NewTier(TierParts{
		Store: &sessiontest.Store{}, Lifetime: life, Entries: 1000, TTL: time.Hour, Now: time.Now, Sent: time.Now, Meter: countless{},
	})
	tb.Cleanup(func() { _ = tier.Close() })
	if _, err := tier.Commit(tb.Context(), sessiontest.NewToken(alice, time.Now()), 0); err != nil {
		tb.Fatal(err)
	}
	return tier
}

// countless is a [TierMeter] that does not count hits, and knows no misses.
type countless struct{}

func (countless) MemoryHit()  {}
func (countless) MemoryMiss() { panic("the tier missed what it remembers") }

func BenchmarkTierLoad(b *testing.B) {
	tier := remembering(b)
	b.ReportAllocs()
	b.RunParallel(func(loop *testing.PB) {
		for loop.Next() {
			if token, err := tier.Load(b.Context(), alice); err != nil || token.IsZero() {
				b.Errorf("Load = %v, %v", token, err)
			}
		}
	})
}

// TestAllocations holds what is done for each fetch to the allocations that it has: a change that adds one says so here.
func TestAllocations(t *testing.T) {
	if RaceDetector {
		t.Skip("SKIPPED: the race detector allocates too")
	}
	work, tier := recordWork(t), remembering(t)
	work["tier hit"] = func() {
		if _, err := tier.Load(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	for name, most := range map[string]float64{"tier hit": 0, "name": 1, "seal": 4, "open": 3, "decode": 5} {
		t.Run(name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, work[name]); got > most {
				t.Errorf("%g allocations, want at most %g", got, most)
			}
		})
	}
}

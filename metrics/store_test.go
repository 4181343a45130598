package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const client session.ClientID = "cm0r6nkek00ej10dwwx8wdjmf"

func TestCountedStoreIsAStore(t *testing.T) {
	t.Parallel()
	for _, tier := range []string{metrics.TierMemory, metrics.TierRedis} {
		t.Run(tier, func(t *testing.T) {
			t.Parallel()
			sessiontest.TestStore(t, func(*testing.T) session.Store {
				return metrics.New(parts()).Store(tier, &sessiontest.Store{})
			})
		})
	}
}

func TestLookupsAreCounted(t *testing.T) {
	t.Parallel()
	live := func(t *testing.T) context.Context { return t.Context() }
	left := func(t *testing.T) context.Context {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return ctx
	}
	late := func(t *testing.T) context.Context {
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
		t.Cleanup(cancel)
		return ctx
	}
	unreadable := fmt.Errorf("open: %w", session.ErrRecordUnreadable)
	canceled := fmt.Errorf("get: %w", context.Canceled)
	for name, c := range map[string]struct {
		tier  string
		ctx   func(*testing.T) context.Context
		saved []session.Token
		err   error
		want  map[string]float64
	}{
		"in memory, a token there is a hit": {
			tier: metrics.TierMemory, ctx: live, saved: []session.Token{sessiontest.NewToken(client, time.Now())},
			want: map[string]float64{`cache_requests_total{result="hit",tier="memory"}`: 1},
		},
		"in memory, none there is a miss": {
			tier: metrics.TierMemory, ctx: live,
			want: map[string]float64{`cache_requests_total{result="miss",tier="memory"}`: 1},
		},
		"in memory, a failure is an error": {
			tier: metrics.TierMemory, ctx: live, err: sessiontest.ErrStoreDown,
			want: map[string]float64{`cache_requests_total{result="error",tier="memory"}`: 1},
		},
		"in Redis, a token there is a hit": {
			tier: metrics.TierRedis, ctx: live, saved: []session.Token{sessiontest.NewToken(client, time.Now())},
			want: map[string]float64{`cache_requests_total{result="hit",tier="redis"}`: 1},
		},
		"in Redis, none there is a miss": {
			tier: metrics.TierRedis, ctx: live,
			want: map[string]float64{`cache_requests_total{result="miss",tier="redis"}`: 1},
		},
		"in Redis, a failure is an error": {
			tier: metrics.TierRedis, ctx: live, err: sessiontest.ErrStoreDown,
			want: map[string]float64{`cache_requests_total{result="error",tier="redis"}`: 1},
		},
		"in Redis, an unreadable record is an error of a Redis that is up": {
			tier: metrics.TierRedis, ctx: live, err: unreadable,
			want: map[string]float64{`cache_requests_total{result="error",tier="redis"}`: 1},
		},
		"a Redis that ran out of its own time is an error": {
			tier: metrics.TierRedis, ctx: live, err: context.DeadlineExceeded,
			want: map[string]float64{`cache_requests_total{result="error",tier="redis"}`: 1},
		},
		"a caller that left says nothing":           {tier: metrics.TierRedis, ctx: left, err: canceled, want: map[string]float64{}},
		"a caller that left, whatever the error":    {tier: metrics.TierRedis, ctx: left, err: sessiontest.ErrStoreDown, want: map[string]float64{}},
		"a caller out of its own time says nothing": {tier: metrics.TierRedis, ctx: late, err: context.DeadlineExceeded, want: map[string]float64{}},
		"an answer to a caller that left still counts": {
			tier: metrics.TierRedis, ctx: left,
			want: map[string]float64{`cache_requests_total{result="miss",tier="redis"}`: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, fake := metrics.New(parts()), &sessiontest.Store{}
			store := m.Store(c.tier, fake)
			for _, token := range c.saved {
				if _, err := fake.Commit(t.Context(), token, 0); err != nil {
					t.Fatal(err)
				}
			}
			fake.Break(c.err)
			load := func() {
				if _, err := store.Load(c.ctx(t), client); !errors.Is(err, c.err) {
					t.Errorf("Load returns %v, want %v", err, c.err)
				}
			}
			wantChanges(t, m, load, c.want)
		})
	}
}

func TestPingSaysWhetherRedisIsUp(t *testing.T) {
	t.Parallel()
	m := metrics.New(parts())
	for _, step := range []struct {
		err  error
		want float64
	}{{nil, 1}, {context.Canceled, 1}, {sessiontest.ErrStoreDown, 0}, {context.Canceled, 0}, {nil, 1}} {
		m.RedisUp(step.err)
		if got := values(t, m)["redis_up"]; got != step.want {
			t.Errorf("redis_up is %g after %v, want %g", got, step.err, step.want)
		}
	}
}

func TestWithoutRedisNothingIsDown(t *testing.T) {
	t.Parallel()
	m := metrics.New(parts())
	m.Store(metrics.TierMemory, &sessiontest.Store{})
	if _, found := values(t, m)["redis_up"]; found {
		t.Error("redis_up is there, want it only where there is a Redis")
	}
}

func TestLookupsInTheMemoryInFrontOfRedisCount(t *testing.T) {
	t.Parallel()
	m := metrics.New(parts())
	wantChanges(t, m, func() { m.MemoryHit() }, map[string]float64{`cache_requests_total{result="hit",tier="memory"}`: 1})
	wantChanges(t, m, func() { m.MemoryMiss() }, map[string]float64{`cache_requests_total{result="miss",tier="memory"}`: 1})
}

func TestSkewIsThatOfTheLastLook(t *testing.T) {
	t.Parallel()
	m := metrics.New(parts())
	for _, ahead := range []time.Duration{10 * time.Minute, -time.Second} {
		m.Skewed(ahead)
		if got := values(t, m)["clock_skew_seconds"]; got != ahead.Seconds() {
			t.Errorf("skew is %g, want %g", got, ahead.Seconds())
		}
	}
}

func TestLoadAllocatesNothingMore(t *testing.T) {
	for _, tier := range []string{metrics.TierMemory, metrics.TierRedis} {
		store := metrics.New(parts()).Store(tier, &sessiontest.Store{})
		ctx := t.Context()
		if got := testing.AllocsPerRun(100, func() { _, _ = store.Load(ctx, client) }); got != 0 {
			t.Errorf("%s: Load allocates %g times, want 0", tier, got)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for name, wrap := range map[string]func(session.Store) session.Store{
		"bare":   func(store session.Store) session.Store { return store },
		"memory": func(store session.Store) session.Store { return metrics.New(parts()).Store(metrics.TierMemory, store) },
		"redis":  func(store session.Store) session.Store { return metrics.New(parts()).Store(metrics.TierRedis, store) },
	} {
		b.Run(name, func(b *testing.B) {
			fake := &sessiontest.Store{}
			if _, err := fake.Commit(b.Context(), sessiontest.NewToken(client, time.Now()), 0); err != nil {
				b.Fatal(err)
			}
			store, ctx := wrap(fake), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				_, _ = store.Load(ctx, client)
			}
		})
	}
}

func TestReplyThatIsNotWhatWasAskedForIsCounted(t *testing.T) {
	t.Parallel()
	m := metrics.New(parts())
	wantChanges(t, m, m.Unreadable, map[string]float64{"corrupt_records_total": 1})
}

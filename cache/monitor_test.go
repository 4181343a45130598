package cache_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
)

// redisTime returns the server's own time.
func redisTime(t *testing.T, server *redistest.Server) time.Time {
	t.Helper()
	micros, _ := server.Do("EVAL", "local t = redis.call('TIME') return tonumber(t[1]) * 1000000 + tonumber(t[2])", 0).(int64)
	return time.UnixMicro(micros)
}

func TestMonitorKeepsRedisTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := connect(t, server.URL())
	clock := cache.NewClock(clockParts())
	monitor := cache.NewMonitor(cache.MonitorParts{
		Client: client, Prefix: "p", Name: "replica", Log: slog.New(slog.DiscardHandler), Clock: clock, Heard: func(error, time.Duration) {}, Lost: func() {},
	})
	await(t, "a look", func() bool { return monitor.Look(t.Context()) == nil })
	// The shared clock may be behind by the time that the answer took, never ahead.
	now := clock.Now()
	if after := redisTime(t, server); now.After(after.Add(time.Millisecond)) || after.Sub(now) > 5*time.Second {
		t.Errorf("the shared clock says %s, Redis %s", now, after)
	}
	server.Kill()
	if monitor.Look(t.Context()) == nil {
		t.Error("a look at a dead Redis went well")
	}
	before := clock.Now()
	await(t, "the shared clock to go on without Redis", func() bool { return clock.Now().After(before) })
	if got := monitor.Replicas(); got != 1 {
		t.Errorf("%d replicas while Redis is down, want what was last known", got)
	}
}

func TestMonitorNoticesThatRedisLostItsData(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	lost := 0
	monitor := cache.NewMonitor(cache.MonitorParts{
		Client: connect(t, server.URL()), Prefix: "p", Name: "replica", Log: slog.New(slog.DiscardHandler),
		Clock: cache.NewClock(clockParts()), Heard: func(error, time.Duration) {}, Lost: func() { lost++ },
	})
	await(t, "a look", func() bool { return monitor.Look(t.Context()) == nil })
	must(t, monitor.Look(t.Context()))
	if lost != 0 {
		t.Errorf("%d losses of a Redis that lost nothing", lost)
	}
	server.Do("FLUSHALL")
	must(t, monitor.Look(t.Context()))
	must(t, monitor.Look(t.Context()))
	if lost != 1 {
		t.Errorf("%d losses were noticed, want 1", lost)
	}
}

func TestMonitorCountsTheReplicasThatAreThere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := connect(t, server.URL())
	one, two, three := newMonitor(client, "one"), newMonitor(client, "two"), newMonitor(client, "three")
	if got := one.Replicas(); got != 1 {
		t.Errorf("%d replicas before the first look, want this one", got)
	}
	for _, monitor := range []*cache.Monitor{one, two, three, one} {
		await(t, "a look", func() bool { return monitor.Look(t.Context()) == nil })
	}
	if got := one.Replicas(); got != 3 {
		t.Errorf("%d replicas, want 3", got)
	}
	server.Do("ZINCRBY", "p:{fleet}:replicas", -4*time.Second.Microseconds(), "three")
	must(t, one.Look(t.Context()))
	if got := one.Replicas(); got != 3 {
		t.Errorf("%d replicas 4 s after the last word of one, want 3", got)
	}
	server.Do("ZINCRBY", "p:{fleet}:replicas", -time.Second.Microseconds(), "three")
	must(t, one.Look(t.Context()))
	if got := one.Replicas(); got != 3 {
		t.Errorf("%d replicas as soon as one is gone, want 3: it may be about to say that it is there", got)
	}
	await(t, "the one that is gone not to count", func() bool {
		must(t, two.Look(t.Context()))
		return one.Look(t.Context()) == nil && one.Replicas() == 2
	})
	must(t, three.Look(t.Context()))
	must(t, two.Look(t.Context()))
	if got := three.Replicas(); got != 3 {
		t.Errorf("%d replicas once it is back, want 3", got)
	}
}

package main

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// onRedis is a fleet that shares a real Redis, whose clock is set to the bubble's whenever that moves on. Only messages are
// left out, since who waits for one keeps a bubble's time from passing: see tiers.
func onRedis(server *redistest.Clocked) func(testing.TB, course) *fleet {
	return func(tb testing.TB, c course) *fleet {
		tb.Helper()
		set := func() { server.SetClock(time.Since(clock())) }
		set()
		parts := linkParts{life: c.life(), tiers: &tiers{}}
		var links []link
		for i := range c.replicas {
			access, err := cache.NewAccess(session.NewSecret(server.SocketURL()))
			if err != nil {
				tb.Fatal(err)
			}
			parts.client, parts.name = access.Connect(), fmt.Sprint(i)
			links = append(links, redisLink(tb, parts))
		}
		f := newFleet(c.life(), newPlain(), links)
		f.passed = set
		f.close = func() { _ = parts.client.Close() }
		return f
	}
}

// clock is this machine's, which a bubble does not show.
func clock() time.Time {
	var now syscall.Timeval
	_ = syscall.Gettimeofday(&now)
	return time.Unix(now.Unix())
}

type linkParts struct {
	client redis.UniversalClient
	name   string
	life   session.Lifetime
	tiers  *tiers
}

// redisLink is the way of one replica to Redis.
func redisLink(tb testing.TB, parts linkParts) link {
	tb.Helper()
	const prefix = "cstproxy"
	log := slog.New(slog.DiscardHandler)
	seal, err := cache.NewSeal(cache.SealParts{Prefix: prefix, Window: parts.life.RefreshWindow, Key: session.NewSecret(portaltest.DefaultKey)})
	if err != nil {
		tb.Fatal(err)
	}
	shared := cache.NewRedis(cache.RedisParts{
		Client: parts.client, Prefix: prefix, Seal: seal, Lifetime: parts.life, Changes: &cache.Changes{Seal: seal}, Late: flightTime, Sent: time.Now,
		Unreadable: func() { tb.Error("Redis gave an answer that can't be used") },
	})
	monitor := cache.NewMonitor(cache.MonitorParts{
		Client: parts.client, Prefix: prefix, Name: parts.name, Log: log, Lost: func() {}, Heard: func(error, time.Duration) {},
		Clock: cache.NewClock(cache.ClockParts{Local: time.Now, Lifetime: parts.life, Log: log}),
	})
	if err := monitor.Look(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if err := shared.Agree(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return link{
		store: telling{shared, parts.tiers}, restore: shared.Restore, changed: parts.tiers.add,
		budget: cache.NewBudget(cache.BudgetParts{Client: parts.client, Prefix: prefix, Replicas: monitor.Replicas, Limits: limits(), Log: log}),
	}
}

// sampled is small enough for what Redis and HTTP take.
func sampled(replicas int) course {
	clients := 20
	if *mintsForm == "full" {
		clients = 1000
	}
	return course{pattern: "daily", habit: daily{}, clients: clients, days: 9, replicas: replicas, store: "memory"}
}

// What stands for Redis, and for Portal, in the runs that are too large for either must cost as many mints.
func TestMintsAreThoseOfRedisAndOfPortal(t *testing.T) {
	t.Parallel()
	want := sampled(3).run(t)
	alone, http, onRealRedis := sampled(1), sampled(3), sampled(3)
	http.fleet = func(_ testing.TB, c course) *fleet { return inMemory(newOverHTTP(), c) }
	onRealRedis.store, onRealRedis.fleet = "Redis", onRedis(redistest.StartClocked(t))
	for name, c := range map[string]course{"one replica": alone, "Portal over HTTP": http, "Redis": onRealRedis} {
		got := c.run(t)
		if got.All != want.All || got.Probes != want.Probes {
			t.Errorf("%s: %+v and %d probes, want %+v and %d", name, got.All, got.Probes, want.All, want.Probes)
		}
		hold(t, got)
	}
}

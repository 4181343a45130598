package cache_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// failuresToOpen is how many failures in a row open the breaker.
const failuresToOpen = 2

// behindBreaker returns a client with a breaker, and a store over it.
func behindBreaker(t *testing.T, server *redistest.Server) (redis.UniversalClient, *cache.Breaker, *cache.Redis) {
	t.Helper()
	client, breaker := connect(t, server.URL()), cache.NewBreaker()
	client.AddHook(breaker)
	store := cache.NewRedis(partsOf(client, "p", &cache.Changes{}))
	reach(t, store, alice)
	return client, breaker, store
}

// watchOver runs a Monitor of the client until the test ends, and returns it.
func watchOver(t *testing.T, client redis.UniversalClient) *cache.Monitor {
	t.Helper()
	monitor := newMonitor(client, "replica")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		monitor.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return monitor
}

// clockParts are those of a clock by Portal's rule.
func clockParts() cache.ClockParts {
	return cache.ClockParts{Local: time.Now, Lifetime: portal(), Log: slog.New(slog.DiscardHandler)}
}

func newMonitor(client redis.UniversalClient, name string) *cache.Monitor {
	return cache.NewMonitor(cache.MonitorParts{
		Client: client, Prefix: "p", Name: name, Log: slog.New(slog.DiscardHandler), Heard: func(error, time.Duration) {}, Lost: func() {},
		Clock: cache.NewClock(clockParts()),
	})
}

// Not parallel: it measures.
func TestHungRedisCostsNothingOnceTheBreakerIsOpenAndTheMonitorClosesIt(t *testing.T) {
	server := redistest.Start(t)
	client, breaker, store := behindBreaker(t, server)
	token := newToken(alice)
	save(t, store, token)
	watchOver(t, client)
	server.Pause()
	for failed := 0; !breaker.IsOpen(); failed++ {
		if _, err := store.Load(t.Context(), alice); err == nil || failed > failuresToOpen {
			t.Fatalf("load %d of a hung Redis: %v, and the breaker is closed", failed, err)
		}
	}
	wantPrompt(t, func() (longest time.Duration) {
		const soon = 5 * time.Millisecond
		for range 20 {
			for name, call := range calls(store, token) {
				took := timed(t, name, call)
				if took > soon {
					t.Logf("%s took %s", name, took)
				}
				longest += took
			}
		}
		return longest // all together, less than two time-outs
	})
	if got := breaker.State(); got != cache.BreakerOpen {
		t.Errorf("the breaker is %s, want %s", got, cache.BreakerOpen)
	}
	if _, err := store.Load(t.Context(), alice); !errors.Is(err, cache.ErrBreakerOpen) {
		t.Errorf("Load: %v, want ErrBreakerOpen", err)
	}
	server.Resume()
	began := time.Now()
	await(t, "the breaker to be closed", func() bool { return breaker.State() == cache.BreakerClosed })
	t.Logf("the breaker was closed %s after Redis was back", time.Since(began))
	wantLoaded(t, store, alice, token)
}

func TestBreakerTellsARedisThatCanNotServeFromOneThatAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, c := range map[string]struct {
		reply string
		opens bool
	}{
		"a read-only replica":           {"READONLY You can't write against a read only replica.", true},
		"a server that loads its data":  {"LOADING Redis is loading the dataset in memory", true},
		"a replica without its primary": {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", true},
		"a cluster that is down":        {"CLUSTERDOWN The cluster is down", true},
		"a wrong type":                  {"WRONGTYPE Operation against a key holding the wrong kind of value", false},
		"an error of a script":          {"ERR something else", false},
		"no memory left":                {"OOM command not allowed when used memory > 'maxmemory'.", false},
		"a script not known":            {"NOSCRIPT No matching script.", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, breaker, _ := behindBreaker(t, server)
			for n := 1; n <= failuresToOpen; n++ {
				if breaker.IsOpen() {
					t.Errorf("open after %d failures", n-1)
				}
				if err := client.Eval(t.Context(), "return redis.error_reply(ARGV[1])", nil, c.reply).Err(); err == nil {
					t.Error("no error")
				}
			}
			if breaker.IsOpen() != c.opens {
				t.Errorf("open = %t after %d times %q, want %t", breaker.IsOpen(), failuresToOpen, c.reply, c.opens)
			}
		})
	}
}

func TestAnswerInBetweenKeepsTheBreakerClosed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, breaker, store := behindBreaker(t, server)
	fail := func() {
		client.Eval(t.Context(), "return redis.error_reply('LOADING it loads')", nil)
	}
	for range 5 {
		fail()
		wantLoaded(t, store, alice, session.Token{})
	}
	if breaker.IsOpen() {
		t.Error("it opened, though never two failed in a row")
	}
}

func TestCallersWhoLeaveNeitherOpenTheBreakerNorCountAsAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	_, breaker, store := behindBreaker(t, server)
	server.Pause()
	leave := func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := store.Load(ctx, alice); err == nil {
			t.Error("a caller who left got an answer")
		}
	}
	for range 2 * failuresToOpen {
		leave()
	}
	if breaker.IsOpen() {
		t.Error("callers who left opened it")
	}
	for range failuresToOpen {
		leave()
		_, _ = store.Load(t.Context(), alice)
	}
	if !breaker.IsOpen() {
		t.Error("callers who left kept it closed")
	}
}

func TestDeadRedisOpensTheBreakerForPipelinesToo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, breaker, _ := behindBreaker(t, server)
	server.Kill()
	pipe := func() error {
		_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error { return p.Ping(t.Context()).Err() })
		return err
	}
	for range failuresToOpen {
		if err := pipe(); err == nil || errors.Is(err, cache.ErrBreakerOpen) {
			t.Errorf("pipeline to a dead Redis: %v", err)
		}
	}
	if err := pipe(); !errors.Is(err, cache.ErrBreakerOpen) || !breaker.IsOpen() {
		t.Errorf("pipeline after that: %v, want ErrBreakerOpen", err)
	}
}

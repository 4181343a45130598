package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// memories are the ways in which replicas remember tokens: so that Redis is hardly asked, and so that it always is.
func memories() map[string]string {
	return map[string]string{"with a memory": "CSTPROXY_MEMORY_TTL=30s", "without a memory": "CSTPROXY_MEMORY_TTL=0"}
}

func TestFleetWorksWithoutRedis(t *testing.T) {
	for name, memory := range memories() {
		t.Run(name, func(t *testing.T) {
			const most = 1500 * time.Millisecond
			redis := redistest.Start(t)
			f := startFleet(t, 2, portaltest.Options{}, onRedis(redis), memory)
			clients := clientIDs("warm", 50)
			f.warm(clients)

			pace := f.fetches(clients, 4, 10*time.Millisecond)
			lasting(t, 500*time.Millisecond)
			down := time.NewTimer(longOr(4*time.Second, 2*time.Second))
			redis.Kill()
			for i, c := range f.all() {
				c.mustFetch(fmt.Sprintf("cold-%d", i), "")
				seesRedis(c, 0)
				if got := c.get(c.admin + "/readyz"); got.status != http.StatusOK || !strings.Contains(string(got.body), "degraded") {
					t.Errorf("/readyz answers %d %q, want 200 degraded", got.status, got.body)
				}
			}
			<-down.C
			redis.Restart()
			back := time.Now()
			for _, c := range f.all() {
				seesRedis(c, 1)
			}
			t.Logf("all replicas saw Redis again after %s", time.Since(back))
			lasting(t, time.Second)

			if _, _, longest := pace.expectNoFailure(t); longest > most {
				t.Errorf("a fetch took %s, want at most %s", longest, most)
			}
			t.Logf("Portal minted %d tokens for %d clients", f.portal.Stats().Mints, len(clients)+2)
			f.expectLiveTokens(clients)
		})
	}
}

func TestFleetServesFastWhileRedisHangs(t *testing.T) {
	for name, memory := range memories() {
		t.Run(name, func(t *testing.T) {
			redis := redistest.Start(t)
			f := startFleet(t, 2, portaltest.Options{}, onRedis(redis), memory)
			clients := clientIDs("warm", 50)
			f.warm(clients)

			redis.Pause()
			pace := f.fetches(clients, 4, 10*time.Millisecond)
			lasting(t, longOr(3*time.Second, 2*time.Second))
			pace.expectFast(t)
			redis.Resume()
			for _, c := range f.all() {
				seesRedis(c, 1)
			}
			if got := f.portal.Stats().Mints; got != len(clients) {
				t.Errorf("Portal minted %d tokens, want %d", got, len(clients))
			}
		})
	}
}

func TestFleetSurvivesWipedScriptsAndData(t *testing.T) {
	for name, memory := range memories() {
		t.Run(name, func(t *testing.T) {
			redis := redistest.Start(t)
			f := startFleet(t, 2, portaltest.Options{}, unlimited(onRedis(redis), memory)...)
			clients := clientIDs("warm", 50)
			f.warm(clients)

			pace := f.fetches(clients, 4, 10*time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), longOr(30*time.Second, 2*time.Second))
			defer cancel()
			var cold sync.WaitGroup
			cold.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					if _, err := f.replica(i).fetch("cold-"+strconv.Itoa(i), ""); err != nil {
						t.Errorf("fetch of a cold client: %v", err)
					}
				}
			})
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for i := 1; ctx.Err() == nil; i++ {
				redis.Do("SCRIPT", "FLUSH")
				if i%100 == 0 {
					redis.Do("FLUSHALL")
				}
				<-tick.C
			}
			cold.Wait()
			pace.expectNoFailure(t)
			f.expectLiveTokens(clients)
		})
	}
}

package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// lateMint has Portal answer the mint of replica 0 only when it is released. Portal may have made the token before that
// or make it only then, when whoever asked for it may have given up.
type lateMint struct {
	last              bool
	arrived, released chan struct{}
}

func (m *lateMint) wrap(replica int, portal http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if replica != 0 || r.Method != http.MethodPost {
			portal.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		if !m.last {
			portal.ServeHTTP(answer, r)
		}
		m.arrived <- struct{}{}
		<-m.released
		if m.last {
			portal.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// TestFleetServesNoDeadTokenAfterAPartition cuts the replica that mints off from Redis, so that its lease runs out and
// another mints as well. Whichever token stays, and whichever Portal killed, no dead one is served in the end.
func TestFleetServesNoDeadTokenAfterAPartition(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ killsOlder, late bool }{
		"a mint kills the older tokens, the late mint comes first to Portal": {true, false},
		"older tokens live on, the late mint comes first to Portal":          {false, false},
		"older tokens live on, the late mint comes last to Portal":           {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mint := lateMint{last: tt.late, arrived: make(chan struct{}, 8), released: make(chan struct{})}
			f, link := startFleetOver(t, redistest.Start(t), portaltest.Options{MintKillsOlder: tt.killsOlder}, mint.wrap, unlimited()...)

			cutOff := make(chan error, 1)
			go func() {
				_, err := f.replica(0).fetch("client", "")
				cutOff <- err
			}()
			<-mint.arrived
			link.down.Store(true)
			f.replica(1).mustFetch("client", "")
			close(mint.released)
			t.Logf("the replica that was cut off answered: %v", <-cutOff)
			link.down.Store(false)
			link.cut()
			seesRedis(f.replica(0), 1)
			await(t, "one live token on both replicas", func() bool {
				a, errA := f.replica(0).fetch("client", "")
				b, errB := f.replica(1).fetch("client", "")
				return errA == nil && errB == nil && a.Secret == b.Secret && f.portal.Accepts(a.Secret)
			})
			t.Logf("Portal minted %d tokens", f.portal.Stats().Mints)
			f.expectLiveTokens([]string{"client"})
		})
	}
}

func TestFleetServesFastWhileRedisIsSlow(t *testing.T) {
	link := startLink(t, redistest.Start(t))
	f := startFleet(t, 1, portaltest.Options{}, onLink(link), "CSTPROXY_MEMORY_TTL=0")
	clients := clientIDs("warm", 20)
	f.warm(clients)

	link.delay.Store(int64(time.Second))
	pace := f.fetches(clients, 4, 10*time.Millisecond)
	lasting(t, 3*time.Second)
	pace.expectFast(t)
	link.delay.Store(0)
	link.cut()
	seesRedis(f.replica(0), 1)
	if got := f.portal.Stats().Mints; got != len(clients) {
		t.Errorf("Portal minted %d tokens, want %d", got, len(clients))
	}
}

// TestFleetServesFastWhileALinkIsSilent has one replica's connections to Redis stay open and pass nothing on, as those
// through a firewall that forgot them.
func TestFleetServesFastWhileALinkIsSilent(t *testing.T) {
	for name, memory := range memories() {
		t.Run(name, func(t *testing.T) {
			f, link := startFleetOver(t, redistest.Start(t), portaltest.Options{}, asItIs, memory)
			clients := clientIDs("warm", 20)
			f.warm(clients)
			for _, after := range []string{"left to time out", "cut"} {
				pace := f.part(0, 1).fetches(clients, 4, 10*time.Millisecond)
				link.down.Store(true)
				lasting(t, longOr(10*time.Second, 1500*time.Millisecond))
				seesRedis(f.replica(0), 0)
				link.down.Store(false)
				if after == "cut" {
					link.cut()
				}
				passing := time.Now()
				seesRedis(f.replica(0), 1)
				t.Logf("with its connections %s, the replica saw Redis again after %s", after, time.Since(passing))
				lasting(t, 300*time.Millisecond)
				pace.expectFast(t)
			}
			f.expectMintedOnce(clients)
			f.expectLiveTokens(clients)
		})
	}
}

func TestFleetServesFastWhileALinkIsCutAgainAndAgain(t *testing.T) {
	for name, memory := range memories() {
		t.Run(name, func(t *testing.T) {
			f, link := startFleetOver(t, redistest.Start(t), portaltest.Options{}, asItIs, memory)
			clients := clientIDs("warm", 20)
			f.warm(clients)

			pace := f.part(0, 1).fetches(clients, 4, 10*time.Millisecond)
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range longOr(400, 40) {
				link.cut()
				<-tick.C
			}
			f.replica(0).mustFetch("cold", "")
			pace.expectFast(t)
			seesRedis(f.replica(0), 1)
			f.expectMintedOnce(clients)
			f.expectLiveTokens(append(clients, "cold"))
		})
	}
}

func TestFleetHeedsAReportOnAReplicaThatHeardNothing(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	f := startFleet(t, 2, portaltest.Options{}, unlimited(onRedis(redis))...)
	dead := f.warm([]string{"client"})["client"]
	f.portal.KillClient("client")

	key := redisKey("client", "token")
	old := redis.Do("GET", key)
	fresh := f.replica(0).mustFetch("client", "?rejected="+dead.TokenID)
	record := redis.Do("GET", key)
	redis.Do("SET", key, old)
	if got := f.replica(1).mustFetch("client", ""); got.TokenID != dead.TokenID {
		t.Fatalf("the replica remembers token %s, want %s", got.TokenID, dead.TokenID)
	}
	redis.Do("SET", key, record) // without a message

	if got := f.replica(1).mustFetch("client", "?rejected="+dead.TokenID); got.TokenID != fresh.TokenID {
		t.Errorf("got token %s, want %s", got.TokenID, fresh.TokenID)
	}
	if got := f.portal.Stats().Mints; got != 2 {
		t.Errorf("Portal minted %d tokens, want 2", got)
	}
}

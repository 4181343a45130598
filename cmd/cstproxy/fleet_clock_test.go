package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestFleetWithClocksTenMinutesOffMintsAsOneOnTime has clients fetch from replicas of which each has a clock of its own,
// where a token lives for seconds. What one of them dates another judges.
func TestFleetWithClocksTenMinutesOffMintsAsOneOnTime(t *testing.T) {
	retellFleet(t, func() (f *fleet, wrong []string) {
		const window = 8 * time.Second
		f = startFleet(t, 3, portaltest.Options{IdleTTL: 3 * time.Second, RefreshWindow: window}, unlimited(onRedis(redistest.Start(t)),
			"CSTPROXY_IDLE_TTL=3s", "CSTPROXY_REFRESH_WINDOW="+window.String(), "CSTPROXY_MEMORY_TTL=200ms")...)
		for i, ahead := range []string{"10m", "-10m"} {
			f.replica(i).kill()
			f.start(i, clockAhead+"="+ahead)
		}
		clients := clientIDs("client", 8)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		asked := 0
		for began := time.Now(); time.Since(began) < window-time.Second; <-tick.C {
			for i, client := range clients {
				got := f.replica(asked+i).mustFetch(client, "")
				if !f.portal.Accepts(got.Secret) {
					t.Errorf("%s is served the dead token %s", client, got.TokenID)
				}
			}
			asked++
		}
		if got := f.portal.Stats().Mints; got != len(clients) {
			wrong = append(wrong, "within one window Portal minted more than one token a client")
			t.Logf("Portal minted %d tokens for %d clients", got, len(clients))
		}
		for i, want := range []float64{600, -600, 0} {
			await(t, "the skew to be seen", func() bool {
				skew := f.replica(i).series()["cstproxy_clock_skew_seconds"]
				return skew > want-5 && skew < want+5
			})
			if warned := strings.Contains(f.replica(i).written.String(), "this machine's clock and Redis's differ"); warned != (want != 0) {
				t.Errorf("a replica that is %v s ahead warned: %t", want, warned)
			}
		}
		t.Logf("%d rounds of %d clients, %d mints", asked, len(clients), f.portal.Stats().Mints)
		return f, wrong
	})
}

// TestFleetServesNoTokenLongerThanPortalThoughTheClockOfRedisSteps steps it both ways, with replicas that saw it and one
// that starts after it.
func TestFleetServesNoTokenLongerThanPortalThoughTheClockOfRedisSteps(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"two hours on": 2 * time.Hour, "three hours back": -3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.StartClocked(t)
			f := startFleet(t, 2, portaltest.Options{}, unlimited("REDIS_URL="+redis.URL())...)
			warm, cold := clientIDs("warm", 10), clientIDs("cold", 10)
			before := f.warm(warm)

			redis.SetClock(step)
			await(t, "the step to be seen", func() bool {
				return strings.Contains(f.replica(0).written.String(), "clock stepped") && strings.Contains(f.replica(1).written.String(), "clock stepped")
			})
			f.replica(1).fetchAll(cold, "mint")
			f.expectNoLongerLife(f.replica(0), append(cold, warm...))
			for client, got := range f.replica(0).fetchEach(warm) {
				if got.TokenID != before[client].TokenID {
					t.Errorf("%s has another token since the clock stepped", client)
				}
			}
			redis.SetClock(0)
			seesRedis(f.replica(0), 1)
			f.replica(1).kill()
			f.start(1)
			f.expectNoLongerLife(f.replica(1), append(cold, warm...))
			if got := f.portal.Stats().Mints; got != len(warm)+len(cold) {
				t.Errorf("Portal minted %d tokens for %d clients", got, len(warm)+len(cold))
			}
		})
	}
}

// expectNoLongerLife has the replica serve each client a token that it does not take for living longer than Portal does.
func (f *fleet) expectNoLongerLife(c *child, clients []string) {
	f.t.Helper()
	for _, client := range clients {
		var got struct {
			Secret    string  `json:"clientSessionToken"`
			ExpiresIn float64 `json:"expiresIn"`
		}
		answer, err := c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token", "")
		if err == nil {
			err = json.Unmarshal(answer.body, &got)
		}
		end, known := f.portal.Expires(got.Secret)
		if err != nil || !known {
			f.t.Errorf("%s is served %d %s, %v", client, answer.status, answer.body, err)
			continue
		}
		if longer := time.Duration(got.ExpiresIn)*time.Second - time.Until(end); longer > time.Second {
			f.t.Errorf("%s is told %s more than its token has at Portal", client, longer)
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

const (
	passThrough = "CSTPROXY_PASSTHROUGH=client,enclave"
	whoAmI      = "/api/v3/clients/me"
)

// inject sends a request for the client, whose token the proxy puts on.
func (c *child) inject(method, path, client string) (answer, error) {
	return c.ask(method, c.data+path, "{}", "X-Portal-Client-Id: "+client)
}

// mustInject is inject for the test's own goroutine, of a request that must be answered by a 200.
func (c *child) mustInject(method, path, client string) answer {
	c.t.Helper()
	got, err := c.inject(method, path, client)
	if err != nil || got.status != http.StatusOK {
		c.t.Fatalf("%s %s for %s: %d %s, %v", method, path, client, got.status, got.body, err)
	}
	return got
}

// activeAt returns when the proxy believes that the client's token was last active.
func (c *child) activeAt(client string) time.Time {
	c.t.Helper()
	var status struct {
		ActiveAt time.Time `json:"activeAt"`
	}
	if got := c.get(c.data + "/v1/clients/" + client); json.Unmarshal(got.body, &status) != nil {
		c.t.Fatalf("status: %d %s", got.status, got.body)
	}
	return status.ActiveAt
}

// TestARequestThatIsPassedOnSlidesTheTokenAsPortalDoes has one client whose only traffic goes through two replicas in turns, at
// 28,800 times the speed of a real day: it keeps its token for the whole window, and at no time is that believed to be younger than
// it is at Portal, nor older by more than what is not worth a write.
func TestARequestThatIsPassedOnSlidesTheTokenAsPortalDoes(t *testing.T) {
	t.Parallel()
	const idleTTL, window, client = 3 * time.Second, 15 * time.Second, "alice"
	f := startFleet(t, 2, portaltest.Options{IdleTTL: idleTTL, RefreshWindow: window}, "REDIS_URL="+redistest.Start(t).URL(), passThrough,
		"CSTPROXY_REFRESH=observe", "CSTPROXY_IDLE_TTL="+idleTTL.String(), "CSTPROXY_REFRESH_WINDOW="+window.String(), "CSTPROXY_MIN_TTL=0s")
	f.replica(0).mustInject(http.MethodGet, whoAmI, client)
	cst := f.replica(0).mustFetch(client, "").Secret

	var behind []time.Duration
	began := time.Now()
	for i := 0; time.Since(began) < window-700*time.Millisecond; i++ {
		sent := time.Now()
		f.replica(i%2).mustInject(http.MethodGet, whoAmI, client)
		transit := time.Since(sent)
		var off time.Duration
		await(t, "what was seen to be written", func() bool {
			really, _ := f.portal.ActiveAt(cst)
			off = really.Sub(f.replica(i % 2).activeAt(client))
			return off <= idleTTL/10+transit
		})
		if off < -time.Millisecond { // dates are kept in milliseconds
			t.Fatalf("the proxy believes that the token was active %s later than it was", -off)
		}
		behind = append(behind, off)
	}
	if got := f.replica(1).mustFetch(client, ""); got.Secret != cst {
		t.Errorf("the client has token %s, want the one that it began with", got.TokenID)
	}
	if stats := f.portal.Stats(); stats.Mints != 1 || stats.Unauthorized != 0 {
		t.Errorf("Portal minted %d tokens and refused %d requests, want one and none", stats.Mints, stats.Unauthorized)
	}
	slices.Sort(behind)
	t.Logf("after each of %d requests the modeled activity was behind Portal's by %s (median), %s (max); %s are allowed",
		len(behind), behind[len(behind)/2], behind[len(behind)-1], idleTTL/10)
}

func TestAKilledTokenHealsItself(t *testing.T) {
	t.Parallel()
	for name, store := range map[string][]string{"in memory": nil, "on Redis": {"REDIS_URL=" + redistest.Start(t).URL()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal, environ := simulated(t, portaltest.Options{AnyClient: true})
			c := serve(t, append(append(environ, passThrough), store...)...)
			kill := func() (mints int) {
				portal.KillClient("alice")
				return portal.Stats().Mints
			}
			c.mustInject(http.MethodGet, whoAmI, "alice")

			before := kill()
			c.mustInject(http.MethodGet, whoAmI, "alice")
			if got := portal.Stats().Mints - before; got != 1 {
				t.Errorf("a request after that cost %d mints, want one", got)
			}

			before = kill()
			var group errgroup.Group
			for range 100 {
				group.Go(func() error {
					got, err := c.inject(http.MethodGet, whoAmI, "alice")
					if err == nil && got.status != http.StatusOK {
						err = fmt.Errorf("%d %s", got.status, got.body)
					}
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
			if got := portal.Stats().Mints - before; got != 1 {
				t.Errorf("100 requests at once after that cost %d mints, want one", got)
			}

			kill()
			arrived := len(portal.Arrivals(portaltest.Enclave))
			got, err := c.inject(http.MethodPost, "/enclave/v1/sign", "alice")
			if err != nil || got.status != http.StatusBadGateway || !strings.Contains(string(got.body), `"code":"token_rejected"`) {
				t.Errorf("to sign with a dead token: %d %s, %v; want 502 token_rejected", got.status, got.body, err)
			}
			if n := len(portal.Arrivals(portaltest.Enclave)) - arrived; n != 1 {
				t.Errorf("it was sent %d times, want once", n)
			}
			c.mustInject(http.MethodPost, "/enclave/v1/sign", "alice")
		})
	}
}

// TestADeviceThatSendsItsOwnTokenIsKnownOnEveryReplica has a token handed out by one replica come to another.
func TestADeviceThatSendsItsOwnTokenIsKnownOnEveryReplica(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 2, portaltest.Options{}, "REDIS_URL="+redistest.Start(t).URL(), passThrough)
	alice := f.replica(0).mustFetch("alice", "")
	send := func(secret string) answer {
		t.Helper()
		got, err := f.replica(1).ask(http.MethodGet, f.replica(1).data+whoAmI, "", "Authorization: Bearer "+secret)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := send(alice.Secret); got.status != http.StatusOK || !strings.Contains(string(got.body), `"id":"alice"`) {
		t.Errorf("a token of the other replica's: %d %s", got.status, got.body)
	}
	asked := f.portal.Stats().Requests
	if got := send("made-up"); got.status != http.StatusForbidden || f.portal.Stats().Requests != asked {
		t.Errorf("a token that nobody made: %d %s, and %d requests to Portal", got.status, got.body, f.portal.Stats().Requests-asked)
	}
	f.portal.Kill(alice.Secret)
	if got := send(alice.Secret); got.status != http.StatusUnauthorized {
		t.Errorf("a token that Portal killed: %d %s, want Portal's own 401", got.status, got.body)
	}
	if got := send(alice.Secret); got.status != http.StatusForbidden {
		t.Errorf("the same once more: %d %s, want 403, since it was forgotten", got.status, got.body)
	}
	if got := f.replica(0).mustFetch("alice", ""); got.Secret == alice.Secret {
		t.Error("the dead token is handed out")
	}
}

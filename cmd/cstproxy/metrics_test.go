package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestTheMetricsCountWhatWasDone plays a day of two clients and compares every series that an alert or a panel is made
// of with what was done. A fetch looks into the store once if it is served from there; one that needs Portal looks
// again before it asks, and one that mints once more when it has the lease.
func TestTheMetricsCountWhatWasDone(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, append(environ, "REDIS_URL="+redistest.Start(t).URL(), "CSTPROXY_MEMORY_TTL=0")...)

	alice := c.mustFetch("alice", "")
	for range 5 {
		c.mustFetch("alice", "")
	}
	c.mustFetch("alice", "?minTtl=24h")
	c.mustFetch("alice", "?rejected="+alice.TokenID)
	c.mustFetch("bob", "")
	c.mustDo(http.MethodDelete, "/v1/clients/alice/token", http.StatusNoContent)
	c.mustFetch("alice", "")
	c.register("key")
	c.mustDo(http.MethodGet, "/v1/clients/no%20id/token", http.StatusBadRequest)

	got := c.series()
	want := map[string]float64{
		`cstproxy_tokens_served_total{source="cache"}`:   5,
		`cstproxy_tokens_served_total{source="refresh"}`: 1,
		`cstproxy_tokens_served_total{source="mint"}`:    5, // the one that came with the registration, too
		`cstproxy_expired_tokens_served_total`:           0,
		`cstproxy_token_remaining_seconds_count`:         11,

		`cstproxy_mints_total{reason="absent"}`:        3,
		`cstproxy_mints_total{reason="rejected"}`:      1,
		`cstproxy_mints_total{reason="idle_expired"}`:  0,
		`cstproxy_mints_total{reason="window_closed"}`: 0,

		`cstproxy_portal_requests_total{operation="mint",outcome="ok"}`:     4,
		`cstproxy_portal_requests_total{operation="probe",outcome="ok"}`:    1,
		`cstproxy_portal_requests_total{operation="register",outcome="ok"}`: 1,

		`cstproxy_cache_requests_total{result="hit",tier="redis"}`:   5 + 2 + 3,
		`cstproxy_cache_requests_total{result="miss",tier="redis"}`:  3 + 3 + 3,
		`cstproxy_cache_requests_total{result="error",tier="redis"}`: 0,

		`cstproxy_token_errors_total{code="invalid_client_id"}`: 1,
		`cstproxy_requests_collapsed_total{scope="process"}`:    0,
		`cstproxy_http_requests_in_flight`:                      0,
		`cstproxy_redis_up`:                                     1,

		`cstproxy_http_request_duration_seconds_count{code="200",method="GET",route="/v1/clients/:clientId/token"}`:    10,
		`cstproxy_http_request_duration_seconds_count{code="204",method="DELETE",route="/v1/clients/:clientId/token"}`: 1,
		`cstproxy_http_request_duration_seconds_count{code="201",method="POST",route="/v1/clients"}`:                   1,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreMapEntries(func(name string, _ float64) bool { _, ok := want[name]; return !ok })); diff != "" {
		t.Errorf("/metrics (-done +counted):\n%s", diff)
	}
	if stats := portal.Stats(); stats.Mints != 4 || stats.Probes != 1 || stats.Registrations != 1 || stats.Requests != 6 {
		t.Errorf("Portal counted %+v, want 4 mints, 1 probe, 1 registration and nothing else", stats)
	}
	if got, want := hitRatio(got), 1-5.0/11; got != want {
		t.Errorf("the hit ratio is %v, want %v", got, want)
	}
}

// hitRatio is what the manual has a panel show.
func hitRatio(series map[string]float64) float64 {
	served := func(source string) float64 { return series[`cstproxy_tokens_served_total{source="`+source+`"}`] }
	return 1 - served("mint")/(served("cache")+served("refresh")+served("mint"))
}

func TestTheReasonOfAMintIsCounted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ []string
		reason  string
		again   func(c *child) // makes Portal mint a second time
	}{
		"a token that went idle": {
			[]string{"CSTPROXY_IDLE_TTL=9s", "CSTPROXY_REFRESH_WINDOW=1h", "CSTPROXY_SAFETY_MARGIN=4400ms"}, "idle_expired",
			func(c *child) {
				await(c.t, "the token to go idle", func() bool { return c.next("client") == "idle_expired" })
				c.mustFetch("client", "")
			},
		},
		"a window too near for the caller": {
			[]string{"CSTPROXY_IDLE_TTL=1h", "CSTPROXY_REFRESH_WINDOW=1h"}, "window_closed",
			func(c *child) {
				lasting(c.t, 50*time.Millisecond) // moments are kept to the millisecond
				c.mustFetch("client", "?minTtl=1h")
			},
		},
		"a token that Portal killed": {
			nil, "rejected",
			func(c *child) { c.mustFetch("client", "?minTtl=24h") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			portal, environ := simulated(t, portaltest.Options{AnyClient: true})
			c := serve(t, append(environ, tt.environ...)...)

			first := c.mustFetch("client", "")
			portal.Kill(first.Secret)
			tt.again(c)

			series := c.series()
			if absent, again := series[`cstproxy_mints_total{reason="absent"}`], series[`cstproxy_mints_total{reason="`+tt.reason+`"}`]; absent != 1 || again != 1 {
				t.Errorf("counted %v mints for absent and %v for %s, want 1 and 1", absent, again, tt.reason)
			}
			if got := portal.Stats().Mints; got != 2 {
				t.Errorf("Portal minted %d tokens, want 2", got)
			}
		})
	}
}

// mustDo makes a request to the data API that must be answered with status.
func (c *child) mustDo(method, path string, status int) {
	c.t.Helper()
	got, err := c.ask(method, c.data+path, "")
	if err != nil || got.status != status {
		c.t.Fatalf("%s %s: %d %s, error %v; want %d", method, path, got.status, got.body, err, status)
	}
}

// next returns why a fetch of the client's token would do what it would do.
func (c *child) next(client string) string {
	c.t.Helper()
	var status struct {
		Next struct {
			Reason string `json:"reason"`
		} `json:"next"`
	}
	if err := json.Unmarshal(c.get(c.data+"/v1/clients/"+client).body, &status); err != nil {
		c.t.Fatal(err)
	}
	return status.Next.Reason
}

package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// trouble is what Portal does wrong, and what a cold client is told.
type trouble struct {
	fault portaltest.Fault
	code  string
	// cold is how many clients ask meanwhile: fewer where each of them makes the fleet hold off for longer.
	cold int
	// stranger: who is refused is remembered for a while, so that it is another client that sees Portal well again.
	stranger bool
}

func TestFleetRidesOutATroubledPortal(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for name, tt := range map[string]trouble{
		"5xx":                     {portaltest.Fault{Kind: portaltest.Status, Status: 503}, "portal_unavailable", 30, false},
		"reset":                   {portaltest.Fault{Kind: portaltest.Reset}, "portal_unavailable", 30, false},
		"lost":                    {portaltest.Fault{Kind: portaltest.Lost}, "portal_unavailable", 30, false},
		"hang":                    {portaltest.Fault{Kind: portaltest.Hang}, "portal_timeout", 30, false},
		"garbage":                 {portaltest.Fault{Kind: portaltest.Garbage}, "portal_bad_response", 30, false},
		"huge":                    {portaltest.Fault{Kind: portaltest.Huge}, "portal_bad_response", 10, false},
		"another client":          {portaltest.Fault{Kind: portaltest.WrongID}, "portal_bad_response", 30, false},
		"no token":                {portaltest.Fault{Kind: portaltest.NoToken}, "portal_bad_response", 30, false},
		"too many, come back":     {portaltest.Fault{Kind: portaltest.Status, Status: 429, RetryAfter: "2"}, "portal_rate_limited", 30, false},
		"too many":                {portaltest.Fault{Kind: portaltest.Status, Status: 429}, "portal_rate_limited", 30, false},
		"the key is refused":      {portaltest.Fault{Kind: portaltest.Status, Status: 401}, "portal_unauthorized", 1, true},
		"the custodian is barred": {portaltest.Fault{Kind: portaltest.Status, Status: 403}, "portal_unauthorized", 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFleet(t, 2, portaltest.Options{}, unlimited(onRedis(redis), "CSTPROXY_PORTAL_TIMEOUT=500ms",
				"CSTPROXY_KEY_PREFIX="+strings.NewReplacer(" ", "-", ",", "").Replace(name))...)
			f.rideOut(tt)
		})
	}
}

// rideOut has clients come while Portal is in trouble, and sees it well again.
func (f *fleet) rideOut(tt trouble) {
	f.t.Helper()
	const recovery = 5 * time.Second
	warm, cold := clientIDs("warm", 10), clientIDs("cold", tt.cold)
	before := f.warm(warm)
	f.portal.ResetCounters()
	f.portal.Inject(portaltest.All, tt.fault)

	pace := f.fetches(warm, 2, 20*time.Millisecond)
	f.expectRefused(cold, tt.code)
	asked := f.portal.Stats().Requests
	if demand := len(cold); asked*10 > demand*11 {
		f.t.Errorf("Portal was asked %d times for %d clients", asked, demand)
	}
	lasting(f.t, 1500*time.Millisecond)
	pace.expectNoFailure(f.t)

	f.portal.ClearFaults()
	well := time.Now()
	if tt.stranger {
		cold = clientIDs("stranger", 2)
	}
	for i, client := range cold {
		await(f.t, client+" to be served", func() bool { _, err := f.replica(i).fetch(client, ""); return err == nil })
	}
	took := time.Since(well)
	if took > recovery {
		f.t.Errorf("all clients were served %s after Portal was well again, want %s", took, recovery)
	}
	f.t.Logf("Portal was asked %d times for %d clients; they were served %s after it was well again", asked, len(cold), took)
	for client, got := range f.replica(1).fetchAll(warm, "cache") {
		if got.Secret != before[client].Secret {
			f.t.Errorf("%s has another token than before", client)
		}
	}
}

// expectRefused has cold clients ask, a few at a time, of whom each must be told the code before its deadline.
func (f *fleet) expectRefused(clients []string, code string) {
	f.t.Helper()
	const deadline = 1500 * time.Millisecond // two attempts of 500 ms, and what a busy machine adds
	var group errgroup.Group
	group.SetLimit(10)
	for i, client := range clients {
		group.Go(func() error {
			c, began := f.replica(i), time.Now()
			got, err := c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token", "")
			if err != nil {
				return err
			}
			if took := time.Since(began); took > deadline {
				f.t.Errorf("%s waited %s for %d: %s", client, took, got.status, got.body)
			}
			if !strings.Contains(string(got.body), `"code":"`+code+`"`) {
				return fmt.Errorf("%s got %d, want %s: %s", client, got.status, code, got.body)
			}
			if retryable := strings.Contains(string(got.body), `"retryable":true`); retryable != (got.header.Get("Retry-After") != "") {
				return fmt.Errorf("%s got Retry-After %q with: %s", client, got.header.Get("Retry-After"), got.body)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		f.t.Error(err)
	}
}

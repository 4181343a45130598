package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
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
	// cold is how many clients ask meanwhile; 0 is 30.
	cold int
}

func TestFleetRidesOutATroubledPortal(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	status := func(status int) portaltest.Fault { return portaltest.Fault{Kind: portaltest.Status, Status: status} }
	const unavailable, unusable, refused = "portal_unavailable", "portal_bad_response", "portal_unauthorized"
	for name, tt := range map[string]trouble{
		"408":                     {fault: status(408), code: unavailable},
		"500":                     {fault: status(500), code: unavailable},
		"502":                     {fault: status(502), code: unavailable},
		"503":                     {fault: status(503), code: unavailable},
		"504":                     {fault: status(504), code: unavailable},
		"reset":                   {fault: portaltest.Fault{Kind: portaltest.Reset}, code: unavailable},
		"lost":                    {fault: portaltest.Fault{Kind: portaltest.Lost}, code: unavailable},
		"hang":                    {fault: portaltest.Fault{Kind: portaltest.Hang}, code: "portal_timeout"},
		"redirect":                {fault: portaltest.Fault{Kind: portaltest.Redirect}, code: unusable},
		"garbage":                 {fault: portaltest.Fault{Kind: portaltest.Garbage}, code: unusable},
		"huge":                    {fault: portaltest.Fault{Kind: portaltest.Huge}, code: unusable, cold: 10},
		"another client":          {fault: portaltest.Fault{Kind: portaltest.WrongID}, code: unusable},
		"no token":                {fault: portaltest.Fault{Kind: portaltest.NoToken}, code: unusable},
		"too many, come back":     {fault: portaltest.Fault{Kind: portaltest.Status, Status: 429, RetryAfter: "2"}, code: "portal_rate_limited"},
		"too many":                {fault: status(429), code: "portal_rate_limited"},
		"the key is refused":      {fault: status(401), code: refused},
		"the custodian is barred": {fault: status(403), code: refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			startTroubled(t, redis, name).rideOut(tt)
		})
	}
}

// startTroubled starts a fleet for a test of that name.
func startTroubled(t *testing.T, redis *redistest.Server, name string) *fleet {
	t.Helper()
	return startFleet(t, 2, portaltest.Options{}, unlimited(onRedis(redis), "CSTPROXY_PORTAL_TIMEOUT=500ms",
		"CSTPROXY_KEY_PREFIX="+strings.NewReplacer(" ", "-", ",", "").Replace(name))...)
}

// rideOut has clients come while Portal is in trouble, and sees it well again.
func (f *fleet) rideOut(tt trouble) {
	f.t.Helper()
	const recovery = 5 * time.Second
	warm, cold := clientIDs("warm", 10), clientIDs("cold", cmp.Or(tt.cold, 30))
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
			var problem struct {
				Code      string
				Retryable bool
			}
			if err := json.Unmarshal(got.body, &problem); err != nil || problem.Code != code {
				return fmt.Errorf("%s got %d, want %s: %s", client, got.status, code, got.body)
			}
			if problem.Retryable != (got.header.Get("Retry-After") != "") {
				return fmt.Errorf("%s got Retry-After %q with: %s", client, got.header.Get("Retry-After"), got.body)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		f.t.Error(err)
	}
}

func TestFleetRidesOutASlowPortal(t *testing.T) {
	f := startTroubled(t, redistest.Start(t), "slow")
	warm := clientIDs("warm", 10)
	f.warm(warm)
	f.portal.Inject(portaltest.All, portaltest.Fault{Latency: 200 * time.Millisecond})
	pace := f.fetches(warm, 2, 10*time.Millisecond)
	f.expectServed(clientIDs("cold", 30))
	lasting(t, time.Second)
	pace.expectNoFailure(t)
}

// Portal may answer for a client that it does not know as it does for a bad key. That must be nobody else's trouble.
func TestFleetRidesOutUnknownClients(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for _, status := range []int{401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			f := startTroubled(t, redis, fmt.Sprint("unknown", status))
			warm, cold := clientIDs("warm", 10), clientIDs("cold", 30)
			f.warm(warm)
			for _, client := range cold {
				f.portal.AddClient(client)
			}
			f.portal.Set(func(b *portaltest.Behavior) { b.AnyClient, b.UnknownClientStatus = false, status })
			pace := f.fetches(warm, 2, 10*time.Millisecond)
			var known sync.WaitGroup
			known.Go(func() { f.expectServed(cold) })
			f.expectRefused(clientIDs("unknown", 50), "client_not_found")
			known.Wait()
			lasting(t, time.Second)
			pace.expectNoFailure(t)
			if n := f.portal.Stats().Unauthorized; n != 0 {
				t.Errorf("Portal refused the key %d times", n)
			}
		})
	}
}

// expectServed has cold clients ask, a few at a time, of whom each must get a token.
func (f *fleet) expectServed(clients []string) {
	f.t.Helper()
	var group errgroup.Group
	group.SetLimit(10)
	for i, client := range clients {
		group.Go(func() error {
			if _, err := f.replica(i).fetch(client, ""); err != nil {
				return fmt.Errorf("fetch %s: %w", client, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		f.t.Error(err)
	}
}

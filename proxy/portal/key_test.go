package portal_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestCheckOfTheKeyGoesByTheStatusAlone(t *testing.T) {
	t.Parallel()
	bodies := []string{"", "{}", `"Unauthorized"`, "<html></html>", `{"results":[{"id":{}}],"metadata":null}`, strings.Repeat(" ", 65<<10)}
	for status, want := range map[int]error{
		200: nil, 201: nil, 204: nil, 299: nil,
		302: session.ErrPortalBadResponse, 400: session.ErrPortalBadResponse, 404: session.ErrPortalBadResponse,
		401: session.ErrPortalUnauthorized, 403: session.ErrPortalUnauthorized,
		408: session.ErrPortalUnavailable, 500: session.ErrPortalUnavailable, 503: session.ErrPortalUnavailable,
		429: session.ErrPortalRateLimited,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			for _, body := range bodies {
				if status == http.StatusNoContent {
					body = ""
				}
				wantError(t, newClient(t, serve(t, answer{status: status, body: body}).URL).CheckKey(t.Context()), want)
			}
		})
	}
}

func TestFaultsOfACheckOfTheKeyAreToldApart(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault portaltest.Fault
		want  error
	}{
		"none":                               {portaltest.Fault{}, nil},
		"garbage, which nobody reads":        {portaltest.Fault{Kind: portaltest.Garbage}, nil},
		"64 MiB, of which nobody reads much": {portaltest.Fault{Kind: portaltest.Huge}, nil},
		"a reset":                            {portaltest.Fault{Kind: portaltest.Reset}, session.ErrPortalUnavailable},
		"a redirect":                         {portaltest.Fault{Kind: portaltest.Redirect}, session.ErrPortalBadResponse},
		"no answer":                          {portaltest.Fault{Kind: portaltest.Hang}, session.ErrPortalTimeout},
		"a refusal, for how long":            {portaltest.Fault{Kind: portaltest.Status, Status: 403, RetryAfter: "1"}, session.ErrPortalUnauthorized},
		"a limit, for how long":              {portaltest.Fault{Kind: portaltest.Status, Status: 429, RetryAfter: "1"}, session.ErrPortalRateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, within(500*time.Millisecond))
			w.sim.Inject(portaltest.List, tc.fault)
			wantError(t, w.CheckKey(t.Context()), tc.want)
			w.wantArrivals(t, portaltest.List, 1)
			w.wantArrivals(t, portaltest.All, 1)
		})
	}
}

func TestAcceptedKeyIsThatThoughTheBodyNeverEnds(t *testing.T) {
	t.Parallel()
	url := serve(t, stalled{answer{status: 200, body: `{"results":`}, make(chan struct{}, 2)}).URL
	wantError(t, newClient(t, url, within(100*time.Millisecond)).CheckKey(t.Context()), nil)
}

func TestHugeListIsNotRead(t *testing.T) {
	t.Parallel()
	var read atomic.Int64
	c := newClient(t, serve(t, huge(200)).URL)
	dialing(c, func(_ string, conn net.Conn) net.Conn { return countedConn{conn, &read} })
	wantError(t, c.CheckKey(t.Context()), nil)
	if n := read.Load(); n < 64<<10 || n > 128<<10 {
		t.Errorf("%d KiB were read, want little more than 64", n>>10)
	}
}

func TestCheckOfTheKeySharesTheTurnsOfMintsAndNeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		paced := newBudget(&scripted{}, perMinute)
		check := paced.KeyCheck(func(context.Context) error {
			checks++
			return nil
		})
		began := time.Now()
		wantError(t, paced.Probe(t.Context(), held), nil)
		wantError(t, check(t.Context()), nil)
		patient, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := check(patient)
		wantError(t, err, session.ErrPortalRateLimited)
		if wait, waited := session.RetryAfter(err), time.Since(began); wait != nextTurn || waited != 0 || checks != 1 {
			t.Errorf("%d checks, then after %s to come back in %s", checks, waited, wait)
		}
		_, err = paced.Mint(t.Context(), alice, session.Absent)
		wantError(t, err, session.ErrPortalRateLimited)
	})
}

func TestCheckOfTheKeyThatIsTooMuchPausesTheMints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		paced := newBudget(&scripted{}, cache.Limit{})
		tooMuch := &session.RetryError{After: time.Minute, Err: session.ErrPortalRateLimited}
		check := paced.KeyCheck(func(context.Context) error { return tooMuch })
		wantError(t, check(t.Context()), session.ErrPortalRateLimited)
		_, err := paced.Mint(t.Context(), alice, session.Absent)
		wantError(t, err, session.ErrPortalRateLimited)
		if wait := session.RetryAfter(err); wait != time.Minute {
			t.Errorf("a mint is to come back in %s", wait)
		}
		wantError(t, paced.Probe(t.Context(), held), nil)
	})
}

package proxy_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// occupy has one request wait for Portal, which is asked for a token of a client called carol. release lets it go, and
// waits for its end.
func (w *world) occupy() (release func()) {
	w.t.Helper()
	w.sim.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Hang})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.get("/v1/clients/carol/token")
	}()
	<-w.tap.came
	return func() {
		w.sim.ClearFaults()
		<-ended
		<-w.meter.over
	}
}

func TestWhatIsTurnedAwayIsCountedByWhatItWasFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in   func(*setup)
		ask  func(w *world) answer
		want string
	}{
		"a registration":        {func(s *setup) { s.Limits.Flights = 2 }, func(w *world) answer { return w.post("/v1/clients", "") }, "register"},
		"a mint":                {func(s *setup) { s.Limits.Flights = 1 }, func(w *world) answer { return w.get("/v1/clients/bob/token") }, "mint"},
		"a caller who'd wait":   {func(s *setup) { s.Limits.Waiting = 1 }, func(w *world) answer { return w.get("/v1/clients/bob/token") }, "mint"},
		"a refresh":             {func(s *setup) { s.Limits.Flights = 1 }, func(w *world) answer { return w.get(aliceToken + "?minTtl=24h") }, "refresh"},
		"anything":              {func(s *setup) { s.inFlight = 1 }, func(w *world) answer { return w.get(aliceStatus) }, "request"},
		"what has no route":     {func(s *setup) { s.inFlight = 1 }, func(w *world) answer { return w.get("/v2") }, "request"},
		"a token in the cache":  {func(s *setup) { s.Limits = session.Limits{Flights: 1, Waiting: 1} }, fetchAlice, ""},
		"a look":                {func(s *setup) { s.Limits = session.Limits{Flights: 1, Waiting: 1} }, func(w *world) answer { return w.get(aliceStatus) }, ""},
		"who joins the request": {func(s *setup) { s.Limits.Flights = 1; s.inFlight = 2 }, func(w *world) answer { return w.get(aliceToken) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.in)
			w.fetch()
			<-w.tap.came
			<-w.meter.over
			w.clock.advance(time.Hour)
			release := w.occupy()
			got := tt.ask(w)
			release()
			if tt.want == "" {
				got.want(t, http.StatusOK)
				return
			}
			got.wantProblem(t, "overloaded")
			if !slices.Equal(w.meter.shed, []string{tt.want}) {
				t.Errorf("counted as %q, want %q", w.meter.shed, tt.want)
			}
			w.get("/v1/clients/"+alice).want(t, http.StatusOK)
		})
	}
}

// A line for each would be a load of its own.
func TestACrowdThatIsTurnedAwayIsWorthOneLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *setup) { s.Limits.Flights = 1 })
	release := w.occupy()
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() { w.get("/v1/clients/bob/token").wantProblem(t, "overloaded") })
	}
	group.Wait()
	release()
	if n := strings.Count(w.log.but("answered"), "overloaded"); n != 1 {
		t.Errorf("%d lines for 100 requests that were turned away:\n%s", n, w.log.String())
	}
	if n := len(w.meter.shed); n != 100 {
		t.Errorf("%d were counted, want 100", n)
	}
}

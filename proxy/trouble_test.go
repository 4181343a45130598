package proxy_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func TestPanicIsAnErrorOfOneRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		store *panicking
		log   string
	}{
		"in a handler":                          {&panicking{value: canary, load: true}, `"cause":"not shown"`},
		"in a handler, with an error":           {&panicking{value: io.ErrUnexpectedEOF, load: true}, `"cause":"not shown"`},
		"in a handler, with one of the runtime": {&panicking{value: outOfRange(), load: true}, `"cause":"runtime error: index out of range [1] with length 0"`},
		"in what callers share":                 {&panicking{value: canary, save: true}, `"cause":"not shown"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := c.store
			w := newWorld(t, func(s *setup) {
				store.Store = s.Store
				s.Store = store
			})
			w.fetchFails("internal")
			if log := w.log.String(); !strings.Contains(log, c.log) || !strings.Contains(log, "fakes_test.go") {
				t.Errorf("the log does not say where, or too much of what:\n%s", log)
			}
			store.mended.Store(true)
			w.fetch()
			w.close()
			if diff := cmp.Diff([]string{"internal"}, w.meter.refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequestThatIsCutOffIsCountedOut(t *testing.T) {
	t.Parallel()
	store := &panicking{value: http.ErrAbortHandler, load: true}
	w := newWorld(t, func(s *setup) {
		store.Store = s.Store
		s.Store = store
	})
	conn := w.dial()
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET "+aliceToken+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(conn); len(said) != 0 {
		t.Errorf("answered %q, %v", said, err)
	} // that it was counted out, every world checks
	w.audit.told++ // there is no answer, so there is no line
}

func (w *world) fetchFails(code string) {
	w.t.Helper()
	w.get(aliceToken).wantProblem(w.t, code)
}

// outOfRange returns what the runtime panics with.
func outOfRange() (fault any) {
	defer func() { fault = recover() }()
	return strings.Fields("")[1]
}

func TestCallerWhoLeavesIsNoError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Hang})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan answer)
	go func() { left <- w.doAs(ctx, http.MethodGet, aliceToken, "") }()
	<-w.tap.came
	leave()
	<-left
	<-w.meter.over
	w.sim.ClearFaults()
	w.fetch() // by the flight that went on without who began it, or just after it
	w.wantMints(1)
	w.close()
	if len(w.meter.refused) != 0 {
		t.Errorf("counted as errors: %q", w.meter.refused)
	}
	gone := counts{"/v1/clients/:clientId/token", http.MethodGet, 499}
	if !slices.Contains(w.meter.ended, gone) || len(w.meter.ended) != 2 || len(w.meter.granted) != 1 {
		t.Errorf("counted %+v and %d grants, want %+v, and one grant to who stayed", w.meter.ended, len(w.meter.granted), gone)
	}
	if log := w.log.String(); strings.Contains(log, `"level":"WARN"`) || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("logged as trouble:\n%s", log)
	}
}

// net/http takes a caller who closes the sending side for one who left.
func TestCallerWhoOnlyStopsSendingIsNotToldThatAllIsWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Hang})
	conn := w.dial()
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET "+aliceToken+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-w.tap.came
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a := w.readFrom(conn); a.status != 499 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answered %s", a.dump())
	}
}

func TestEveryRouteIsCountedUnderItsOwnName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fetch()
	var want []counts
	for _, c := range []struct {
		counts
		target string
	}{
		{counts{"/v1/clients/:clientId/token", "GET", 200}, aliceToken},
		{counts{"/v1/clients/:clientId", "GET", 200}, aliceStatus},
		{counts{"/v1/clients/:clientId/activity", "POST", 204}, aliceActivity},
		{counts{"/api/v1/custodians/clients/:clientId/session", "POST", 200}, v1Session},
		{counts{"/api/v3/custodians/me/clients/:clientId/sessions", "POST", 200}, v3Session},
		{counts{"/v1/clients", "POST", 201}, "/v1/clients"},
		{counts{"/api/v1/custodians/clients", "POST", 201}, v1Clients},
		{counts{"/api/v3/custodians/me/clients", "POST", 200}, v3Clients},
		{counts{"/v1/clients/:clientId/token", "DELETE", 204}, aliceToken},
		{counts{"/v1/clients/:clientId/token", "GET", 400}, aliceToken + "?x"},
		{counts{"/v1/clients/:clientId/token", "GET", 400}, "/v1/clients/!/token"},
		{counts{"unmatched", "other", 405}, aliceToken},
		{counts{"unmatched", "other", 404}, "/"},
		{counts{"unmatched", "other", 404}, "/v1/clients/" + alice + "/secrets"},
		{counts{"unmatched", "other", 404}, "/metrics"},
		{counts{"unmatched", "other", 404}, "/v1/clients/:clientId/tokens"},
	} {
		w.do(c.Method, c.target, "").want(t, c.Status)
		want = append(want, c.counts)
	}
	w.close()
	if diff := cmp.Diff(want, w.meter.ended[1:]); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestDataPortHasNothingForOperators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/metrics", "/livez", "/startupz", "/readyz", "/version", "/debug/pprof/", "/debug/vars", "/"} {
		w.get(path).wantProblem(t, "route_not_found")
	}
	w.wantUntouched()
}

func TestNoAnswerMayBeStored(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(w *world) answer{
		"a token":             func(w *world) answer { return w.get(aliceToken) },
		"a status":            func(w *world) answer { return w.get(aliceStatus) },
		"a client":            func(w *world) answer { return w.post("/v1/clients", "") },
		"no content":          func(w *world) answer { return w.remove() },
		"a refusal":           func(w *world) answer { return w.get(aliceToken + "?x") },
		"no route":            func(w *world) answer { return w.get("/nowhere") },
		"a method not taken":  func(w *world) answer { return w.do(http.MethodPut, aliceToken, "") },
		"what may be asked":   func(w *world) answer { return w.do(http.MethodOptions, aliceToken, "") },
		"a head":              func(w *world) answer { return w.do(http.MethodHead, aliceToken, "") },
		"a body too large":    func(w *world) answer { return w.post("/v1/clients", strings.Repeat(" ", 1<<17)) },
		"a failure of Portal": portalAnswers(http.StatusInternalServerError),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := ask(newWorld(t)).header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
				t.Errorf("Cache-Control is %q, want no-store", got)
			}
		})
	}
}

package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// audit is a proxy.Auditor that remembers its lines; lost are those that could not be written.
type audit struct {
	mu          sync.Mutex
	lines, lost []proxy.Entry
	err         error
	// told are the requests that a line was asked for.
	told int
}

func (a *audit) Record(_ context.Context, entry proxy.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told++
	if a.err != nil {
		a.lost = append(a.lost, entry)
		return a.err
	}
	a.lines = append(a.lines, entry)
	return nil
}

// fail makes lines fail with err; nil mends it.
func (a *audit) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// take returns the lines since it was last called.
func (a *audit) take() []proxy.Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	lines := a.lines
	a.lines = nil
	return lines
}

// checkAudit holds every world to it: nothing secret in the audit, and a line for each request that was answered. There
// are more only where an answer failed after its line.
func (w *world) checkAudit() {
	w.t.Helper()
	keys, tokens := w.tap.secrets()
	asked := 0
	for _, c := range w.meter.ended {
		if c.Route != "unmatched" || c.Status >= 400 { // which says nothing but what a route takes, unless it is refused
			asked++
		}
	}
	failedAfter := len(w.audit.lost)
	if w.audit.told-failedAfter > asked || w.audit.told < asked {
		w.t.Errorf("%d requests have %d lines, %d of them lost", asked, w.audit.told, failedAfter)
	}
	text := fmt.Sprintf("%+v %+v", w.audit.lines, w.audit.lost)
	if found := holds(text, append(append([]string{canary, portaltest.DefaultKey}, keys...), tokens...)...); found != "" {
		w.t.Errorf("the audit has %q in it", found)
	}
}

// auditCase is a request, and the line that it must leave.
type auditCase struct {
	in      func(*setup) // nil for the ordinary world
	prepare func(w *world)
	ask     func(w *world) answer
	want    proxy.Entry
}

const (
	tokenRoute    = "/v1/clients/:clientId/token"
	activityRoute = "/v1/clients/:clientId/activity"
	statusRoute   = "/v1/clients/:clientId"
	clientsRoute  = "/v1/clients"
	v1Route       = "/api/v1/custodians/clients/:clientId/session"
	v3Route       = "/api/v3/custodians/me/clients/:clientId/sessions"
	v1Register    = "/api/v1/custodians/clients"
	v3Register    = "/api/v3/custodians/me/clients"
	specRoute     = "/openapi.yaml"
)

// aliceHasOne has a token cached for alice.
func aliceHasOne(w *world) { w.fetch() }

// granted is the line of a token handed out; the id is that of the answer.
func granted(method, route string, status int, source session.Source, reason session.Reason) proxy.Entry {
	return proxy.Entry{Event: proxy.EventGranted, Client: alice, Decision: string(source), Reason: reason, Method: method, Route: route, Status: status}
}

func refused(method, route string, status int, code string) proxy.Entry {
	return proxy.Entry{Event: proxy.EventRefused, Client: alice, Decision: code, Method: method, Route: route, Status: status}
}

// of returns the line about another client, or none.
func of(client session.ClientID, e proxy.Entry) proxy.Entry {
	e.Client = client
	return e
}

// unknown returns the line about a request of which it was not found out who sent it.
func unknown(e proxy.Entry) proxy.Entry {
	e.Caller = "nobody"
	return e
}

// failing is a request that Portal fails, or the client id makes fail.
func failing(method, target, body string) func(w *world) answer {
	return func(w *world) answer { return w.do(method, target, body, testID) }
}

func portalDown(w *world) {
	w.sim.Inject(portaltest.All, portaltest.Fault{Kind: portaltest.Status, Status: 503})
}

func auditCases() map[string]auditCase {
	get, post, remove := http.MethodGet, http.MethodPost, http.MethodDelete
	return map[string]auditCase{
		"a token, minted":              {nil, nil, fetchAlice, granted(get, tokenRoute, 200, session.SourceMint, session.Absent)},
		"a token, from the cache":      {nil, aliceHasOne, fetchAlice, granted(get, tokenRoute, 200, session.SourceCache, "")},
		"a token, refreshed":           {nil, aliceHasOne, func(w *world) answer { w.clock.advance(hour); return w.get(aliceToken+"?minTtl=24h", testID) }, granted(get, tokenRoute, 200, session.SourceRefresh, "")},
		"a token, Portal fails":        {nil, portalDown, fetchAlice, refused(get, tokenRoute, 503, "portal_unavailable")},
		"a token, a wrong wish":        {nil, nil, failing(get, aliceToken+"?minTtl=x", ""), refused(get, tokenRoute, 400, "invalid_request")},
		"a token, a wrong id":          {nil, nil, failing(get, "/v1/clients/no!id/token", ""), of("", refused(get, tokenRoute, 400, "invalid_client_id"))},
		"a token, nobody knows":        {nil, nil, failing(get, "/v1/clients/stranger/token", ""), of("stranger", refused(get, tokenRoute, 404, "client_not_found"))},
		"a token, as v1 has it":        {nil, aliceHasOne, failing(post, v1Session, ""), granted(post, v1Route, 200, session.SourceCache, "")},
		"a token, as v3 has it":        {nil, aliceHasOne, failing(post, v3Session, ""), granted(post, v3Route, 200, session.SourceCache, "")},
		"v1, Portal fails":             {nil, portalDown, failing(post, v1Session, ""), refused(post, v1Route, 503, "portal_unavailable")},
		"v3, Portal fails":             {nil, portalDown, failing(post, v3Session, ""), refused(post, v3Route, 503, "portal_unavailable")},
		"a logout":                     {nil, aliceHasOne, failing(remove, aliceToken, ""), proxy.Entry{Event: proxy.EventForgotten, Client: alice, Method: remove, Route: tokenRoute, Status: 204}},
		"a logout of another":          {nil, aliceHasOne, func(w *world) answer { return w.remove(testID, `If-Match: "`+otherID+`"`) }, refused(remove, tokenRoute, 412, "token_mismatch")},
		"activity":                     {nil, aliceHasOne, failing(post, aliceActivity, ""), proxy.Entry{Event: proxy.EventNoted, Client: alice, Method: post, Route: activityRoute, Status: 204}},
		"activity of none":             {nil, nil, failing(post, aliceActivity, ""), refused(post, activityRoute, 404, "client_not_found")},
		"a look":                       {nil, nil, failing(get, aliceStatus, ""), proxy.Entry{Event: proxy.EventInspected, Client: alice, Method: get, Route: statusRoute, Status: 200}},
		"a look, a wrong id":           {nil, nil, failing(get, "/v1/clients/no!id", ""), of("", refused(get, statusRoute, 400, "invalid_client_id"))},
		"a registration":               {nil, nil, failing(post, clientsRoute, ""), of("new", granted(post, clientsRoute, 201, session.SourceMint, ""))},
		"a registration, v1":           {nil, nil, failing(post, v1Register, ""), of("new", granted(post, v1Register, 201, session.SourceMint, ""))},
		"a registration, v3":           {nil, nil, failing(post, v3Register, ""), of("new", granted(post, v3Register, 200, session.SourceMint, ""))},
		"a registration, failed":       {nil, portalDown, failing(post, clientsRoute, ""), of("", refused(post, clientsRoute, 503, "portal_unavailable"))},
		"v1 registration, failed":      {nil, portalDown, failing(post, v1Register, ""), of("", refused(post, v1Register, 503, "portal_unavailable"))},
		"v3 registration, failed":      {nil, portalDown, failing(post, v3Register, "["), of("", refused(post, v3Register, 400, "invalid_request"))},
		"the specification":            {nil, nil, failing(get, specRoute, ""), proxy.Entry{Event: proxy.EventDescribed, Method: get, Route: specRoute, Status: 200}},
		"the specification, to a page": {nil, nil, func(w *world) answer { return w.get(specRoute, testID, "Origin: null") }, unknown(of("", refused(get, specRoute, 403, "caller_forbidden")))},
		"no route":                     {nil, nil, failing(get, "/v2", ""), of("", refused(get, "unmatched", 404, "route_not_found"))},
		"another method":               {nil, nil, failing(http.MethodPut, clientsRoute, ""), of("", refused(http.MethodPut, clientsRoute, 405, "method_not_allowed"))},
		"too much at once": {func(s *setup) { s.inFlight = 1 }, nil, func(w *world) answer {
			release := w.occupy()
			defer release()
			return fetchAlice(w)
		}, refused(get, tokenRoute, 503, "overloaded")},
		"a panic, of which nobody": {panics, nil, fetchAlice, refused(get, tokenRoute, 500, "internal")},
	}
}

// panics has the store panic in a lookup.
func panics(s *setup) { s.Store = &panicking{Store: s.Store, value: errors.New("odd"), load: true} }

func TestEveryRouteAndOutcomeLeavesOneLine(t *testing.T) {
	t.Parallel()
	// said :: route -> event -> there is a case
	said := map[string]map[proxy.Event]bool{}
	for _, tt := range auditCases() {
		route := tt.want.Method + " " + tt.want.Route
		if said[route] == nil {
			said[route] = map[proxy.Event]bool{}
		}
		said[route][tt.want.Event] = true
	}
	for _, route := range newWorld(t).api.Routes() {
		if len(said[route]) < 2 || !said[route][proxy.EventRefused] {
			t.Errorf("%s has cases for %v, want one that goes well and one that is refused", route, said[route])
		}
	}
	for name, tt := range auditCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, orNothing(tt.in))
			if tt.prepare != nil {
				tt.prepare(w)
			}
			w.audit.take()
			got := tt.ask(w)
			want := tt.want
			want.RequestID = "test-1"
			switch {
			case want.Caller == "nobody", want.Decision == "overloaded": // before anybody asks who it is
				want.Caller = ""
			default:
				want.Caller = "anonymous"
			}
			if want.Event == proxy.EventGranted {
				d := got.token(t, want.Status)
				want.TokenID = mustID(t, d.TokenID)
				if want.Client == "new" {
					want.Client = session.ClientID(d.ID)
				}
			}
			lines := slices.DeleteFunc(w.audit.take(), func(e proxy.Entry) bool { return e.RequestID != "test-1" })
			if diff := cmp.Diff([]proxy.Entry{want}, lines); diff != "" {
				t.Errorf("audit (-want +got):\n%s", diff)
			}
			if got.status != want.Status {
				t.Errorf("answered %d", got.status)
			}
		})
	}
}

func orNothing(change func(*setup)) func(*setup) {
	if change == nil {
		return func(*setup) {}
	}
	return change
}

func mustID(t *testing.T, text string) session.TokenID {
	t.Helper()
	id, err := session.ParseTokenID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTheLineNamesTheTokenThatARequestIsAbout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := mustID(t, w.fetch().TokenID)
	w.get(aliceStatus)
	w.post(aliceActivity, `{"tokenId":"`+first.String()+`"}`)
	second := mustID(t, w.get(aliceToken+"?rejected="+first.String()).token(t, http.StatusOK).TokenID)
	w.remove(`If-Match: "` + second.String() + `"`)

	type about struct {
		Event             proxy.Event
		TokenID, Rejected session.TokenID
	}
	var got []about
	for _, e := range w.audit.take() {
		got = append(got, about{e.Event, e.TokenID, e.Rejected})
	}
	want := []about{
		{proxy.EventGranted, first, session.TokenID{}}, {proxy.EventInspected, first, session.TokenID{}},
		{proxy.EventNoted, first, session.TokenID{}}, {proxy.EventGranted, second, first}, {proxy.EventForgotten, second, session.TokenID{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestACallerWhoLeavesHasALine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.occupy()
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.doAs(ctx, http.MethodGet, "/v1/clients/bob/token", "") }()
	<-w.tap.came
	leave()
	<-done
	<-w.meter.over
	release()
	lines := w.audit.take()
	if len(lines) == 0 || lines[0].Decision != "client_gone" || lines[0].Status != 499 || lines[0].Client != "bob" {
		t.Errorf("audit %+v, want a line of bob's caller first", lines)
	}
}

func TestNoLineNoToken(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	for name, ask := range map[string]func(w *world) answer{
		"a token, minted":         fetchAlice,
		"a token, from the cache": func(w *world) answer { aliceHasOne(w); w.audit.fail(full); return fetchAlice(w) },
		"a registration":          failing(http.MethodPost, clientsRoute, ""),
		"a token, as v1 has it":   failing(http.MethodPost, v1Session, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if !strings.Contains(name, "cache") {
				w.audit.fail(full)
			}
			got := ask(w)
			got.wantProblem(t, "audit_unavailable")
			if strings.Contains(got.dump(), "no space") || got.header.Get("Location") != "" || got.header.Get("Cache-Status") != "" {
				t.Errorf("the answer tells more than that: %s", got.dump())
			}
			if granted := len(w.meter.granted); granted > strings.Count(name, "cache") {
				t.Errorf("%d tokens count as handed out", granted)
			}
		})
	}
}

// What failed for want of a line is not done over and over: a registration would make a client each time.
func TestWhileNoLineCanBeWrittenNothingIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.audit.fail(errors.New("no space left on device"))
	for range 5 {
		w.post(clientsRoute, "").wantProblem(t, "audit_unavailable")
	}
	if n := w.sim.Stats().Registrations; n != 1 {
		t.Errorf("Portal made %d clients, want only the first, by which it was found out", n)
	}
	w.get("/v2").wantProblem(t, "audit_unavailable")

	w.audit.fail(nil)
	w.get(aliceToken).wantProblem(t, "audit_unavailable")
	w.fetch()
	lines := w.audit.take()
	if len(lines) != 2 || lines[0].Decision != "audit_unavailable" || lines[1].Event != proxy.EventGranted {
		t.Errorf("the audit goes on with %+v, want the refusal that showed that it can, then the token", lines)
	}
}

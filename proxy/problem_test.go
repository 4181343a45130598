package proxy_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// problem is an error answer's body.
type problem struct {
	Type      string
	Title     string
	Status    int
	Detail    string
	Code      string
	Retryable bool
	RequestID string
	Error     string
}

func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	a.decode(t, &p)
	return p
}

// promise is what callers may rely on for a code.
type promise struct {
	status    int
	retryable bool
}

// promises :: code -> what was promised to callers
var promises = map[string]promise{
	"invalid_client_id":      {400, false},
	"invalid_request":        {400, false},
	"caller_unauthenticated": {401, false},
	"caller_forbidden":       {403, false},
	"caller_rate_limited":    {429, true},
	"client_not_found":       {404, false},
	"route_not_found":        {404, false},
	"method_not_allowed":     {405, false},
	"token_mismatch":         {412, false},
	"token_unknown":          {403, false},
	"token_rejected":         {502, true},
	"upgrade_unsupported":    {501, false},
	"body_too_large":         {413, false},
	"internal":               {500, false},
	"portal_unauthorized":    {502, false},
	"portal_bad_response":    {502, false},
	"portal_rate_limited":    {503, true},
	"portal_unavailable":     {503, true},
	"store_unavailable":      {503, true},
	"overloaded":             {503, true},
	"audit_unavailable":      {503, true},
	"shutting_down":          {503, true},
	"portal_timeout":         {504, true},
}

// wantProblem checks that the answer is the error with that code, whole and in itself consistent.
func (a answer) wantProblem(t *testing.T, code string) problem {
	t.Helper()
	promised := promises[code]
	a.want(t, promised.status)
	p := a.problem(t)
	want := problem{
		Type: "urn:cstproxy:problem:" + code, Title: p.Title, Status: promised.status, Detail: p.Detail, Code: code,
		Retryable: promised.retryable, RequestID: a.header.Get("X-Request-Id"), Error: p.Detail,
	}
	if p != want || p.Title == "" || p.Detail == "" || p.RequestID == "" {
		t.Errorf("problem is %+v, want %+v", p, want)
	}
	if kind := a.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("Content-Type is %q", kind)
	}
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if shown := err == nil && wait >= 1; shown != promised.retryable {
		t.Errorf("Retry-After is %q, retryable %v", a.header.Get("Retry-After"), promised.retryable)
	}
	if control := a.header.Get("Cache-Control"); control != "no-store" {
		t.Errorf("Cache-Control is %q, want no-store", control)
	}
	return p
}

// cause makes one error happen.
type cause struct {
	in  func(*setup) // nil for the ordinary world
	ask func(w *world) answer
}

func (c cause) meet(t *testing.T) answer {
	t.Helper()
	if c.in == nil {
		return c.ask(newWorld(t))
	}
	return c.ask(newWorld(t, c.in))
}

// portalFails is a fetch while Portal has the fault.
func portalFails(fault portaltest.Fault) func(w *world) answer {
	return func(w *world) answer {
		w.sim.Inject(portaltest.All, fault)
		return w.get(aliceToken, testID)
	}
}

func portalAnswers(status int) func(w *world) answer {
	return portalFails(portaltest.Fault{Kind: portaltest.Status, Status: status})
}

func fetchAlice(w *world) answer { return w.get(aliceToken, testID) }

// portalSays has the Portal port return err.
func portalSays(err error) func(*setup) { return func(s *setup) { s.Portal = refusing{err} } }

// storeSays has every call of the store return err, in a proxy that may not do without it.
func storeSays(err error) func(*setup) {
	return func(s *setup) {
		store := &sessiontest.Store{}
		store.Break(err)
		s.Store, s.Registry, s.StoreDown = store, store, session.StoreDownFail
	}
}

// hurried gives up on Portal soon.
func hurried(s *setup) { s.Deadline = 50 * time.Millisecond }

// causes :: code -> its plainest cause
func causes() map[string]cause {
	return map[string]cause{
		"invalid_client_id":      {nil, func(w *world) answer { return w.get("/v1/clients/"+alice+"!/token", testID) }},
		"invalid_request":        {nil, func(w *world) answer { return w.get(aliceToken+"?minTtl=25h", testID) }},
		"caller_unauthenticated": {admitting(backend), fetchAlice},
		"caller_forbidden":       {nil, func(w *world) answer { return w.get(aliceToken, testID, "Origin: https://app.example") }},
		"caller_rate_limited": {admitting(backend + "\n    rate: 1/m"), func(w *world) answer {
			w.get(aliceToken, w.key)
			return w.get(aliceToken, testID, w.key)
		}},
		"client_not_found": {nil, func(w *world) answer { return w.get("/v1/clients/stranger/token", testID) }},
		"token_mismatch": {nil, func(w *world) answer {
			w.fetch()
			return w.remove(testID, `If-Match: "`+otherID+`"`)
		}},
		"token_unknown": {passing, func(w *world) answer { return w.get(whoAmI, testID, "Authorization: Bearer made-up") }},
		"token_rejected": {passing, func(w *world) answer {
			w.fetch()
			w.sim.KillClient(alice)
			return w.do(http.MethodPost, "/enclave/v1/sign", "{}", testID, named)
		}},
		"upgrade_unsupported": {passing, func(w *world) answer { return w.get(whoAmI, testID, named, "Upgrade: websocket") }},
		"body_too_large": {nil, func(w *world) answer {
			return w.post("/v1/clients", strings.Repeat(" ", 64<<10)+"{}", testID)
		}},
		"portal_rate_limited": {nil, portalFails(portaltest.Fault{Kind: portaltest.Status, Status: 429, RetryAfter: "7"})},
		"portal_timeout":      {hurried, portalFails(portaltest.Fault{Kind: portaltest.Hang})},
		"portal_unauthorized": {nil, portalAnswers(401)},
		"portal_bad_response": {nil, portalFails(portaltest.Fault{Kind: portaltest.Garbage})},
		"portal_unavailable":  {nil, portalAnswers(503)},
		"store_unavailable":   {storeSays(sessiontest.ErrStoreDown), fetchAlice},
		"overloaded": {func(s *setup) { s.Limits.Flights = 1 }, func(w *world) answer {
			release := w.occupy()
			defer release()
			return w.get("/v1/clients/bob/token", testID)
		}},
		"audit_unavailable": {nil, func(w *world) answer {
			w.audit.fail(errors.New("no space left on device"))
			return fetchAlice(w)
		}},
		"shutting_down": {nil, func(w *world) answer {
			w.broker.Close(w.t.Context())
			return fetchAlice(w)
		}},
		"route_not_found":    {nil, func(w *world) answer { return w.get("/v2/clients", testID) }},
		"method_not_allowed": {nil, func(w *world) answer { return w.do(http.MethodPut, aliceToken, "", testID) }},
		"internal":           {portalSays(errors.New("text that is not for callers")), fetchAlice},
	}
}

func TestEveryCodeHasItsAnswer(t *testing.T) {
	t.Parallel()
	codes := proxy.Codes()
	for code := range promises {
		if !slices.Contains(codes, code) {
			t.Errorf("%s was promised and can't happen", code)
		}
	}
	all := causes()
	for _, code := range codes {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			c, ok := all[code]
			if _, promised := promises[code]; !ok || !promised {
				t.Fatal("no case: callers can meet a code that nobody looked at")
			}
			a := c.meet(t)
			a.wantProblem(t, code)
			golden(t, "problem_"+code, a.dump())
		})
	}
}

func TestErrorsByTheirOtherCauses(t *testing.T) {
	t.Parallel()
	knownAs := func(status int) func(w *world) answer {
		return func(w *world) answer {
			w.sim.Set(func(b *portaltest.Behavior) { b.UnknownClientStatus = status })
			return w.get("/v1/clients/stranger/token")
		}
	}
	register := func(fault portaltest.Fault) func(w *world) answer {
		return func(w *world) answer {
			w.sim.Inject(portaltest.Register, fault)
			return w.post("/v1/clients", "{}")
		}
	}
	for name, c := range map[string]struct {
		code string
		cause
	}{
		"Portal answers 400 for a client":         {"client_not_found", cause{nil, knownAs(400)}},
		"Portal answers 404 for a client":         {"client_not_found", cause{nil, knownAs(404)}},
		"Portal answers 401 for a client":         {"portal_unauthorized", cause{nil, knownAs(401)}},
		"Portal answers 403 for a client":         {"portal_unauthorized", cause{nil, knownAs(403)}},
		"Portal answers 429 without a date":       {"portal_rate_limited", cause{nil, portalAnswers(429)}},
		"Portal answers 500":                      {"portal_unavailable", cause{nil, portalAnswers(500)}},
		"Portal answers 408":                      {"portal_unavailable", cause{nil, portalAnswers(408)}},
		"Portal answers 418":                      {"portal_bad_response", cause{nil, portalAnswers(418)}},
		"Portal resets the connection":            {"portal_unavailable", cause{nil, portalFails(portaltest.Fault{Kind: portaltest.Reset})}},
		"Portal loses the answer":                 {"portal_unavailable", cause{nil, portalFails(portaltest.Fault{Kind: portaltest.Lost})}},
		"Portal redirects":                        {"portal_bad_response", cause{nil, portalFails(portaltest.Fault{Kind: portaltest.Redirect})}},
		"Portal answers about another client":     {"portal_bad_response", cause{nil, portalFails(portaltest.Fault{Kind: portaltest.WrongID})}},
		"Portal answers 64 MiB":                   {"portal_bad_response", cause{nil, portalFails(portaltest.Fault{Kind: portaltest.Huge})}},
		"Portal leaves the token out":             {"portal_bad_response", cause{nil, portalFails(portaltest.Fault{Kind: portaltest.NoToken})}},
		"Portal is slow":                          {"portal_timeout", cause{hurried, portalFails(portaltest.Fault{Latency: time.Minute})}},
		"Portal refuses a registration's key":     {"portal_unauthorized", cause{nil, register(portaltest.Fault{Kind: portaltest.Status, Status: 401})}},
		"Portal fails a registration":             {"portal_unavailable", cause{nil, register(portaltest.Fault{Kind: portaltest.Status, Status: 500})}},
		"Portal hangs in a registration":          {"portal_timeout", cause{hurried, register(portaltest.Fault{Kind: portaltest.Hang})}},
		"Portal does not like a registration":     {"portal_bad_response", cause{nil, register(portaltest.Fault{Kind: portaltest.Status, Status: 400})}},
		"Portal registers and leaves out a token": {"portal_bad_response", cause{nil, register(portaltest.Fault{Kind: portaltest.NoToken})}},
		"the proxy's own budget is spent": {"portal_rate_limited", cause{
			func(s *setup) { s.Portal = newBudget(&sessiontest.Portal{Lifetime: lifetime(), Now: s.Now}) },
			func(w *world) answer {
				w.fetch()
				return w.get("/v1/clients/bob/token")
			},
		}},
		"the store times out": {"store_unavailable", cause{storeSays(context.DeadlineExceeded), fetchAlice}},
		"the store fails a logout": {"store_unavailable", cause{
			storeSays(sessiontest.ErrStoreDown), func(w *world) answer { return w.remove() },
		}},
		"the store times out in a logout": {"store_unavailable", cause{
			storeSays(context.DeadlineExceeded), func(w *world) answer { return w.remove(`If-Match: "` + otherID + `"`) },
		}},
		"the store fails a look": {"store_unavailable", cause{
			storeSays(sessiontest.ErrStoreDown), func(w *world) answer { return w.get(aliceStatus) },
		}},
		"the store fails to note activity": {"store_unavailable", cause{
			storeSays(sessiontest.ErrStoreDown), func(w *world) answer { return w.post(aliceActivity, "") },
		}},
		"the store fails a registration's key": {"store_unavailable", cause{
			storeSays(sessiontest.ErrStoreDown), func(w *world) answer { return w.post("/v1/clients", "", "Idempotency-Key: k") },
		}},
		"a registration with the key does not end": {"portal_timeout", cause{
			func(s *setup) {
				hurried(s)
				claim := session.Claim{Registration: session.Registration{Key: "anonymous\nk"}, Owner: "another replica", Hold: hour}
				_, _ = s.Registry.Claim(context.Background(), claim)
			},
			func(w *world) answer { return w.post("/v1/clients", "", "Idempotency-Key: k") },
		}},
		"shutting down, to a registration": {"shutting_down", cause{nil, func(w *world) answer {
			w.broker.Close(w.t.Context())
			return w.post("/v1/clients", "")
		}}},
		"something ends in time that has no name": {"portal_timeout", cause{portalSays(context.DeadlineExceeded), fetchAlice}},
		"a body that is chunked and too large": {"body_too_large", cause{nil, func(w *world) answer {
			return w.raw("POST /v1/clients HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" +
				"10002\r\n" + strings.Repeat(" ", 64<<10) + "{}\r\n0\r\n\r\n")
		}}},
		"a body that says it is too large, and does not come": {"body_too_large", cause{nil, func(w *world) answer {
			return w.raw("POST " + aliceActivity + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n")
		}}},
		"a body too large after a JSON that is whole": {"body_too_large", cause{nil, func(w *world) answer {
			return w.raw("POST /v1/clients HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" +
				"10002\r\n{}" + strings.Repeat(" ", 64<<10) + "\r\n0\r\n\r\n")
		}}},
		"a fetch in disguise with a body too large": {"body_too_large", cause{nil, func(w *world) answer {
			return w.post(v1Session, strings.Repeat(" ", 64<<10+1))
		}}},
		"a method that no HTTP has": {"method_not_allowed", cause{nil, func(w *world) answer { return w.do("BREW", aliceToken, "") }}},
		"the way of a proxy":        {"route_not_found", cause{nil, func(w *world) answer { return w.do(http.MethodConnect, "/", "") }}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.meet(t).wantProblem(t, c.code)
		})
	}
}

// newBudget lets one mint an hour through.
func newBudget(next session.Portal) session.Portal {
	return portal.NewPaced(next, cache.NewBudget(cache.BudgetParts{
		Limits: map[session.Class]cache.Limit{session.ClassMint: {Requests: 1, Per: hour}, session.ClassProbe: {}}, Log: slog.New(slog.DiscardHandler),
	}))
}

func TestRetryAfterIsPortalsOwnIfItGaveOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"none given":                   {session.ErrPortalRateLimited, "1"},
		"whole seconds":                {&session.RetryError{After: 7 * time.Second, Err: session.ErrPortalRateLimited}, "7"},
		"a moment more, rounded up":    {&session.RetryError{After: 7*time.Second + 1, Err: session.ErrPortalUnavailable}, "8"},
		"a moment":                     {&session.RetryError{After: 1, Err: session.ErrPortalUnavailable}, "1"},
		"with what can't be retried":   {&session.RetryError{After: 7 * time.Second, Err: session.ErrPortalUnauthorized}, ""},
		"with what the table has not":  {&session.RetryError{After: 7 * time.Second, Err: errors.New("odd")}, ""},
		"the store's own, a failover":  {&session.RetryError{After: 2 * time.Second, Err: session.ErrStoreUnavailable}, "2"},
		"negative, which is as if not": {&session.RetryError{After: -1, Err: session.ErrPortalUnavailable}, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := newWorld(t, portalSays(c.err)).get(aliceToken).header.Get("Retry-After"); got != c.want {
				t.Errorf("Retry-After is %q, want %q", got, c.want)
			}
		})
	}
}

func TestMethodNotAllowedSaysWhichAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for target, want := range map[string]string{
		aliceToken: "OPTIONS, DELETE, GET", aliceStatus: "OPTIONS, GET", "/v1/clients": "OPTIONS, POST", v1Session: "OPTIONS, POST",
	} {
		if got := w.do(http.MethodPatch, target, "").header.Get("Allow"); got != want {
			t.Errorf("%s: Allow is %q, want %q", target, got, want)
		}
	}
	w.do(http.MethodHead, aliceToken, "").want(t, http.StatusMethodNotAllowed)
	w.do(http.MethodOptions, aliceToken, "").want(t, http.StatusNoContent)
	w.wantUntouched()
}

func TestPortalsFailuresAreLoggedForWhoMustAct(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		level string
	}{
		"passes by itself":       {session.ErrPortalUnavailable, "WARN"},
		"needs somebody":         {session.ErrPortalUnauthorized, "ERROR"},
		"was never thought of":   {errors.New("odd"), "ERROR"},
		"is the caller's affair": {session.ErrClientNotFound, "DEBUG"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, portalSays(c.err))
			w.get(aliceToken)
			if log := w.log.but("answered"); !strings.Contains(log, `"level":"`+c.level+`"`) || strings.Count(log, "\n") != 1 {
				t.Errorf("logged, want one line at %s:\n%s", c.level, log)
			}
		})
	}
}

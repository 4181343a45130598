package proxy_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestTheTokenOfTheClientNamedGoesWithTheRequestAndNothingElseOfTheCallers(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		body, _ = io.ReadAll(r.Body)
	}))
	a := w.do(http.MethodPost, "/api/v3/clients/me/chains/eip155%3A1/assets?b=2&a=%2F&c", `{"to":"0x1"}`, named,
		"Cookie: session=1", "X-Portal-Trace-Id: trace-1", "X-App: kept", "Te: trailers", "Connection: X-Drop, keep-alive", "X-Drop: 1", "Keep-Alive: 5",
		"Proxy-Authorization: Basic x", "X-Http-Method-Override: DELETE", "Content-Type: application/json", "Accept-Encoding: br")
	a.want(t, http.StatusOK)
	if got.RequestURI != "/api/v3/clients/me/chains/eip155%3A1/assets?b=2&a=%2F&c" || string(body) != `{"to":"0x1"}` || got.Method != http.MethodPost {
		t.Errorf("Portal got %s %s with %q", got.Method, got.RequestURI, body)
	}
	got.Header.Del("User-Agent")
	want := http.Header{
		"Authorization": {"Bearer " + w.tokenOf(alice)}, "X-Portal-Trace-Id": {"trace-1"}, "X-App": {"kept"}, "Te": {"trailers"},
		"Content-Type": {"application/json"}, "Content-Length": {"12"}, "Accept-Encoding": {"br"},
	}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]proxy.Pass{{Family: session.RouteClient, Mode: proxy.ModeInject, Outcome: proxy.OutcomeOK}}, w.outcomes(1)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestWhoAsksBehindCallersShowsNothingOfItselfToPortal(t *testing.T) {
	t.Parallel()
	var got http.Header
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }), admitting(anyRoutes))
	w.get(whoAmI, named, w.key, "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-Ip: 10.0.0.1", "Via: 1.1 a", "X-Request-Id: mine").want(t, http.StatusOK)
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via", "X-Request-Id", "X-Portal-Client-Id"} {
		if values := got[name]; values != nil {
			t.Errorf("Portal got %s: %q", name, values)
		}
	}
	if got.Get("Authorization") != "Bearer "+w.tokenOf(alice) {
		t.Error("Portal did not get the client's token")
	}
}

func TestPortalsAnswerComesAsItIs(t *testing.T) {
	t.Parallel()
	zipped := &strings.Builder{}
	zip := gzip.NewWriter(zipped)
	_, _ = zip.Write([]byte("text"))
	_ = zip.Close()
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Link", "</early>")
		w.WriteHeader(http.StatusEarlyHints)
		for _, cookie := range []string{"a=1", "b=2"} {
			w.Header().Add("Set-Cookie", cookie)
		}
		w.Header().Set("Cache-Control", "max-age=7")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("X-Request-Id", "portals-own")
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, zipped.String())
		w.Header().Set("X-Sum", "42")
	}))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+whoAmI, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Portal-Client-Id", alice)
	answer, err := (&http.Transport{DisableCompression: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil || string(body) != zipped.String() || answer.StatusCode != http.StatusTeapot {
		t.Errorf("%d %q, %v", answer.StatusCode, body, err)
	}
	answer.Header.Del("Date")
	want := http.Header{
		"Set-Cookie": {"a=1", "b=2"}, "Cache-Control": {"max-age=7"}, "Content-Encoding": {"gzip"}, "X-Request-Id": {"portals-own"}, "Link": {"</early>"},
	}
	if diff := cmp.Diff(want, answer.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"42"}}, answer.Trailer); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
}

func TestAnAnswerComesAsItIsMade(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-goOn
		_, _ = io.WriteString(w, "last")
	}))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+whoAmI, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Portal-Client-Id", alice)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	first := make([]byte, 5)
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "first" {
		t.Errorf("got %q, %v before the last was made", first, err)
	}
	if kind, ok := answer.Header["Content-Type"]; ok {
		t.Errorf("Content-Type is %q, and Portal said nothing of it", kind)
	}
	close(goOn)
	if rest, err := io.ReadAll(answer.Body); err != nil || string(rest) != "last" {
		t.Errorf("then got %q, %v", rest, err)
	}
}

func TestAnEnclaveRequestGoesToTheMPCService(t *testing.T) {
	t.Parallel()
	var got string
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) { got = r.Method + " " + r.RequestURI }))
	w.do(http.MethodPost, "/enclave/v1/raw/sign/SECP256K1?x=1", "{}", named).want(t, http.StatusOK)
	if want := "POST /v1/raw/sign/SECP256K1?x=1"; got != want {
		t.Errorf("it got %s, want %s", got, want)
	}
	w.get("/enclave/v1/sign", named).wantProblem(t, "method_not_allowed")
}

func TestWhatPortalAcceptsSlidesTheTokenAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	for status, slides := range map[int]bool{200: true, 204: true, 302: false, 400: false, 403: false, 404: false, 429: false, 500: false, 503: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
			w.fetch()
			w.clock.advance(recently)
			w.get(whoAmI, named).want(t, status)
			w.broker.Close(t.Context()) // which waits for what is being written
			token, _ := w.store.Load(t.Context(), alice)
			if got := token.ActiveAt.Equal(epoch().Add(recently)); got != slides {
				t.Errorf("active at %s, a while after the mint: %t, want %t", token.ActiveAt, got, slides)
			}
		})
	}
}

func TestADeviceIsKnownByItsToken(t *testing.T) {
	t.Parallel()
	var got http.Header
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }), admitting(anyRoutes))
	first := w.do(http.MethodGet, aliceToken, "", w.key)
	first.want(t, http.StatusOK)
	bearer := "Authorization: Bearer " + w.tokenOf(alice)
	w.get(whoAmI, bearer, "Cookie: a=1", "X-Forwarded-For: 10.0.0.1").want(t, http.StatusOK)
	if got.Get("Authorization") != strings.TrimPrefix(bearer, "Authorization: ") || got.Get("Cookie") != "a=1" || got["X-Forwarded-For"] != nil {
		t.Errorf("Portal got %v", got)
	}
	got = nil
	for name, header := range map[string]string{
		"none": "X-None: 1", "another scheme": "Authorization: Basic " + w.tokenOf(alice), "one that nobody made": bearer + "x", "an empty one": "Authorization: Bearer ",
	} {
		w.get(whoAmI, header).wantProblem(t, "token_unknown")
		if got != nil {
			t.Errorf("%s: Portal was asked", name)
		}
	}
	w.remove(w.key).want(t, http.StatusNoContent)
	w.get(whoAmI, bearer).wantProblem(t, "token_unknown")
	if got != nil {
		t.Error("Portal was asked with a token that was forgotten")
	}
}

func TestA401OfPortalsReachesADeviceAsItIsAndDropsItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `"SESSION_EXPIRED"`)
	}))
	w.fetch()
	a := w.get(whoAmI, "Authorization: Bearer "+w.tokenOf(alice))
	a.want(t, http.StatusUnauthorized)
	if a.body != `"SESSION_EXPIRED"` {
		t.Errorf("it is told %s", a.body)
	}
	if token, _ := w.store.Load(t.Context(), alice); !token.IsZero() {
		t.Error("the dead token is kept")
	}
}

func TestADeadTokenIsReplacedAndTheRequestSentOnceMore(t *testing.T) {
	t.Parallel()
	const body = `{"amount":"1"}`
	var mu sync.Mutex
	dead, bodies := map[string]bool{}, []string(nil)
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, string(text))
		if dead[r.Header.Get("Authorization")] {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	w.fetch()
	dead["Bearer "+w.tokenOf(alice)] = true
	w.do(http.MethodPost, "/api/v1/swaps/quote", body, named).want(t, http.StatusOK)
	if diff := cmp.Diff([]string{body, body}, bodies); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
	if got := w.sim.Stats().Mints; got != 2 {
		t.Errorf("%d mints, want one more", got)
	}
	w.outcomes(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.passed[0].Repeated {
		t.Error("it is not counted as sent once more")
	}
}

func TestWhatMayNotBeSentOnceMoreTellsThatTheTokenWasRejected(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 64<<10+1)
	for name, c := range map[string]struct {
		change []func(*setup)
		path   string
		body   string
		want   int
	}{
		"an Enclave request":                           {nil, "/enclave/v1/sign", "{}", http.StatusBadGateway},
		"a body that is not kept":                      {nil, "/api/v1/swaps/quote", large, http.StatusBadGateway},
		"the longest body that is":                     {nil, "/api/v1/swaps/quote", large[1:], http.StatusOK},
		"an Enclave request, where that was asked for": {[]func(*setup){func(s *setup) { s.repeats = session.Families() }}, "/enclave/v1/sign", "{}", http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w *world
			judging := passingTo(func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if !w.sim.Accepts(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
					rw.WriteHeader(http.StatusUnauthorized)
				}
			})
			w = newWorld(t, append([]func(*setup){judging}, c.change...)...)
			w.fetch()
			w.sim.KillClient(alice)
			a := w.do(http.MethodPost, c.path, c.body, named)
			if c.want == http.StatusOK {
				a.want(t, c.want)
				return
			}
			a.wantProblem(t, "token_rejected")
			if token, _ := w.store.Load(t.Context(), alice); !token.IsZero() {
				t.Error("the dead token is kept")
			}
		})
	}
}

// TestATokenThatIsRefusedWhateverItIsCostsNoMintForEach has a route that answers by 401 for another reason.
func TestATokenThatIsRefusedWhateverItIsCostsNoMintForEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	for range 20 {
		w.get(whoAmI, named).wantProblem(t, "token_rejected")
	}
	if got := w.sim.Stats().Mints; got > 2 {
		t.Errorf("20 requests cost %d mints, want the first and one more, which was refused as well", got)
	}
}

const anyRoutes = "\n  - {name: backend, keys: [\"%s\"], routes: ['*'], clients: ['*']}"

func TestACallerNeedsTheFamilyAndTheClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		callers, path, header, code string
	}{
		"without a credential":               {anyRoutes, whoAmI, "X-None: 1", "caller_unauthenticated"},
		"without the family":                 {"\n  - {name: backend, keys: [\"%s\"], routes: [token, enclave], clients: ['*']}", whoAmI, "", "caller_forbidden"},
		"without the client":                 {"\n  - {name: backend, keys: [\"%s\"], routes: [client], clients: [other-]}", whoAmI, "", "caller_forbidden"},
		"with a list of clients, for all":    {"\n  - {name: backend, keys: [\"%s\"], routes: [custodian], clients: [cm]}", "/api/v3/custodians/me/clients", "", "caller_forbidden"},
		"with another client's, at Portal's": {"\n  - {name: backend, keys: [\"%s\"], routes: [custodian], clients: [other-]}", "/api/v3/custodians/me/clients/" + alice, "", "caller_forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, passing, admitting(c.callers))
			header := w.key
			if c.header != "" {
				header = c.header
			}
			a := w.get(c.path, named, header)
			if a.status != http.StatusForbidden || a.problem(t).Code != c.code {
				t.Errorf("%d %s, want 403 %s", a.status, a.body, c.code)
			}
			if got := w.sim.Stats().Requests; got != 0 {
				t.Errorf("Portal was asked %d times", got)
			}
		})
	}
}

func TestOnlyTheCallsListedGoWithThePortalAPIKey(t *testing.T) {
	t.Parallel()
	var got []string
	var mu sync.Mutex
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Method+" "+r.URL.Path)
		if r.Header.Get("Authorization") != "Bearer "+portaltest.DefaultKey {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	const v1, v3 = "/api/v1/custodians/clients", "/api/v3/custodians/me/clients"
	allowed := []string{
		"GET " + v1, "GET " + v1 + "/" + alice, "GET " + v1 + "/" + alice + "/web-otp", "POST " + v1 + "/" + alice + "/web-otp", "POST " + v1 + "/" + alice + "/prepare-eject",
		"GET " + v3, "GET " + v3 + "/" + alice, "POST " + v3 + "/" + alice + "/web-otps", "PATCH " + v3 + "/" + alice + "/enable-eject", "POST " + v3 + "/" + alice + "/prepare-eject", "POST /api/clients",
	}
	for _, call := range allowed {
		method, path, _ := strings.Cut(call, " ")
		w.do(method, path, "", testID).want(t, http.StatusOK)
	}
	if diff := cmp.Diff(allowed, got); diff != "" {
		t.Errorf("calls (-allowed +made):\n%s", diff)
	}
	if w.turns.waited != len(allowed) {
		t.Errorf("%d of them had a turn", w.turns.waited)
	}
	for _, call := range []string{
		"DELETE " + v3 + "/" + alice, "GET " + v3 + "/" + alice + "/keys", "GET /api/v3/custodians/me", "GET /api/v1/custodians/me/api-keys", "PUT " + v1,
		"GET " + v1 + "/a.b", "GET " + v1 + "//", "POST /api/clients/x", "GET /api/clients", "PATCH " + v3 + "/" + alice + "/x/enable-eject", "PATCH " + v3 + "/enable-eject",
	} {
		method, path, _ := strings.Cut(call, " ")
		if a := w.do(method, path, "", testID); a.status != http.StatusForbidden && a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", call, a.status, a.body)
		}
	}
	if len(got) != len(allowed) {
		t.Errorf("also made: %q", got[len(allowed):])
	}
}

func TestAnAnswerToThePortalAPIKeyComesWithoutWhatNeverExpires(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status       int
		header, body string
		want         int
		says         string
	}{
		"nested":                    {200, "application/json", `{"results":[{"id":"a","clientApiKey":"k1","n":12345678901234567890,"deep":{"client_api_key":"k2","x":1e400}}],"custodianApiKey":{"k":"k3"},"Secret":["s"]}`, 200, `{"results":[{"id":"a","n":12345678901234567890,"deep":{"x":1e400}}]}`},
		"an error":                  {404, "application/json; charset=utf-8", `{"error":"no","apiKey":"k"}`, 404, `{"error":"no"}`},
		"the key itself":            {200, "application/json", `["say ` + portaltest.DefaultKey + `",true,null]`, 200, `["",true,null]`},
		"the key itself for a name": {200, "application/json", `{"` + portaltest.DefaultKey + `":1,"a":{"clientApiKeys":["k"]}}`, 200, `{"a":{}}`},
		"a part":                    {206, "application/json", `"k"`, 502, "portal_bad_response"},
		"nothing":                   {204, "", "", 204, ""},
		"the key is refused":        {401, "application/json", `{}`, 502, "portal_unauthorized"},
		"no JSON":                   {200, "text/html", `<p>clientApiKey</p>`, 502, "portal_bad_response"},
		"what only says it is JSON": {200, "application/json", `{"a":1} {"clientApiKey":"k"}`, 502, "portal_bad_response"},
		"too long":                  {200, "application/json", `"` + strings.Repeat("x", 4<<20) + `"`, 502, "portal_bad_response"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
				if c.header != "" {
					w.Header().Set("Content-Type", c.header)
				}
				w.Header().Set("Set-Cookie", "secret=1")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			a := w.get("/api/v3/custodians/me/clients/" + alice)
			if a.status != c.want || c.want < 500 && a.body != c.says || !strings.Contains(a.body, c.says) || a.header["Set-Cookie"] != nil {
				t.Errorf("%d %v %.200s, want %d %s", a.status, a.header, a.body, c.want, c.says)
			}
		})
	}
}

func TestWhatIsToldOfAClientComesWithoutItsPermanentKeyUnlessToItself(t *testing.T) {
	t.Parallel()
	const body = `{"id": "a", "clientApiKey": "permanent"}`
	upstream := passingTo(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
	w := newWorld(t, upstream)
	if a := w.get("/api/v1/clients/me", named); a.body != `{"id":"a"}` {
		t.Errorf("a backend is told %s", a.body)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/api/v1/clients/me", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+w.tokenOf(alice))
	answer, err := w.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if got, err := io.ReadAll(answer.Body); string(got) != body {
		t.Errorf("a device is told %s, %v; want it as it is", got, err)
	}
}

func TestNoPartOfAnAnswerIsAskedForThatMustBeLookedInto(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(`{"id":"a","clientApiKey":"permanent"}`))
	}))
	for _, path := range []string{"/api/v1/clients/me", "/api/v2/clients/me", "/api/v3/custodians/me/clients/" + alice} {
		if a := w.get(path, named, "Range: bytes=25-35"); a.status != http.StatusOK || a.body != `{"id":"a"}` {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := w.get(whoAmI, named, "Range: bytes=1-4"); a.status != http.StatusPartialContent || a.body != `"id"` {
		t.Errorf("of what need not be looked into: %d %s", a.status, a.body)
	}
}

func TestACallerWhoLeavesTakesItsRequestAlong(t *testing.T) {
	t.Parallel()
	came, left := make(chan struct{}), make(chan struct{})
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) {
		close(came)
		<-r.Context().Done()
		close(left)
	}))
	w.fetch()
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-came; leave() }()
	w.doAs(ctx, http.MethodGet, whoAmI, "", named)
	<-left
	if diff := cmp.Diff([]proxy.Pass{{Family: session.RouteClient, Mode: proxy.ModeInject, Outcome: proxy.OutcomeGone}}, w.outcomes(1)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if strings.Contains(w.log.String(), `"level":"ERROR"`) {
		t.Errorf("logged as an error:\n%s", w.log)
	}
}

func TestPortalsOwnWordThatItIsTooMuchPausesTheFleet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }))
	w.get("/api/v3/custodians/me/clients").want(t, http.StatusTooManyRequests)
	if w.turns.paused != 1 {
		t.Errorf("it was paused %d times", w.turns.paused)
	}
}

func TestWhatComesOfARequestThatIsPassedOnIsAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passing)
	w.get(whoAmI, named, testID).want(t, http.StatusOK)
	entries := w.audit.take()
	last := entries[len(entries)-1]
	if last.Event != proxy.EventPassed || last.Client != alice || last.Status != http.StatusOK || last.Route != "passthrough client" || last.TokenID.IsZero() {
		t.Errorf("the last line is %+v", last)
	}
	w.audit.fail(errors.New("no space left on device"))
	if a := w.get(whoAmI, named); a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "wallets") {
		t.Errorf("without a line: %d %s", a.status, a.body)
	}
	w.audit.fail(nil)
	w.get(aliceToken) // its line was written, so that requests are taken again
	w.get(aliceToken)
	w.audit.fail(errors.New("no space left on device"))
	w.do(http.MethodPost, "/enclave/v1/sign", "{}", named).wantUnrepeatable(t, "audit_unavailable")
}

func TestRoomIsForRequestsOfOnesOwnFirst(t *testing.T) {
	t.Parallel()
	arrived, goOn := make(chan struct{}, 10), make(chan struct{})
	w := newWorld(t, passingTo(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-goOn
	}), func(s *setup) { s.inFlight = 4 })
	w.fetch()
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() { w.get(whoAmI, named).want(t, http.StatusOK) })
		<-arrived
	}
	w.get(whoAmI, named).wantProblem(t, "overloaded")
	w.fetch() // a hit has room still
	close(goOn)
	group.Wait()
	w.meter.mu.Lock()
	defer w.meter.mu.Unlock()
	if !slices.Contains(w.meter.shed, "passthrough") {
		t.Errorf("turned away were %q", w.meter.shed)
	}
}

func TestPortalThatDoesNotAnswerIsNoSilence(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	t.Cleanup(func() { close(goOn) })
	hangs := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-goOn:
		}
	}), func(s *setup) { s.passFor = 50 * time.Millisecond })
	hangs.get(whoAmI, named).wantProblem(t, "portal_timeout")
	breaks := newWorld(t, passingTo(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	breaks.do(http.MethodPost, "/enclave/v1/sign", "{}", named).wantUnrepeatable(t, "portal_unavailable")
	if diff := cmp.Diff([]proxy.Pass{{Family: session.RouteEnclave, Mode: proxy.ModeInject, Outcome: proxy.OutcomeUnavailable}}, breaks.outcomes(1)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// wantUnrepeatable wants the problem of a request that may have been carried out: it does not ask for another.
func (a answer) wantUnrepeatable(t *testing.T, code string) {
	t.Helper()
	if p := a.problem(t); p.Code != code || p.Retryable || a.header["Retry-After"] != nil {
		t.Errorf("%d %s, want %s without a word of trying again", a.status, a.body, code)
	}
}

// TestADeviceNeverMeetsA401OfOurOwn has a device ask for what is not passed on, with a token that is cached.
func TestADeviceNeverMeetsA401OfOurOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passing, admitting(anyRoutes), func(s *setup) { s.passes = []session.Route{session.RouteClient} })
	w.do(http.MethodGet, aliceToken, "", w.key).want(t, http.StatusOK)
	bearer := "Authorization: Bearer " + w.tokenOf(alice)
	for _, path := range []string{"/enclave/v1/sign", "//api/v3/clients/me", "/api/v3/clients", "/api/v4/clients/me", "/api/v1/swaps", "/rpc/v2/x", "/api/v3/clients%2Fme", "/", "/api/v3/analytics/track"} {
		if a := w.get(path, bearer); a.status == http.StatusUnauthorized || a.status < 400 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	w.get(aliceToken, bearer).wantProblem(t, "caller_unauthenticated") // which is a route of ours
}

// TestARequestThatMayHaveComeIsNotSentAgain has Portal take a request and close a connection that served before.
func TestARequestThatMayHaveComeIsNotSentAgain(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	came := 0
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/v1/sign" {
			came++
			panic(http.ErrAbortHandler)
		}
	}))
	for range 3 {
		w.get(whoAmI, named).want(t, http.StatusOK) // so that there is a connection that is used again
		w.do(http.MethodPost, "/enclave/v1/sign", "", named, "Idempotency-Key: 1").wantUnrepeatable(t, "portal_unavailable")
	}
	mu.Lock()
	defer mu.Unlock()
	if came != 3 {
		t.Errorf("3 requests came %d times", came)
	}
}

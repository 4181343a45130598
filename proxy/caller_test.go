package proxy_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// backend is a callers file's caller that may everything; %s is where its key's line goes.
const backend = `
  - name: backend
    keys: ["%s"]
    routes: ["*"]
    clients: ["*"]`

// admitting has a callers file with that one caller, and a clock that stands still but for the test.
func admitting(entry string) func(*setup) {
	return func(s *setup) {
		key, line := caller.NewKey()
		callers, err := caller.New([]byte("callers:"+fmt.Sprintf(entry, line)+"\n"), caller.Parts{Now: s.Now})
		if err != nil {
			panic(err)
		}
		s.callers, s.key = callers, "Authorization: Bearer "+key
	}
}

// allowed is a callers file's caller that may use these routes for these clients.
func allowed(routes, clients string) string {
	return "\n  - {name: backend, keys: [\"%s\"], routes: [" + routes + "], clients: [" + clients + "]}"
}

// patterns :: request → the route that a caller must be allowed
func patterns() map[string]session.Route {
	return map[string]session.Route{
		"GET " + aliceToken:     session.RouteToken,
		"DELETE " + aliceToken:  session.RouteForget,
		"POST " + aliceActivity: session.RouteActivity,
		"GET " + aliceStatus:    session.RouteInspect,
		"POST /v1/clients":      session.RouteRegister,
		"POST " + v1Session:     session.RouteToken,
		"POST " + v3Session:     session.RouteToken,
		"POST " + v1Clients:     session.RouteRegister,
		"POST " + v3Clients:     session.RouteRegister,
	}
}

func TestEveryRouteAsksWhoItIsAndWhatTheyMay(t *testing.T) {
	t.Parallel()
	for pattern, route := range patterns() {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			method, target, _ := strings.Cut(pattern, " ")
			var others []string
			for _, other := range session.Routes() {
				if other != route {
					others = append(others, string(other))
				}
			}
			ask := func(w *world, header ...string) answer { return w.do(method, target, "", header...) }

			stranger := newWorld(t, admitting(backend))
			a := ask(stranger)
			a.wantProblem(t, "caller_unauthenticated")
			if got := a.header.Get("WWW-Authenticate"); got != `Bearer realm="cstproxy"` {
				t.Errorf("WWW-Authenticate is %q", got)
			}
			ask(stranger, stranger.key+"x").wantProblem(t, "caller_unauthenticated")
			stranger.wantUntouched()

			other := newWorld(t, admitting(allowed(strings.Join(others, ", "), `"*"`)))
			ask(other, other.key).wantProblem(t, "caller_forbidden")
			other.wantUntouched()

			own := newWorld(t, admitting(allowed(string(route), `"cm0r"`)))
			if got := ask(own, own.key).status; got >= 400 && got != http.StatusNotFound { // nothing is cached for an activity
				t.Errorf("status %d for who may", got)
			}
			if route == session.RouteRegister {
				return
			}
			elsewhere := newWorld(t, admitting(allowed(string(route), `cm0r6nkek00ej10dwwx8wdjmf0, CM0R, m0r`)))
			ask(elsewhere, elsewhere.key).wantProblem(t, "caller_forbidden")
			elsewhere.wantUntouched()
		})
	}
}

func TestStrangersLearnNotWhichRoutesThereAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, admitting(backend))
	for _, request := range []string{"GET /", "GET /v2/clients", "PATCH " + aliceToken, "OPTIONS " + aliceToken, "HEAD " + aliceToken, "GET /metrics", "GET /v1/clients/a!/token", "GET /openapi.yaml"} {
		method, target, _ := strings.Cut(request, " ")
		a := w.do(method, target, "")
		a.want(t, http.StatusUnauthorized)
		if allow := a.header.Get("Allow"); allow != "" {
			t.Errorf("%s: Allow is %q", request, allow)
		}
	}
	w.get("/v2/clients", w.key).wantProblem(t, "route_not_found")
	w.wantUntouched()
}

// An Idempotency-Key returns a client with its token, which the second caller could not have asked for by its id.
func TestIdempotencyKeyOfAnotherCallerIsAnotherKey(t *testing.T) {
	t.Parallel()
	first, firstLine := caller.NewKey()
	second, secondLine := caller.NewKey()
	w := newWorld(t, func(s *setup) {
		file := fmt.Sprintf("callers:\n- {name: a, keys: [%q], routes: [register], clients: [a]}\n- {name: b, keys: [%q], routes: [register], clients: [b]}\n", firstLine, secondLine)
		callers, err := caller.New([]byte(file), caller.Parts{Now: s.Now})
		if err != nil {
			t.Fatal(err)
		}
		s.callers = callers
	})
	register := func(key string) string {
		return w.post("/v1/clients", "", "Idempotency-Key: order-1", "Authorization: Bearer "+key).token(t, http.StatusCreated).ID
	}
	one, two := register(first), register(second)
	if one == two {
		t.Error("two callers got the same client by the same key")
	}
	if again := register(first); again != one {
		t.Errorf("a repeat made client %s beside %s", again, one)
	}
}

func TestCallerMayAskAsOftenAsItsRateAndNoOftener(t *testing.T) {
	t.Parallel()
	w := newWorld(t, admitting(backend+"\n    rate: 3/m"))
	for range 3 {
		w.get(aliceToken, w.key).want(t, http.StatusOK)
	}
	a := w.get(aliceToken, w.key)
	a.wantProblem(t, "caller_rate_limited")
	if wait := a.header.Get("Retry-After"); wait != "20" {
		t.Errorf("Retry-After is %q, want a third of a minute", wait)
	}
	w.clock.advance(20*time.Second - 1)
	w.get(aliceToken, w.key).wantProblem(t, "caller_rate_limited")
	w.clock.advance(1)
	w.get(aliceToken, w.key).want(t, http.StatusOK)
	w.get("/v2/clients", w.key).wantProblem(t, "caller_rate_limited") // what leads nowhere counts as well
}

// TestBackendThatAsksByFetchIsServed has the headers that Node.js's fetch sends by itself.
func TestBackendThatAsksByFetchIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.raw("GET " + aliceToken + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\nAccept: */*\r\nAccept-Language: *\r\n" +
		"Sec-Fetch-Mode: cors\r\nUser-Agent: node\r\nAccept-Encoding: gzip, deflate\r\n\r\n")
	a.want(t, http.StatusOK)
}

func TestLoopbackRefusesWhatABrowserOrAServerInBetweenSends(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"Origin: https://app.example", "Origin: null", "Origin: http://127.0.0.1", "Origin: ", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate",
		"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Mode: ", "Sec_Fetch_Mode: cors", "Sec-Fetch-Mode: cors\r\nSec-Fetch-Mode: cors",
		"Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors\r\nOrigin: null",
		"Sec-Ch-Ua: x", "Forwarded: for=127.0.0.1", "Forwarded: ", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost", "X-Forwarded-Uri: /", "X-Forwarded-Proto: https",
		"X-Forwarded: 1", "X-Forwarded-User: admin", "x-forwarded-for: ::1", "X_Forwarded_For: 127.0.0.1", "X-Forwarded_For: 127.0.0.1", "X-Real-IP: 127.0.0.1",
		"X-Original-URL: /", "X-Original-Uri: /", "X-Original-Method: OPTIONS", "X-Rewrite-URL: /", "True-Client-IP: 127.0.0.1", "X-Client-IP: 127.0.0.1", "Via: 1.1 proxy",
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for pattern := range patterns() {
				w.raw(pattern+" HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\nContent-Length: 0\r\n\r\n").wantProblem(t, "caller_forbidden")
			}
			w.wantUntouched()
		})
	}
	for _, host := range []string{
		"attacker.example", "localhost.attacker.example", "attacker-localhost", "127.0.0.1.nip.io", "127.0.0.1.attacker.example:80", "attacker.localhost",
		"localhost.", "0.0.0.0", "0", "2130706433", "0x7f000001", "127.1", "169.254.169.254", "10.0.0.1:8080", "[::]", "[::2]:80", "[fe80::1]", "cstproxy", "unix", "", "%2Frun%2Fcst.sock",
		"localhost@attacker.example", "localhost:80:80", "1localhost", "l\u00f6calhost", "[localhost",
	} {
		t.Run("Host "+host, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.raw("GET " + aliceToken + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
			if a.status != http.StatusForbidden && a.status != http.StatusBadRequest { // net/http refuses what is no Host at all
				t.Errorf("status %d", a.status)
			}
			w.wantUntouched()
		})
	}
	for _, host := range []string{"localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:8080", "127.8.9.1", "[::1]", "[::1]:8080"} {
		t.Run("own Host "+host, func(t *testing.T) {
			t.Parallel()
			newWorld(t).raw("GET "+aliceToken+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n").want(t, http.StatusOK)
		})
	}
}

func TestNoAnswerLetsAnotherOriginRead(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]*world{"anybody": newWorld(t), "a caller": newWorld(t, admitting(backend))} {
		for _, method := range []string{"GET", "OPTIONS", "HEAD"} {
			for _, origin := range [][]string{nil, {"Origin: https://app.example", "Access-Control-Request-Method: GET"}} {
				header := slices.Clone(origin)
				if w.key != "" {
					header = append(header, w.key)
				}
				for field := range w.do(method, aliceToken, "", header...).header {
					if strings.HasPrefix(field, "Access-Control") {
						t.Errorf("%s, %s: %s", name, method, field)
					}
				}
			}
		}
	}
}

func TestCallersFileThatBreaksGivesNobodyAToken(t *testing.T) {
	t.Parallel()
	key, line := caller.NewKey()
	file := "callers:" + fmt.Sprintf(backend, line) + "\n"
	callers, err := caller.New([]byte(file), caller.Parts{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(s *setup) { s.callers = callers })
	tried := 0
	for _, broken := range []string{"", "\n", "callers: []\n", "callers:\n", "{}\n", "\x00\n", file[:len(file)/2], file + "anything: else\n", strings.Replace(file, "sha256:", "", 1)} {
		if err := callers.Reload([]byte(broken)); err == nil {
			t.Errorf("taken: %q", broken)
		}
		for pattern := range patterns() {
			method, target, _ := strings.Cut(pattern, " ")
			for _, credential := range []string{"", "Authorization: Bearer cstp_" + strings.Repeat("A", 43), "Authorization: Bearer " + line, "Authorization: Bearer "} {
				tried++
				w.do(method, target, "", cmp.Or(credential, "X-None: none")).wantProblem(t, "caller_unauthenticated")
			}
		}
	}
	w.wantUntouched()
	w.get(aliceToken, "Authorization: Bearer "+key).want(t, http.StatusOK) // who was known still is
	t.Logf("%d requests while the file was broken, 0 tokens", tried)
}

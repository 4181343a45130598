package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// wantTurnedAway checks that the answer is a refusal, and that nobody behind the proxy heard of the request.
func (w *world) wantTurnedAway(a answer) {
	w.t.Helper()
	byHTTP := a.status == http.StatusNotImplemented || a.status == http.StatusHTTPVersionNotSupported
	if a.status < 400 || a.status > 499 && !byHTTP {
		w.t.Errorf("status %d, want a refusal: %s", a.status, a.body)
	}
	if len(a.body) > 1000 {
		w.t.Errorf("the refusal has %d characters", len(a.body))
	}
	if a.header.Get("X-Injected") != "" {
		w.t.Error("a header came back that the caller made up")
	}
	w.wantUntouched()
}

func TestClientIDsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{
		"empty":                             "",
		"dots":                              "..",
		"a dot":                             ".",
		"encoded dots":                      "%2e%2e",
		"dots encoded twice":                "%252e%252e",
		"an encoded slash":                  "a%2fb",
		"an encoded slash, upper case":      "a%2Fb",
		"an encoded backslash":              "a%5cb",
		"a backslash":                       `a\b`,
		"dots out and in again":             "../../../api/v1/custodians/clients/" + alice,
		"encoded dots out":                  "..%2f..%2f" + alice,
		"an encoded NUL":                    "a%00b",
		"an encoded NUL at the end":         alice + "%00",
		"an encoded line":                   "a%0d%0aX-Injected:%20yes",
		"an encoded line at the end":        alice + "%0a",
		"a good one in disguise":            "%63m0r6nkek00ej10dwwx8wdjmf",
		"a bad escape":                      "%zz",
		"half an escape":                    "a%2",
		"129 characters":                    strings.Repeat("a", 129),
		"5,000 characters":                  strings.Repeat("a", 5000),
		"5,000 escapes":                     strings.Repeat("%41", 2000),
		"letters of others":                 "алиса",
		"letters of others, encoded":        "%D0%B0%D0%BB%D0%B8%D1%81%D0%B0",
		"letters that look alike":           "ｃm0r6nkek00ej10dwwx8wdjmf",
		"not even UTF-8":                    "a\xff\xfe",
		"a right-to-left mark":              "a%E2%80%AEb",
		"a space, encoded":                  "a%20b",
		"a plus":                            "a+b",
		"a semicolon":                       alice + ";v=1",
		"a wildcard":                        "*",
		"a parameter's own name":            ":clientId",
		"a brace, as Redis has for its own": "{a}",
		"a question mark, encoded":          alice + "%3fminTtl=2h",
		"a number sign, encoded":            "%23",
		"SQL":                               "a'%20OR%201=1--",
		"markup":                            "<script>",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, route := range []string{
				"GET /v1/clients/%s/token", "DELETE /v1/clients/%s/token", "POST /v1/clients/%s/activity",
				"POST /api/v1/custodians/clients/%s/session", "POST /api/v3/custodians/me/clients/%s/sessions",
			} {
				w.wantTurnedAway(w.raw(fmt.Sprintf(route, id) + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"))
			}
			if id != "" { // which is the place for registrations, for which this is the wrong method
				w.wantTurnedAway(w.raw("GET /v1/clients/" + id + " HTTP/1.1\r\nHost: localhost\r\n\r\n"))
			}
		})
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	t.Parallel()
	const host = "\r\nHost: localhost\r\n"
	get := "GET " + aliceToken + " HTTP/1.1" + host
	register := "POST /v1/clients HTTP/1.1" + host
	for name, text := range map[string]string{
		"a line end in the path":                 "GET /v1/clients/a\r\nX-Injected: yes/token HTTP/1.1" + host + "\r\n",
		"a NUL in the path":                      "GET /v1/clients/a\x00b/token HTTP/1.1" + host + "\r\n",
		"a tab in the path":                      "GET /v1/clients/a\tb/token HTTP/1.1" + host + "\r\n",
		"a space in the path":                    "GET /v1/clients/a b/token HTTP/1.1" + host + "\r\n",
		"an empty place in the path":             "GET /v1//clients/" + alice + "/token HTTP/1.1" + host + "\r\n",
		"an empty place before the path":         "GET /" + aliceToken + " HTTP/1.1" + host + "\r\n",
		"a slash behind the path":                "GET " + aliceToken + "/ HTTP/1.1" + host + "\r\n",
		"dots behind the path":                   "GET " + aliceToken + "/.. HTTP/1.1" + host + "\r\n",
		"a path in upper case":                   "GET " + strings.ToUpper(aliceToken) + " HTTP/1.1" + host + "\r\n",
		"a path that starts with no slash":       "GET v1/clients/" + alice + "/token HTTP/1.1" + host + "\r\n",
		"no path":                                "GET HTTP/1.1" + host + "\r\n",
		"a star":                                 "GET * HTTP/1.1" + host + "\r\n",
		"another server's URL":                   "GET http://api.portalhq.io/api/v3/clients/me HTTP/1.1" + host + "\r\n",
		"another server's URL, with dots":        "GET http://api.portalhq.io/v1/clients/../token HTTP/1.1" + host + "\r\n",
		"another scheme":                         "GET file:///etc/passwd HTTP/1.1" + host + "\r\n",
		"a tunnel":                               "CONNECT api.portalhq.io:443 HTTP/1.1" + host + "\r\n",
		"an admin path":                          "GET /metrics HTTP/1.1" + host + "\r\n",
		"Portal's list of clients":               "GET " + v1Clients + " HTTP/1.1" + host + "\r\n",
		"Portal's client, with its key":          "GET " + v1Clients + "/" + alice + " HTTP/1.1" + host + "\r\n",
		"a client's own Portal":                  "GET /api/v3/clients/me HTTP/1.1" + host + "\r\n",
		"a method in lower case":                 "get " + aliceToken + " HTTP/1.1" + host + "\r\n",
		"a method from a header":                 "POST " + aliceToken + " HTTP/1.1" + host + "X-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n\r\n",
		"no Host":                                "GET " + aliceToken + " HTTP/1.1\r\n\r\n",
		"two Hosts":                              get + "Host: other\r\n\r\n",
		"a Host with a slash":                    "GET " + aliceToken + " HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"two lengths":                            register + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"a negative length":                      register + "Content-Length: -1\r\n\r\n",
		"an odd coding":                          register + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a chunk of no size":                     register + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
		"a body shorter than it said":            register + "Content-Length: 20\r\nConnection: close\r\n\r\n" + `{"isAccountAbstracted":true`,
		"a header with a space in its name":      get + "X A: b\r\n\r\n",
		"a header without a name":                get + ": b\r\n\r\n",
		"a header with a NUL":                    get + "X-Request-Id: a\x00b\r\n\r\n",
		"a header with a bare line feed":         register + "Idempotency-Key: a\rX-Injected: yes\r\nContent-Length: 0\r\n\r\n",
		"a key twice":                            register + "Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n\r\n",
		"a condition twice, once wrong":          "DELETE " + aliceToken + " HTTP/1.1" + host + `If-Match: "` + otherID + "\"\r\nIf-Match: x\r\n\r\n",
		"a long query":                           "GET " + aliceToken + "?minTtl=" + strings.Repeat("1", 5000) + " HTTP/1.1" + host + "\r\n",
		"a query of many parameters":             "GET " + aliceToken + "?" + strings.Repeat("rejected=x&", 800) + " HTTP/1.1" + host + "\r\n",
		"more header than anybody needs":         get + "X-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"more query than anybody needs":          "GET " + aliceToken + "?" + strings.Repeat("a", 64<<10) + " HTTP/1.1" + host + "\r\n",
		"a request within a request's query":     "GET " + aliceToken + "?%0d%0aX-Injected:%20yes HTTP/1.1" + host + "\r\n",
		"a new version of HTTP":                  "GET " + aliceToken + " HTTP/4.0" + host + "\r\n",
		"what is TLS":                            "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
		"JSON nested deep":                       register + "Content-Length: 40000\r\n\r\n" + strings.Repeat(`{"a":`, 8000),
		"JSON with an id that ends the document": "POST " + aliceActivity + " HTTP/1.1" + host + "Content-Length: 25\r\n\r\n" + `{"tokenId":"\u0000\"}\n"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.wantTurnedAway(w.raw(text))
		})
	}
}

func TestTooMuchHeaderIsNamedSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.raw("GET " + aliceToken + " HTTP/1.1\r\nHost: localhost\r\nX-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n")
	a.want(t, http.StatusRequestHeaderFieldsTooLarge)
}

// A server must take a whole URL for its target (RFC 9112 section 3.2.2), and must not go there. Where nobody is asked who
// they are it is refused as well: its host replaces the Host, by which a page in a browser is known.
func TestWholeURLIsServedFromHereToWhoIsKnown(t *testing.T) {
	t.Parallel()
	const target = "GET http://elsewhere.example" + aliceToken + " HTTP/1.1\r\nHost: elsewhere.example\r\n"
	w := newWorld(t, admitting(backend))
	if d := w.raw(target+w.key+"\r\n\r\n").token(t, http.StatusOK); d.ID != alice {
		t.Errorf("answered for %s", d.ID)
	}
	w.wantMints(1)
	anybody := newWorld(t)
	anybody.wantTurnedAway(anybody.raw(target + "\r\n"))
	anybody.wantTurnedAway(anybody.raw("GET http://localhost" + aliceToken + " HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"))
}

func TestTwoRequestIDsCountAsTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.raw("GET /nowhere HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n")
	if ids := a.header.Values("X-Request-Id"); len(ids) != 1 || ids[0] != "a" {
		t.Errorf("X-Request-Id is %q", ids)
	}
}

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// upstream is a Portal that says yes to everything, and keeps what reached it.
type upstream struct {
	*httptest.Server

	// bytes counts all that came over any connection.
	bytes atomic.Int64
	mu    sync.Mutex
	came  []arrival
}

// arrival is a request as Portal would read it.
type arrival struct {
	*http.Request

	body string
	err  error
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	portal := portaltest.New(portaltest.Options{AnyClient: true})
	u := &upstream{}
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/session") {
			portal.ServeHTTP(w, r)
			return
		}
		var kept bytes.Buffer
		_, err := io.CopyN(&kept, r.Body, 1<<10)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		u.mu.Lock()
		u.came = append(u.came, arrival{r, kept.String(), err})
		u.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	u.Listener = countingListener{u.Listener, &u.bytes}
	u.Start()
	t.Cleanup(func() { portal.Close(); u.Close() })
	return u
}

// take returns what came since it was last called, and forgets it.
func (u *upstream) take() (came []arrival, bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	came, u.came = u.came, nil
	return came, u.bytes.Swap(0)
}

type countingListener struct {
	net.Listener
	bytes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return counting{conn, l.bytes}, err
}

type counting struct {
	net.Conn
	bytes *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

// passage is a proxy that passes everything on which it may, with a token for alice at hand.
type passage struct {
	*child
	upstream *upstream
	// headers are those that a request of the backend has, credential is all that Portal gets to see of it.
	headers, credential string
}

func newPassage(t *testing.T, environ ...string) *passage {
	t.Helper()
	u := newUpstream(t)
	key, line := caller.NewKey()
	file := writeFile(t, `callers: [{name: backend, keys: ["`+line+`"], routes: ["*"], clients: ["*"]}]`+"\n")
	c := serve(t, append([]string{
		"PORTAL_API_URL=" + u.URL, "PORTAL_MPC_URL=" + u.URL, "PORTAL_API_KEY=" + portaltest.DefaultKey, "CSTPROXY_REFRESH=observe",
		"CSTPROXY_CALLERS_FILE=" + file, "CSTPROXY_PASSTHROUGH=client,enclave,custodian",
	}, environ...)...)
	got, err := c.ask(http.MethodGet, c.data+"/v1/clients/alice/token", "", "Authorization: Bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	alice, err := got.token()
	if err != nil {
		t.Fatal(err)
	}
	u.take()
	return &passage{c, u, "Host: localhost\r\nAuthorization: Bearer " + key + "\r\nX-Portal-Client-Id: alice\r\n", "Bearer " + alice.Secret}
}

// dial opens a connection that says what it has to say within a while.
func (p *passage) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.data, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// statuses reads the answers until the connection ends.
func (p *passage) statuses(t *testing.T, conn net.Conn) (statuses []int) {
	t.Helper()
	answers := bufio.NewReader(conn)
	for {
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
			return statuses
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		statuses = append(statuses, answer.StatusCode)
	}
}

// last is the request that goes after each: it ends the connection.
const last = "GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

const (
	me   = "GET /api/v3/clients/me HTTP/1.1\r\n"
	sign = "POST /enclave/v1/sign HTTP/1.1\r\n"
)

// smuggling :: attempt -> its bytes, where HEAD stands for the header of a good request. Each gets a 4xx, and nothing of it
// reaches Portal.
var smuggling = map[string]string{
	// Lines.
	"LF alone":                  "GET /api/v3/clients/me HTTP/1.1\nHost: localhost\n\n",
	"LF after the request line": "GET /api/v3/clients/me HTTP/1.1\nHEAD\r\n",
	"LF after a field":          me + "HEADX: y\n\r\n",
	"LF before a header":        me + "HEADX: y\nX-Portal-Client-Id: bob\r\n\r\n",
	"LF for the last line":      me + "HEAD\n",
	"CR alone":                  me + "HEADX: y\rX-Portal-Client-Id: bob\r\n\r\n",
	"NUL in a value":            me + "HEADX: a\x00b\r\n\r\n",
	"NUL in a name":             me + "HEADX\x00: b\r\n\r\n",
	"a folded line":             me + "HEADX: y\r\n X-Portal-Client-Id: bob\r\n\r\n",
	"white space first":         me + " X: y\r\nHEAD\r\n",
	"white space before colon":  me + "HEADX : y\r\n\r\n",
	"a line without colon":      me + "HEADXY\r\n\r\n",
	"a field without name":      me + "HEAD: y\r\n\r\n",
	"a name beyond ASCII":       me + "HEADX\xc3\xa9: y\r\n\r\n",
	"two spaces":                "GET  /api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"a tab for a space":         "GET\t/api/v3/clients/me\tHTTP/1.1\r\nHEAD\r\n",
	"a space in the target":     "GET /api/v3/clients/me /x HTTP/1.1\r\nHEAD\r\n",

	// Lengths and codings.
	"two equal lengths":        sign + "HEADContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"two lengths":              sign + "HEADContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
	"two lengths in one":       sign + "HEADContent-Length: 2, 2\r\n\r\n{}",
	"a length with a sign":     sign + "HEADContent-Length: +2\r\n\r\n{}",
	"a negative length":        sign + "HEADContent-Length: -2\r\n\r\n{}",
	"a hexadecimal length":     sign + "HEADContent-Length: 0x2\r\n\r\n{}",
	"an octal length":          sign + "HEADContent-Length: 2_0\r\n\r\n{}",
	"an immense length":        sign + "HEADContent-Length: 18446744073709551618\r\n\r\n{}",
	"a length and chunks":      sign + "HEADContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunks and a length":      sign + "HEADTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"xchunked":                 sign + "HEADTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"chunked, identity":        sign + "HEADTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	"identity":                 sign + "HEADTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
	"gzip, chunked":            sign + "HEADTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"chunked twice":            sign + "HEADTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunked and identity":     sign + "HEADTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
	"chunked after VT":         sign + "HEADTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
	"chunked in quotes":        sign + "HEADTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
	"chunked, folded":          sign + "HEADTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	"chunked, space before":    sign + "HEAD Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunked, space after":     sign + "HEADTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"chunked with underscore":  sign + "HEADTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunked in HTTP/1.0":      "POST /enclave/v1/sign HTTP/1.0\r\nHEADTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a length with underscore": sign + "HEADContent_Length: 40\r\n\r\n",

	// Chunks.
	"a chunk's line in LF":        sign + "HEADTransfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
	"an extension in LF":          sign + "HEADTransfer-Encoding: chunked\r\n\r\n2;a\n{}\r\n0\r\n\r\n",
	"CR in an extension":          sign + "HEADTransfer-Encoding: chunked\r\n\r\n2;a\rb\r\n{}\r\n0\r\n\r\n",
	"LF in an extension's text":   sign + "HEADTransfer-Encoding: chunked\r\n\r\n2;a=\"\n\"\r\n{}\r\n0\r\n\r\n",
	"a chunk that goes on":        sign + "HEADTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
	"a chunk with a sign":         sign + "HEADTransfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
	"a chunk of 0x2":              sign + "HEADTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
	"a chunk of 2^64 + 2":         sign + "HEADTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
	"a chunk without size":        sign + "HEADTransfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n",
	"a trailer that is a request": sign + "HEADTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nGET /api/v3/clients/me HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 5<<10) + "\r\n\r\n",
	"a trailer in LF":             sign + "HEADTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX y\n\nGET /api/v3/clients/me HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"an endless extension":        sign + "HEADTransfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("a", 8<<10) + "\r\n{}\r\n0\r\n\r\n",

	// Headers.
	"Connection: Authorization":           me + "HEADConnection: Authorization\r\n\r\n",
	"Connection: close, authorization":    me + "HEADConnection: close, authorization\r\n\r\n",
	"Connection: X-Portal-Client-Id":      me + "HEADConnection: X-Portal-Client-Id\r\n\r\n",
	"Connection: Content-Length":          sign + "HEADConnection: Content-Length\r\nContent-Length: 2\r\n\r\n{}",
	"X_Forwarded_For":                     me + "HEADX_Forwarded_For: 127.0.0.1\r\n\r\n",
	"X_Portal_Client_Id":                  me + "HEADX_Portal_Client_Id: bob\r\n\r\n",
	"two clients":                         me + "HEADX-Portal-Client-Id: bob\r\n\r\n",
	"two clients in one":                  me + strings.Replace("HEAD", "HEAD", "Host: localhost\r\nX-Portal-Client-Id: alice, bob\r\n", 1) + "\r\n",
	"no client":                           me + "Host: localhost\r\nX-Portal-Client-Id:\r\n\r\n",
	"a client that is a path":             me + "Host: localhost\r\nX-Portal-Client-Id: ../alice\r\n\r\n",
	"two credentials":                     me + "HEADAuthorization: Bearer x\r\n\r\n",
	"two hosts":                           me + "HEADHost: attacker.example\r\n\r\n",
	"no host":                             me + "X-Portal-Client-Id: alice\r\n\r\n",
	"a host with a path":                  me + "Host: localhost/x\r\nX-Portal-Client-Id: alice\r\n\r\n",
	"an unknown token":                    me + "Host: localhost\r\nAuthorization: Bearer x\r\n\r\n",
	"no token":                            me + "Host: localhost\r\n\r\n",
	"an expectation that can't be met":    sign + "HEADExpect: 200-ok\r\nContent-Length: 2\r\n\r\n{}",
	"a header of 100 KiB":                 me + "HEADX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n",
	"a header of 100 KiB in many fields":  me + "HEAD" + strings.Repeat("X: yyyyyyyy\r\n", 8<<10) + "\r\n",
	"a call that needs the Key":           "POST /api/v1/custodians/clients/alice/eject HTTP/1.1\r\nHEAD\r\n",
	"a call by a path that is not a path": "GET /api/v1/custodians/clients/alice%2Fweb-otp HTTP/1.1\r\nHEAD\r\n",

	// Methods, versions and forms.
	"CONNECT":                 "CONNECT localhost:443 HTTP/1.1\r\nHEAD\r\n",
	"CONNECT to a path":       "CONNECT /api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"TRACE":                   "TRACE /api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"OPTIONS":                 "OPTIONS /api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"a method in small":       "get /api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"GET of the enclave":      "GET /enclave/v1/sign HTTP/1.1\r\nHEAD\r\n",
	"an authority":            "GET localhost:8080 HTTP/1.1\r\nHEAD\r\n",
	"an asterisk":             "GET * HTTP/1.1\r\nHEAD\r\n",
	"no slash":                "GET api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"a whole URL":             "GET http://localhost/api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"a whole URL elsewhere":   "GET https://attacker.example/api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"a whole URL with a name": "GET http://a:b@localhost/api/v3/clients/me HTTP/1.1\r\nHEAD\r\n",
	"HTTP/0.9":                "GET /api/v3/clients/me\r\n",
	"HTTP/2":                  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"HTTP/1.x":                "GET /api/v3/clients/me HTTP/1.x\r\nHEAD\r\n",
	"http/1.1":                "GET /api/v3/clients/me http/1.1\r\nHEAD\r\n",
}

// traversals are targets that mean one place to one server and another to the next.
var traversals = []string{
	"//api/v3/clients/me", "/api//v3/clients/me", "/api/v3/clients/me//x", "//attacker.example/api/v3/clients/me", "/api/v3/clients/me/",
	"/./api/v3/clients/me", "/api/v3/clients/./me", "/api/v3/clients/me/.", "/api/v3/clients/me/../me", "/api/v3/clients/me/../../custodians/me",
	"/x/../api/v3/clients/me", "/api/v3/clients/me/..", "/enclave/v1/../../x", "/enclave/../api/v3/clients/me",
	"/api/v3/clients/me/%2e%2e/x", "/api/v3/clients/me/%2E%2E/x", "/api/v3/clients/me/.%2e/x", "/api/v3/clients/me/%2e", "/api/v3/clients/me%2f..%2fx", "/api/v3/clients%2fme",
	"/api/v3/clients/me/%2F", "/api/v3/clients/me%5c..%5cx", `/api/v3/clients/me\..\x`, `/api/v3/clients/me/..\x`, `\api\v3\clients\me`,
	"/api/v3/clients/me;x", "/api/v3/clients/me;/../x", "/api/v3/clients/me/..;/x", "/api;x/v3/clients/me", "/api/v3/clients/me/%3b",
	"/api/v3/clients/me%00", "/api/v3/clients/me/x%00.json", "/api/v3/clients/me%0d%0aX:%20y", "/api/v3/clients/me%20", "/api/v3/clients/me%09",
	"/api/v3/clients/me/%252e%252e/x", "/api/v3/clients/me%252fx", "/api/v3/clients/me/%25%32%65", "/api/v3/clients/me/%c0%ae%c0%ae/x", "/api/v3/clients/me/%u002e",
	"/api/v3/clients/me#x", "/api/v3/clients/me?x#y", "/api/v3/clients/me%23x", "/api/v3/clients/me%3fx", "/api/v3/clients/m\xc3\xa9", "/api/v3/clients/me/\xc3\xa9", "/api/v3/clients/me?x=\xc3\xa9",
	"/api/v3/clients/me%", "/api/v3/clients/me/%zz", "/api/v3/clients/me/%2", "/%61pi/v3/clients/me", "/api/v3/clients/m%65", "/api/%763/clients/me", "/%2fapi/v3/clients/me",
	"/API/v3/clients/me", "/api/v3/clients/mex", "/api/v3/clients/me.", "/api/v4/clients/me", "/api/v3/clients/alice", "/api/v1/swaps", "/rpc/v1", "/rpc/v2/x",
	"/api/v3/clients/me/{x}", "/api/v3/clients/me/<x>", "/api/v3/clients/me/a|b", "/api/v3/clients/me/\x01", "/api/v3/clients/me/\x7f",
}

func TestNoTrickReachesPortal(t *testing.T) {
	t.Parallel()
	p := newPassage(t)
	attempts := maps.Clone(smuggling)
	for _, target := range traversals {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			attempts[method+" "+target] = method + " " + target + " HTTP/1.1\r\nHEADContent-Length: 0\r\n\r\n"
		}
	}
	answered := map[int]int{}
	for name, attempt := range attempts {
		conn := p.dial(t)
		if _, err := io.WriteString(conn, strings.Replace(attempt, "HEAD", p.headers, 1)+last); err != nil && len(attempt) < 64<<10 {
			t.Error(err)
		}
		statuses := p.statuses(t, conn)
		if came, bytes := p.upstream.take(); len(came) > 0 || bytes > 0 {
			t.Errorf("%s brought %d bytes to Portal, %d requests", name, bytes, len(came))
		}
		if len(statuses) == 0 || slices.ContainsFunc(statuses, func(status int) bool { return status < 400 || status > 499 }) {
			t.Errorf("%s was answered %d", name, statuses)
			continue
		}
		answered[statuses[0]]++
	}
	t.Logf("%d attempts, of which so many were answered so: %v", len(attempts), answered)
}

func TestAnUpgradeIsRefused(t *testing.T) {
	t.Parallel()
	p := newPassage(t)
	for _, upgrade := range []string{
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"Upgrade: websocket\r\n", "Connection: upgrade\r\n", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
	} {
		conn := p.dial(t)
		_, _ = io.WriteString(conn, me+p.headers+upgrade+"\r\n"+last)
		if got := p.statuses(t, conn); len(got) == 0 || got[0] != http.StatusNotImplemented {
			t.Errorf("%q was answered %d", upgrade, got)
		}
		if came, bytes := p.upstream.take(); len(came) > 0 || bytes > 0 {
			t.Errorf("%q brought %d bytes to Portal", upgrade, bytes)
		}
	}
}

// harmless are requests that only look odd: Portal gets one request for each, that of its target and its body, and of the
// header nothing that is about the way.
var harmless = map[string]struct{ request, line, body string }{
	"as it should be":           {me + "HEAD\r\n", "GET /api/v3/clients/me", ""},
	"HTTP/1.0":                  {"GET /api/v3/clients/me HTTP/1.0\r\nHEAD\r\n", "GET /api/v3/clients/me", ""},
	"another host":              {me + "HEADX: y\r\n\r\n", "GET /api/v3/clients/me", ""},
	"a path in the query":       {"GET /api/v3/clients/me?x=/../..//%2e%2e HTTP/1.1\r\nHEAD\r\n", "GET /api/v3/clients/me?x=/../..//%2e%2e", ""},
	"an encoded line end there": {"GET /api/v3/clients/me?x=%0d%0aX:%20y HTTP/1.1\r\nHEAD\r\n", "GET /api/v3/clients/me?x=%0d%0aX:%20y", ""},
	"headers about the way":     {me + "HEADX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: x\r\nForwarded: for=x\r\nX-Real-IP: x\r\nVia: 1.1 x\r\nX-Original-URL: /x\r\nX-Rewrite-URL: /x\r\nCookie: a=b\r\n\r\n", "GET /api/v3/clients/me", ""},
	"headers for the next":      {me + "HEADConnection: keep-alive, X-Y\r\nX-Y: z\r\nKeep-Alive: timeout=9\r\nTE: trailers\r\nProxy-Authorization: x\r\nProxy-Connection: x\r\n\r\n", "GET /api/v3/clients/me", ""},
	"a request in a body":       {sign + "HEADContent-Length: 42\r\n\r\nGET /api/v3/clients/me HTTP/1.1\r\nHost: x\r\n", "POST /v1/sign", "GET /api/v3/clients/me HTTP/1.1\r\nHost: x\r\n"},
	"a request in a chunk":      {sign + "HEADTransfer-Encoding: chunked\r\n\r\n1a;GET / HTTP/1.1\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n0\r\n\r\n", "POST /v1/sign", "GET /x HTTP/1.1\r\nHost: x\r\n"},
	"a request after a body":    {sign + "HEADContent-Length: 2\r\n\r\n{}GET /api/v3/clients/me HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST /v1/sign", "{}"},
	"a trailer":                 {sign + "HEADTransfer-Encoding: chunked\r\nTrailer: Authorization, X-Portal-Client-Id\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\nX-Portal-Client-Id: bob\r\n\r\n", "POST /v1/sign", "{}"},
	"a trailer unannounced":     {sign + "HEADTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\nX-Forwarded-For: x\r\n\r\n", "POST /v1/sign", "{}"},
	"a long trailer":            {sign + "HEADTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n20000\r\n" + strings.Repeat("x", 128<<10) + "\r\n0\r\nAuthorization: Bearer x\r\n\r\n", "POST /v1/sign", strings.Repeat("x", 1<<10)},
	"an expectation":            {sign + "HEADExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", "POST /v1/sign", "{}"},
}

func TestWhatReachesPortalIsOneRequest(t *testing.T) {
	t.Parallel()
	p := newPassage(t)
	for name, tt := range harmless {
		conn := p.dial(t)
		_, _ = io.WriteString(conn, strings.Replace(tt.request, "HEAD", p.headers, 1)+last)
		statuses := slices.DeleteFunc(p.statuses(t, conn), func(status int) bool { return status == http.StatusContinue })
		if len(statuses) == 0 || statuses[0] != http.StatusOK || slices.ContainsFunc(statuses[1:], func(status int) bool { return status < 400 || status > 499 }) {
			t.Errorf("%s was answered %d", name, statuses)
		}
		came, _ := p.upstream.take()
		if len(came) != 1 {
			t.Errorf("%s brought %d requests to Portal", name, len(came))
			continue
		}
		got := came[0]
		if line := got.Method + " " + got.RequestURI; line != tt.line || got.body != tt.body || got.err != nil || len(got.TransferEncoding) > 0 && len(tt.body) < 1<<10 {
			t.Errorf("%s came as %s with %q, %v", name, line, got.body, got.err)
		}
		checkClean(t, name, got, p)
	}
}

// checkClean wants a request that says nothing of its way, and has the token alone for a credential.
func checkClean(t *testing.T, name string, got arrival, p *passage) {
	t.Helper()
	if credentials := got.Header["Authorization"]; !slices.Equal(credentials, []string{p.credential}) {
		t.Errorf("%s came with %q", name, credentials)
	}
	if host := strings.TrimPrefix(p.upstream.URL, "http://"); got.Host != host || len(got.Trailer) > 0 {
		t.Errorf("%s came for the host %q, with the trailer %v", name, got.Host, got.Trailer)
	}
	for header := range got.Header {
		for _, beginning := range []string{"X-", "Forwarded", "Via", "Cookie", "Proxy-", "Keep-Alive", "Connection", "Upgrade", "Expect"} {
			if strings.HasPrefix(header, beginning) && header != "X" {
				t.Errorf("%s came with %s: %q", name, header, got.Header[header])
			}
		}
	}
}

// peak returns the most memory that the process had resident, in bytes.
func (c *child) peak() int64 {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.command.Process.Pid))
	if err != nil {
		c.t.Skipf("how much memory a process has can't be read here: %v", err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	kibibytes, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return kibibytes << 10
}

func TestABodyOfAGibibyteTakesNoMemory(t *testing.T) {
	t.Parallel()
	p := newPassage(t)
	conn := p.dial(t)
	_, _ = io.WriteString(conn, sign+p.headers+"Content-Length: 2\r\n\r\n{}"+last)
	if got := p.statuses(t, conn); len(got) == 0 || got[0] != http.StatusOK {
		t.Fatalf("a small body was answered %d", got)
	}
	before := p.peak()
	p.upstream.take()

	began := time.Now()
	conn = p.dial(t)
	_, _ = io.WriteString(conn, sign+p.headers+"Content-Length: 1073741824\r\n\r\n{")
	if got := p.statuses(t, conn); !slices.Equal(got, []int{http.StatusRequestEntityTooLarge}) {
		t.Errorf("by its length it was answered %d", got)
	}
	took := time.Since(began)
	if came, bytes := p.upstream.take(); len(came) > 0 || bytes > 0 {
		t.Errorf("by its length it brought %d bytes to Portal", bytes)
	}

	conn = p.dial(t)
	sent := make(chan int64)
	go func() {
		_, _ = io.WriteString(conn, sign+p.headers+"Transfer-Encoding: chunked\r\n\r\n")
		chunk, n := []byte("10000\r\n"+strings.Repeat("x", 64<<10)+"\r\n"), int64(0)
		for err := error(nil); err == nil && n < 1<<30; n += int64(len(chunk)) {
			_, err = conn.Write(chunk)
		}
		_ = conn.CloseWrite()
		sent <- n
	}()
	if got := p.statuses(t, conn); !slices.Equal(got, []int{http.StatusRequestEntityTooLarge}) {
		t.Errorf("in chunks it was answered %d", got)
	}
	_ = conn.Close()
	all := <-sent
	var came []arrival
	var bytes int64
	await(t, "Portal's server to see the request end", func() bool {
		more, n := p.upstream.take()
		came, bytes = append(came, more...), bytes+n
		return len(came) > 0
	})
	if len(came) != 1 || came[0].err == nil {
		t.Errorf("in chunks it came as %d requests, the first of them whole: %t", len(came), came[0].err == nil)
	}
	grown := p.peak() - before
	t.Logf("refused after %s by its length, and after %d MiB in chunks, of which Portal saw %d before it was cut off; %d KiB more resident", took, all>>20, bytes>>20, grown>>10)
	if grown >= 16<<20 {
		t.Errorf("%d bytes more were resident", grown)
	}
	if took > 3*time.Second {
		t.Errorf("a length that is too large was refused after %s", took)
	}
}

func TestWhoIsTooSlowReachesNothing(t *testing.T) {
	t.Parallel()
	p := newPassage(t, "CSTPROXY_PASSTHROUGH_TIMEOUT=1s")
	for name, tt := range map[string]struct {
		begin string
		want  int
	}{
		"a header":           {me + p.headers + "X-Slow: ", http.StatusRequestTimeout},
		"a request line":     {"GET /api/v3", http.StatusRequestTimeout},
		"a body":             {sign + p.headers + "Content-Length: 20\r\n\r\n{", http.StatusBadRequest},
		"a body in chunks":   {sign + p.headers + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", http.StatusBadRequest},
		"the end of a chunk": {sign + p.headers + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began, conn := time.Now(), p.dial(t)
			_, _ = io.WriteString(conn, tt.begin)
			if got := p.statuses(t, conn); !slices.Equal(got, []int{tt.want}) {
				t.Errorf("answered %d", got)
			}
			t.Logf("answered after %s", time.Since(began))
			if came, bytes := p.upstream.take(); len(came) > 0 || bytes > 0 {
				t.Errorf("%d bytes reached Portal", bytes)
			}
		})
	}
}

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// attempts are the ways around an authenticating proxy that were published for oauth2-proxy, turned against our routes: first the
// request line without its version, then header lines. Each is about alice, whom nobody here may ask for.
//
// attempts :: class → attempts
var attempts = map[string][]string{
	// GHSA-5hvv-m4w4-gf6v: the User-Agent of a health check; preflights let through by what a header says the method was.
	"skip by header": {
		"GET /v1/clients/alice/token|User-Agent: GoogleHC/1.0",
		"GET /v1/clients/alice/token|User-Agent: kube-probe/1.34",
		"GET /v1/clients/alice/token|User-Agent: ELB-HealthChecker/2.0",
		"POST /api/v1/custodians/clients/alice/session|User-Agent: GoogleHC/1.0",
		"GET /v1/clients/alice/token|X-Original-Method: OPTIONS",
		"GET /v1/clients/alice/token|X-HTTP-Method-Override: OPTIONS",
		"POST /v1/clients/alice/token|X-HTTP-Method-Override: GET",
		"POST /v1/clients/alice/token|X-Method-Override: GET",
		"GET /v1/clients/alice/token|Upgrade: websocket|Connection: Upgrade",
		"GET /v1/clients/alice/token|X-Healthcheck: 1|Health-Check: true|X-Skip-Auth: true|X-Internal: 1",
	},
	// GHSA-7x63-xv5r-3p2x: rules matched against a path that a header gives.
	"forwarded-uri": {
		"GET /v1/clients/alice/token|X-Forwarded-Uri: /livez",
		"GET /v1/clients/alice/token|X-Forwarded-Uri: /v1/clients/team-a-1/token",
		"GET /v1/clients/alice/token|X-Forwarded-Uri: /openapi.yaml",
		"GET /v1/clients/alice/token|X-Original-Uri: /v1/clients/team-a-1/token",
		"GET /v1/clients/alice/token|X-Original-URL: /v1/clients/team-a-1/token",
		"GET /v1/clients/alice/token|X-Rewrite-URL: /v1/clients/team-a-1/token",
		"GET /v1/clients/alice/token|X-Forwarded-Path: /livez|X-Forwarded-Prefix: /livez",
		"GET /livez|X-Original-URL: /v1/clients/alice/token",
		"GET /|X-Rewrite-URL: /v1/clients/alice/token",
		"POST /api/v1/custodians/clients/alice/session|X-Forwarded-Uri: /livez",
	},
	// GHSA-pxq7-h93f-9jrg (a rule widened by what is appended, and a fragment), GHSA-c5c4-8r6x-56w3 (the end of an address).
	"suffix match": {
		"GET /v1/clients/alice/token#/livez",
		"GET /v1/clients/alice/token%23/livez",
		"GET /v1/clients/alice/token/livez",
		"GET /v1/clients/alice/token/../../../livez",
		"GET /v1/clients/alice/token/openapi.yaml",
		"GET /v1/clients/alice/token/../../../../openapi.yaml",
		"GET /openapi.yaml/../v1/clients/alice/token",
		"GET /openapi.yaml%2F..%2Fv1/clients/alice/token",
		"GET /livez/../v1/clients/alice/token",
		"GET /v1/clients/team-a-1/../alice/token",
		"GET /v1/clients/team-a-1%2F..%2Falice/token",
		"GET /v1/clients/alice%23team-a-1/token",
		"GET /v1/clients/alice-team-a-1/token",
		"GET /v1/clients/alice@team-a-1/token",
		"GET /v1/clients/xteam-a-1/token",
		"GET /v1/clients/team-a/token",
		"GET /v1/clients/alice/token|Host: localhost.attacker.example",
		"GET /v1/clients/alice/token|Host: attacker-localhost",
		"GET /v1/clients/alice/token|Host: 127.0.0.1.attacker.example",
		"GET /v1/clients/alice/token|Host: attacker@127.0.0.1.attacker.example",
	},
	// GHSA-7rh7-c77v-6434: rules matched against path and query.
	"query in path match": {
		"GET /v1/clients/alice/token?/livez",
		"GET /v1/clients/alice/token?path=/livez",
		"GET /v1/clients/alice/token?/openapi.yaml",
		"GET /v1/clients/alice/token?/v1/clients/team-a-1/token",
		"GET /v1/clients/alice/token?clientId=team-a-1",
		"GET /v1/clients/alice/token%3f/livez",
		"GET /livez?/v1/clients/alice/token",
		"POST /api/v1/custodians/clients/alice/session?/livez",
	},
	// GHSA-vjrc-mh2v-45x6: headers that are taken for others once an underscore is a dash.
	"underscore against dash": {
		"GET /v1/clients/alice/token|X_Forwarded_User: backend",
		"GET /v1/clients/alice/token|X_Forwarded-For: 127.0.0.1",
		"GET /v1/clients/alice/token|X_Forwarded_Uri: /livez",
		"GET /v1/clients/alice/token|X_Real_Ip: 127.0.0.1",
		"GET /v1/clients/alice/token|X_Original_URL: /v1/clients/team-a-1/token",
		"GET /v1/clients/team_a-1/token",
		"GET /v1/clients/team_a_1/token",
		"GET /v1/clients/TEAM-A-1/token",
	},
	// oauth2-proxy issue 3506: a guard that by default trusts everybody, so that it guards nothing.
	"inert default": {
		"GET /v1/clients/alice/token",
		"POST /api/v1/custodians/clients/alice/session",
		"POST /api/v3/custodians/me/clients/alice/sessions",
		"POST /api/v1/custodians/clients",
		"POST /v1/clients",
		"GET /v1/clients/alice",
		"DELETE /v1/clients/alice/token",
		"GET /v1/clients/alice/token|X-Forwarded-For: 127.0.0.1",
		"GET /v1/clients/alice/token|X-Real-IP: 127.0.0.1",
		"GET /v1/clients/alice/token|Forwarded: for=127.0.0.1;host=localhost",
		"GET /v1/clients/alice/token|X-Forwarded-Host: localhost",
		"GET /v1/clients/alice/token|X-Forwarded-User: backend|X-Auth-Request-User: backend|X-Forwarded-Email: root@localhost",
		"GET /v1/clients/alice/token|X-Forwarded-Client-Cert: By=spiffe://a;URI=spiffe://b|X-SSL-Client-Verify: SUCCESS",
	},
	"path tricks": {
		"GET //v1/clients/alice/token", "GET /v1//clients/alice/token", "GET /./v1/clients/alice/token", "GET /v1/./clients/alice/token", "GET /%76%31/clients/alice/token",
		"GET /v1%2Fclients%2Falice%2Ftoken", "GET /v1/clients/alice%2Ftoken", "GET /v1/clients/alice/token/", "GET /v1/clients/alice/token;/livez", "GET /v1;x/clients/alice/token",
		"GET /v1/clients/alice;team-a-1/token", "GET /V1/CLIENTS/alice/TOKEN", "GET /v1/clients/%61lice/token", "GET /v1/clients/alice/token%00", "GET /v1/clients/alice/token%20",
		`GET /v1\clients\alice\token`, "GET http://localhost/v1/clients/alice/token", "GET http://127.0.0.1/v1/clients/alice/token", "GET http://user:pass@localhost/v1/clients/alice/token",
		"get /v1/clients/alice/token", "HEAD /v1/clients/alice/token", "OPTIONS /v1/clients/alice/tokens", "TRACE /v1/clients/alice/token", "PROPFIND /v1/clients/alice/token",
	},
	"other credentials": {
		"GET /v1/clients/alice/token|Authorization: Bearer " + portaltest.DefaultKey,
		"GET /v1/clients/alice/token|Authorization: Bearer ",
		"GET /v1/clients/alice/token|Authorization: Bearer cstp_",
		"GET /v1/clients/alice/token|Authorization: Bearer null",
		"GET /v1/clients/alice/token|Authorization: Basic cm9vdDpyb290",
		"GET /v1/clients/alice/token|Authorization: Bearer a|Authorization: Bearer b",
		"GET /v1/clients/alice/token|Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJiYWNrZW5kIn0.",
		"GET /v1/clients/alice/token|Cookie: _oauth2_proxy=x; session=admin",
		"GET /v1/clients/alice/token?access_token=x&api_key=y&token=z",
		"GET /v1/clients/alice/token|X-Api-Key: x|Proxy-Authorization: Bearer x",
	},
}

// guarded is a proxy that nobody gets anything from who sends what is in attempts.
type guarded struct {
	*child
	portal *portaltest.Portal
	// host is the Host that goes with an attempt, unless it brings its own; credential is a header line, or empty.
	host, credential string
}

// guards are the default configuration, to a page in a browser, once of a name that leads to loopback; and callers, to a stranger and
// to a caller who may ask for the clients of its team alone.
func guards(t *testing.T) map[string]*guarded {
	t.Helper()
	key, line := caller.NewKey()
	file := filepath.Join(t.TempDir(), "callers.yaml")
	callers := `callers: [{name: backend, keys: ["` + line + `"], routes: [token], clients: [team-a-]}]` + "\n"
	if err := os.WriteFile(file, []byte(callers), 0o600); err != nil {
		t.Fatal(err)
	}
	open, openEnviron := simulated(t, portaltest.Options{AnyClient: true})
	closed, closedEnviron := simulated(t, portaltest.Options{AnyClient: true})
	asking := serve(t, append(closedEnviron, "CSTPROXY_CALLERS_FILE="+file)...)
	byDefault := serve(t, openEnviron...)
	return map[string]*guarded{
		"the default configuration, to a page": {byDefault, open, "localhost", "Origin: https://attacker.example"},
		"the default configuration":            {byDefault, open, "attacker.example", ""},
		"callers, to a stranger":               {asking, closed, "localhost", ""},
		"callers, to one of another team":      {asking, closed, "localhost", "Authorization: Bearer " + key},
	}
}

func TestPublishedWaysAroundLeadNowhere(t *testing.T) {
	t.Parallel()
	for name, g := range guards(t) {
		for class, requests := range attempts {
			t.Run(class+", "+name, func(t *testing.T) {
				t.Parallel()
				for _, request := range requests {
					if status, body := g.send(t, request); status < 400 || strings.Contains(body, "clientSessionToken") {
						t.Errorf("%s: status %d: %s", request, status, body)
					}
				}
				t.Logf("%d attempts", len(requests))
			})
		}
		t.Cleanup(func() {
			if stats := g.portal.Stats(); stats.Requests != 0 {
				t.Errorf("%s: %d requests reached Portal", name, stats.Requests)
			}
		})
	}
}

// What is refused above would be served, were it not for the one thing that is wrong with it.
func TestWhatIsNoWayAroundIsServed(t *testing.T) {
	t.Parallel()
	all := guards(t)
	open, stranger, known := all["the default configuration"], all["callers, to a stranger"], all["callers, to one of another team"]
	if status, body := open.send(t, "GET /v1/clients/alice/token|Host: localhost"); status != http.StatusOK {
		t.Errorf("status %d: %s", status, body)
	}
	if status, body := known.send(t, "GET /v1/clients/team-a-1/token"); status != http.StatusOK {
		t.Errorf("status %d: %s", status, body)
	}
	if status, _ := known.send(t, "GET /v1/clients/alice/token"); status != http.StatusForbidden {
		t.Errorf("status %d to one of another team", status)
	}
	if status, _ := stranger.send(t, "GET /v1/clients/team-a-1/token"); status != http.StatusUnauthorized {
		t.Errorf("status %d to a stranger", status)
	}
}

// send writes the attempt as it is, which no client would, and returns the answer.
func (g *guarded) send(t *testing.T, attempt string) (status int, body string) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.data, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	line, rest, _ := strings.Cut(attempt, "|")
	headers := strings.ReplaceAll(rest, "|", "\r\n")
	if !strings.HasPrefix(headers, "Host: ") {
		headers = strings.TrimSuffix("Host: "+g.host+"\r\n"+headers, "\r\n")
	}
	if g.credential != "" {
		headers += "\r\n" + g.credential
	}
	_, _ = io.WriteString(conn, line+" HTTP/1.1\r\n"+headers+"\r\nContent-Length: 0\r\n\r\n")
	method, _, _ := strings.Cut(line, " ")
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s: %v", attempt, err)
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: %v", attempt, err)
	}
	return answer.StatusCode, string(content)
}

package main

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// TestEveryProblemSaysWhatToDo holds the advice to the codes that callers can meet.
func TestEveryProblemSaysWhatToDo(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(slices.Sorted(slices.Values(proxy.Codes())), slices.Sorted(maps.Keys(advice))); diff != "" {
		t.Errorf("codes and advice (-want +got):\n%s", diff)
	}
}

func TestARefusalTellsWhatTheProxySaid(t *testing.T) {
	t.Parallel()
	const document = `{"code":"overloaded","detail":"too much","requestId":"r-1"}`
	q := inquiry{api: &running{at: listenAddress{"tcp", "127.0.0.1:8080"}, scheme: "http"}}
	for name, tt := range map[string]struct {
		got  reply
		want string
	}{
		"with everything": {
			reply{503, http.Header{"Retry-After": {"2"}}, []byte(document)},
			"overloaded: too much (request r-1)\nwhat to do: " + advice["overloaded"] + " (the proxy asks for 2 s)",
		},
		"of a newer proxy":       {reply{418, nil, []byte(`{"code":"teapot","detail":"short","requestId":""}`)}, "teapot: short\nwhat to do: see the README of the proxy's version"},
		"of something else":      {reply{502, nil, []byte("<html>")}, "127.0.0.1:8080 answered with status 502, and not as cstproxy does\nwhat to do: is CSTPROXY_LISTEN that of the proxy?"},
		"of who wants to be TLS": {reply{400, nil, []byte("Client sent an HTTP request to an HTTPS server.")}, "127.0.0.1:8080 answered with status 400, and not as cstproxy does\nwhat to do: does it speak TLS? Then set CSTPROXY_TLS_CERT_FILE as it is set for the proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := q.refusal(tt.got).Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// ran returns what a command printed, in this process.
func ran(t *testing.T, environ []string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), process{args: append([]string{"cstproxy"}, args...), environ: environ, out: &o, err: &e, clock: time.Now})
	return o.String(), e.String(), code
}

func TestCommandsAskAProxyThatSpeaksTLSAndNoOther(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	own, foreign := newVolume(t, pair(authority, "localhost")), newVolume(t, pair(authority, "localhost"))
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, append(environ,
		"CSTPROXY_TLS_CERT_FILE="+own.path("cert"), "CSTPROXY_TLS_KEY_FILE="+own.path("key"),
		"CSTPROXY_ADMIN_TLS_CERT_FILE="+own.path("cert"), "CSTPROXY_ADMIN_TLS_KEY_FILE="+own.path("key"))...)
	ports := []string{"CSTPROXY_LISTEN=" + strings.TrimPrefix(c.data, "http://"), "CSTPROXY_ADMIN_LISTEN=" + strings.TrimPrefix(c.admin, "http://")}
	by := func(v *volume) []string {
		return append(slices.Clone(ports), "CSTPROXY_TLS_CERT_FILE="+v.path("cert"), "CSTPROXY_ADMIN_TLS_CERT_FILE="+v.path("cert"))
	}
	for _, command := range [][]string{{"token", "status", "alice"}, {"stats", "--once", "--interval", "100ms"}, {"healthcheck"}} {
		name := strings.Join(command, " ")
		if _, said, code := ran(t, by(own), command...); code != exitDone {
			t.Errorf("%s: %d, %s", name, code, said)
		}
		if _, said, code := ran(t, by(foreign), command...); code != exitFailed || !strings.Contains(said, "certificate") {
			t.Errorf("%s, of a port with another certificate: %d, %s", name, code, said)
		}
	}
	if _, said, _ := ran(t, ports, "token", "status", "alice"); !strings.Contains(said, "CSTPROXY_TLS_CERT_FILE") {
		t.Errorf("in clear: %s", said)
	}
}

// TestAnAnswerOfSomethingElseIsNoToken is about scripts, which would go on with an empty one.
func TestAnAnswerOfSomethingElseIsNoToken(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"an empty document": "{}", "another client's": `{"id":"bob","clientSessionToken":"x"}`, "no document": "hello"} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
		t.Cleanup(other.Close)
		for _, command := range []string{"get", "status", "reject"} {
			out, said, code := ran(t, []string{"CSTPROXY_LISTEN=" + other.Listener.Addr().String()}, "token", command, "alice")
			if out != "" || code != exitFailed || !strings.Contains(said, "not as cstproxy does") {
				t.Errorf("%s of %s: %d, %q, %s", command, name, code, out, said)
			}
		}
	}
}

func TestServerDoesNotReadACallersKey(t *testing.T) {
	t.Parallel()
	config := mustLoad(t, withKey("CSTPROXY_CALLER_KEY_FILE=/no/such/key"))
	if !config.CallerKey.IsZero() {
		t.Error("it has one")
	}
	file := writeFile(t, "cstp_key\n")
	config, err := dataPart().load([]string{"CSTPROXY_CALLER_KEY_FILE=" + file, "CSTPROXY_IDLE_TTL=nonsense"}, nil)
	if err != nil || !config.CallerKey.Equal(session.NewSecret("cstp_key")) {
		t.Errorf("who asks one has %v, %v", config.CallerKey, err)
	}
}

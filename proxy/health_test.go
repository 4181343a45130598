package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/proxy"
)

// admin is the admin port over HTTP.
type admin struct {
	*proxy.Health
	t   *testing.T
	url string
	ask *http.Client
}

func newAdmin(t *testing.T, checks ...proxy.Check) *admin {
	t.Helper()
	health := &proxy.Health{Checks: checks}
	server := httptest.NewServer(proxy.NewAdmin(proxy.AdminParts{
		Health:   health,
		Lifeline: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }),
		Version:  proxy.Version{Version: "v1.2.3", Revision: "0a1b2c3", GoVersion: "go1.26"},
		Metrics:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "cstproxy_up 1\n") }),
	}))
	t.Cleanup(server.Close)
	return &admin{Health: health, t: t, url: server.URL, ask: server.Client()}
}

func (a *admin) do(method, path string) answer {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	response, err := a.ask.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(body)}
}

func (a *admin) want(path string, status int, body string) {
	a.t.Helper()
	got := a.do(http.MethodGet, path)
	if got.status != status || got.body != body {
		a.t.Errorf("%s: %d %q, want %d %q", path, got.status, got.body, status, body)
	}
	if kind := got.header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
		a.t.Errorf("%s: Content-Type is %q", path, kind)
	}
}

func check(name string, err error) proxy.Check {
	return proxy.Check{Name: name, Probe: func(context.Context) error { return err }}
}

func optional(c proxy.Check) proxy.Check {
	c.Optional = true
	return c
}

func TestProcessIsAliveWhateverElseIs(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, check("store", errors.New("gone")))
	a.want("/livez", 200, "ok\n")
	a.Started()
	a.Drain()
	a.want("/livez", 200, "ok\n")
}

func TestStartupEnds(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, check("store", errors.New("gone")))
	a.want("/startupz", 503, "starting\n")
	a.Started()
	a.want("/startupz", 200, "ok\n")
	a.Drain()
	a.want("/startupz", 200, "ok\n")
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	const up = "[+]started ok\n[+]not-draining ok\n"
	gone := errors.New("no answer")
	started := func(a *admin) { a.Started() }
	for name, c := range map[string]struct {
		checks  []proxy.Check
		become  func(*admin)
		status  int
		word    string
		verbose string
	}{
		"before the start": {nil, func(*admin) {}, 503, "not ready", "[-]started failed: still starting\n[+]not-draining ok\n"},
		"started":          {nil, started, 200, "ok", up},
		"draining": {
			nil, func(a *admin) { a.Started(); a.Drain() },
			503, "not ready", "[+]started ok\n[-]not-draining failed: draining\n",
		},
		"draining before the start": {
			nil, func(a *admin) { a.Drain() },
			503, "not ready", "[-]started failed: still starting\n[-]not-draining failed: draining\n",
		},
		"with a check that is well": {[]proxy.Check{check("store", nil)}, started, 200, "ok", up + "[+]store ok\n"},
		"with one that is not":      {[]proxy.Check{check("store", gone)}, started, 503, "not ready", up + "[-]store failed: no answer\n"},
		"with one that it can do without": {
			[]proxy.Check{optional(check("store", gone))}, started,
			200, "degraded", up + "[-]store failed: no answer\n",
		},
		"with one that it can do without, and one that it can't": {
			[]proxy.Check{optional(check("store", gone)), check("disk", gone)}, started,
			503, "not ready", up + "[-]store failed: no answer\n[-]disk failed: no answer\n",
		},
		"with one that it can't do without, and one that it can": {
			[]proxy.Check{check("disk", gone), optional(check("store", gone))}, started,
			503, "not ready", up + "[-]disk failed: no answer\n[-]store failed: no answer\n",
		},
		"with one of two that it can do without": {
			[]proxy.Check{optional(check("store", gone)), check("disk", nil)}, started,
			200, "degraded", up + "[-]store failed: no answer\n[+]disk ok\n",
		},
		"degraded and draining": {
			[]proxy.Check{optional(check("store", gone))}, func(a *admin) { a.Started(); a.Drain() },
			503, "not ready", "[+]started ok\n[-]not-draining failed: draining\n[-]store failed: no answer\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAdmin(t, c.checks...)
			c.become(a)
			a.want("/readyz", c.status, c.word+"\n")
			a.want("/readyz?verbose", c.status, c.verbose+c.word+"\n")
			a.want("/readyz?verbose=1", c.status, c.verbose+c.word+"\n")
		})
	}
}

func TestReadinessFollowsItsChecks(t *testing.T) {
	t.Parallel()
	var err error
	a := newAdmin(t, proxy.Check{Name: "store", Probe: func(context.Context) error { return err }})
	a.Started()
	a.want("/readyz", 200, "ok\n")
	err = errors.New("no answer")
	a.want("/readyz", 503, "not ready\n")
	err = nil
	a.want("/readyz", 200, "ok\n")
}

func TestReadinessEndsWithWhoAsks(t *testing.T) {
	t.Parallel()
	health := &proxy.Health{Checks: []proxy.Check{{Name: "store", Probe: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}}}
	health.Started()
	handler := proxy.NewAdmin(proxy.AdminParts{Health: health, Metrics: http.NotFoundHandler(), Lifeline: http.NotFoundHandler()})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", http.NoBody))
	if recorder.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d", recorder.Code)
	}
}

func TestAdminTellsVersionAndMetrics(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	version := a.do(http.MethodGet, "/version")
	if want := `{"version":"v1.2.3","revision":"0a1b2c3","goVersion":"go1.26"}` + "\n"; version.body != want || version.status != 200 {
		t.Errorf("/version: %d %s, want %s", version.status, version.body, want)
	}
	if kind := version.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("/version: Content-Type is %q", kind)
	}
	if metrics := a.do(http.MethodGet, "/metrics"); metrics.body != "cstproxy_up 1\n" || metrics.status != 200 {
		t.Errorf("/metrics: %d %s", metrics.status, metrics.body)
	}
}

func TestAdminPortHasNothingElse(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	a.Started()
	for _, path := range []string{
		aliceToken, aliceStatus, "/v1/clients", v1Clients, v1Session, v3Session, "/healthz", "/index.html", "/lifeline/", "/status/status.js", "/debug/pprof/", "/livez/", "/metrics/x",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if got := a.do(method, path); got.status != http.StatusNotFound {
				t.Errorf("%s %s: %d %s", method, path, got.status, got.body)
			}
		}
	}
	for _, path := range []string{"/", "/livez", "/startupz", "/readyz", "/version", "/metrics"} {
		if got := a.do(http.MethodPost, path); got.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, got.status)
		}
		if got := a.do(http.MethodHead, path); got.status != http.StatusOK || got.body != "" {
			t.Errorf("HEAD %s: %d %q", path, got.status, got.body)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
		if got := a.do(method, "/lifeline"); got.status != http.StatusMethodNotAllowed {
			t.Errorf("%s /lifeline: %d", method, got.status)
		}
	}
}

// The admin port is open to whoever can reach it: what a check complains of must be fit for that.
func TestVerboseReadinessIsText(t *testing.T) {
	t.Parallel()
	a := newAdmin(t, check("store", errors.New("<script>")))
	a.Started()
	got := a.do(http.MethodGet, "/readyz?verbose")
	if got.header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("answered %s", got.dump())
	}
}

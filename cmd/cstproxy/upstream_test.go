package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestPortalIsAskedThroughAProxyIfThatIsWantedAlone sets the environment as a machine may have it.
func TestPortalIsAskedThroughAProxyIfThatIsWantedAlone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		setting string
		through bool
	}{
		"by default":    {"", false},
		"if turned off": {"CSTPROXY_PORTAL_PROXY=off", false},
		"if asked for":  {"CSTPROXY_PORTAL_PROXY=environment", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var came atomic.Int64
			portal := portaltest.New(portaltest.Options{AnyClient: true})
			between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				came.Add(1)
				portal.ServeHTTP(w, r)
			}))
			defer between.Close()
			defer portal.Close()
			c := serve(t, "PORTAL_API_KEY="+portaltest.DefaultKey, "PORTAL_API_URL=http://portal.invalid", tc.setting,
				"HTTP_PROXY="+between.URL, "HTTPS_PROXY="+between.URL, "http_proxy="+between.URL, "ALL_PROXY="+between.URL)
			_, err := c.fetch("alice", "")
			if (err == nil) != tc.through || (came.Load() > 0) != tc.through {
				t.Errorf("%d requests came to the proxy: %v", came.Load(), err)
			}
		})
	}
}

func TestNoRedirectTakesTheKeyElsewhere(t *testing.T) {
	t.Parallel()
	var came atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came.Add(1) }))
	defer elsewhere.Close()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, environ...)
	alice := c.mustFetch("alice", "")
	for _, status := range []int{301, 302, 303, 307, 308} {
		portal.Inject(portaltest.All, portaltest.Fault{Kind: portaltest.Redirect, Status: status, Location: elsewhere.URL + "/"})
		for _, request := range [][2]string{
			{http.MethodGet, "/v1/clients/bob/token"}, {http.MethodGet, "/v1/clients/alice/token?minTtl=24h"}, {http.MethodPost, "/v1/clients"},
			{http.MethodGet, "/v1/clients/alice/token?rejected=" + alice.TokenID},
		} {
			if got, err := c.ask(request[0], c.data+request[1], ""); err != nil || got.status < 500 {
				t.Errorf("%s %s after a %d: %d %s, %v", request[0], request[1], status, got.status, got.body, err)
			}
		}
	}
	if got := came.Load(); got != 0 {
		t.Errorf("%d requests went where Portal pointed", got)
	}
}

// warnings returns the lines of warning that a process logged.
func (c *child) warnings() []map[string]any {
	c.t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(c.written.String()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) == nil && line["level"] == "WARN" {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestAPortalWithoutTLSIsWarnedOfUnlessItIsHere(t *testing.T) {
	t.Parallel()
	for url, open := range map[baseURL]bool{
		"https://api.portalhq.io": false, "http://api.portalhq.io": true, "http://portal": true, "http://10.0.0.1:8080": true,
		"http://[2001:db8::1]": true, "http://0.0.0.0": true, "http://localhost.example.com": true, "http://127.0.0.1.example.com": true,
		"http://localhost:8080": false, "http://LOCALHOST.": false, "http://portal.localhost": false, "http://127.0.0.1": false,
		"http://127.8.8.8:1": false, "http://[::1]:1": false, "http://[::ffff:127.0.0.1]": false,
	} {
		if got := url.isOpen(); got != open {
			t.Errorf("%s: is open = %t", url, got)
		}
	}
	c := serve(t, "PORTAL_API_KEY=key", "PORTAL_API_URL=http://portal.invalid", "PORTAL_MPC_URL=http://mpc.invalid")
	var warned []string
	for _, line := range c.warnings() {
		if strings.Contains(line["msg"].(string), "WITHOUT TLS") {
			warned = append(warned, line["url"].(string))
		}
	}
	if strings.Join(warned, " ") != "http://portal.invalid http://mpc.invalid" {
		t.Errorf("warned of %q", warned)
	}
	_, environ := simulated(t, portaltest.Options{})
	if got := serve(t, environ...).warnings(); len(got) != 0 {
		t.Errorf("warned of %v on loopback", got)
	}
}

func TestAFileThatEverybodyMayReadIsWarnedOfIfItHoldsASecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		file := dir + "/" + name
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return file
	}
	config := Config{
		PortalAPIKeyFile: write("key", "k", 0o644), PortalAPIKeyNextFile: write("next", "n", 0o640),
		RedisPasswordFile: write("password", "p", 0o400), TLSKeyFile: write("tls-key", "t", 0o604),
		TLSCertFile: write("tls-cert", "c", 0o644), RedisCAFile: write("ca", "c", 0o644), TLSClientCAFile: "/no/such/file",
	}
	log := &transcript{}
	warn(config, newLog(Config{LogFormat: logText}, log))
	for name, warned := range map[string]bool{"key": true, "next": false, "password": false, "tls-key": true, "tls-cert": false, "ca": false} {
		if got := strings.Contains(log.String(), "file="+dir+"/"+name+" "); got != warned {
			t.Errorf("%s: warned of = %t, want %t: %s", name, got, warned, log)
		}
	}
}

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestEveryLineOfTheLogIsJSON has libraries see trouble, too: some have a logger of their own.
func TestEveryLineOfTheLogIsJSON(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	redis := redistest.Start(t)
	c := serve(t, append(environ, "REDIS_URL="+redis.URL(), "CSTPROXY_LOG_LEVEL=debug", "CSTPROXY_AUDIT=log")...)

	c.mustFetch("alice", "")
	c.mustDo(http.MethodGet, "/v1/clients/no%20id/token", http.StatusBadRequest)
	redis.Kill()
	c.mustFetch("bob", "")
	seesRedis(c, 0)
	c.signal(syscall.SIGTERM)
	c.wait()

	said := map[string]bool{}
	for line := range strings.Lines(c.written.String()) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" || entry.Level == "" || entry.Msg == "" {
			t.Errorf("not a line of the log: %s", line)
		}
		said[entry.Msg] = true
	}
	for _, msg := range []string{"serving", "answered", "minted", "refused", "store failed, counted as a miss", "draining", "ended"} {
		if !said[msg] {
			t.Errorf("the log does not say %q", msg)
		}
	}
}

// TestFirstLineSaysWhatRunsHere has a URL of Portal that holds more than its host.
func TestFirstLineSaysWhatRunsHere(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	c := serve(t, "PORTAL_API_URL=https://portal.example:8443/base", "PORTAL_MPC_URL=https://mpc.example", "PORTAL_API_KEY=portal-api-key",
		"REDIS_URL="+redis.URL(), "CSTPROXY_REFRESH=observe", "CSTPROXY_MINT_RATE=0", "CSTPROXY_MINT_AHEAD=6h",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318/base", "CSTPROXY_PASSTHROUGH=enclave, client")
	var got map[string]string
	for line := range strings.Lines(c.written.String()) {
		if strings.Contains(line, `"msg":"serving"`) {
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := map[string]string{
		"level": "INFO", "msg": "serving", "time": got["time"], "version": build().Version,
		"listen": strings.TrimPrefix(c.data, "http://"), "admin_listen": strings.TrimPrefix(c.admin, "http://"),
		"portal": "portal.example:8443", "store": "redis server", "callers": "anybody on this machine", "refresh": "observe",
		"mint_rate": "0", "probe_rate": "200/m", "mint_ahead": "6h0m0s", "traces": "127.0.0.1:4318", "passthrough": "enclave,client",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the first line (-want +got):\n%s", diff)
	}
}

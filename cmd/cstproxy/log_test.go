package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

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
	for _, msg := range []string{"serving", "minted", "refused", "store failed, counted as a miss", "draining", "ended"} {
		if !said[msg] {
			t.Errorf("the log does not say %q", msg)
		}
	}
}

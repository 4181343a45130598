package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Sentinel is a Sentinel that watches one primary.
type Sentinel struct {
	Primary *Server
	// Watcher is the Sentinel's own process; it speaks Redis, too.
	Watcher *Server
}

// StartSentinel starts a server and a Sentinel that watches it. Both end with the test.
func StartSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	primary, watcher := Start(tb), newServer(tb)
	watcher.args = func(port int) []string {
		config := filepath.Join(watcher.dir, "sentinel.conf")
		text := fmt.Sprintf("port %d\nbind %s\nunixsocket %s\ndir %s\nsentinel monitor primary %s %d 1\n",
			port, loopback, watcher.socket(), watcher.dir, loopback, primary.port)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			tb.Fatalf("redistest: configure the Sentinel: %v", err)
		}
		return []string{config, "--sentinel"}
	}
	watcher.startAnywhere()
	return &Sentinel{Primary: primary, Watcher: watcher}
}

// URL returns the URL of the primary by way of the Sentinel.
func (s *Sentinel) URL() string { return s.Watcher.URL() + "?master_name=primary" }

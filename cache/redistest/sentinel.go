package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	sentinels       = 3
	sentinelQuorum  = 2
	primaryReplicas = 2
)

// Sentinel is a primary and its replicas, and the Sentinels that watch them: they have another take the place of a
// primary that is silent for half a second, about a second after that.
type Sentinel struct {
	// Primary is the one that starts as such.
	Primary  *Server
	Replicas []*Server
	// Watchers are the Sentinels' own processes; they speak Redis, too.
	Watchers []*Server
}

// StartSentinel starts a primary, two replicas and three Sentinels, and returns when all know all. They end with the
// test.
func StartSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	s := &Sentinel{Primary: Start(tb, "--repl-diskless-sync-delay", "0")}
	for range primaryReplicas {
		s.Replicas = append(s.Replicas, Start(tb, "--repl-diskless-sync-delay", "0",
			"--replicaof", loopback+" "+strconv.Itoa(s.Primary.port)))
	}
	for range sentinels {
		s.Watchers = append(s.Watchers, startWatcher(tb, s.Primary))
	}
	for _, watcher := range s.Watchers {
		await(tb, "the Sentinels", watcher.knowsAll)
	}
	return s
}

func startWatcher(tb testing.TB, primary *Server) *Server {
	tb.Helper()
	watcher := newServer(tb)
	watcher.args = func(port int) []string {
		config := filepath.Join(watcher.dir, "sentinel.conf")
		text := fmt.Sprintf("port %d\nbind %s\nunixsocket %s\ndir %s\n", port, loopback, watcher.socket(), watcher.dir) +
			fmt.Sprintf("sentinel monitor primary %s %d %d\n", loopback, primary.port, sentinelQuorum) +
			"sentinel down-after-milliseconds primary 500\nsentinel failover-timeout primary 3000\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			tb.Fatalf("redistest: configure the Sentinel: %v", err)
		}
		return []string{config, "--sentinel"}
	}
	watcher.startAnywhere()
	// They find one another, and demote an old primary, by what they say and ask every few seconds. Redis 6 can't be
	// told to be quicker, so that there it takes as long.
	_, _ = watcher.ask("SENTINEL", "DEBUG", "publish-period", 100, "info-period", 500)
	return watcher
}

// URL returns the URL of the primary by way of the Sentinels.
func (s *Sentinel) URL() string { return urlOf(s.Watchers, "?master_name=primary&") }

// Named returns the server that the Sentinels name as the primary now, nil if it is none of theirs.
func (s *Sentinel) Named() *Server {
	address, _ := s.Watchers[0].Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary").([]any)
	for _, server := range append([]*Server{s.Primary}, s.Replicas...) {
		if fmt.Sprint(address) == fmt.Sprintf("[%s %d]", loopback, server.port) {
			return server
		}
	}
	return nil
}

// knowsAll reports whether the Sentinel knows the others, and replicas that have the primary's data.
func (s *Server) knowsAll() bool {
	primary, _ := s.Do("SENTINEL", "MASTER", "primary").(map[any]any)
	return primary["num-other-sentinels"] == strconv.Itoa(sentinels-1) &&
		strings.Count(fmt.Sprint(s.Do("SENTINEL", "REPLICAS", "primary")), "master-link-status:ok") == primaryReplicas
}

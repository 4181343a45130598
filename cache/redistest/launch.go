package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	loopback = "127.0.0.1"
	// patience is far more than a server takes to start, or to answer, on a busy machine.
	patience = 20 * time.Second
	// interval is how often a condition is looked at that nothing tells of.
	interval = 2 * time.Millisecond
	// attempts is how many ports are tried; a port found free may be taken before the server has it.
	attempts = 10

	// Ports below the range from which the kernel takes those of outgoing connections, here and for the Cluster's bus.
	firstPort, lastPort, busOffset = 11000, 21999, 10000

	// longestSocket is what a unix socket's path may have on every system.
	longestSocket = 100
)

var (
	errEnded     = errors.New("redis-server ended")
	errPortTaken = errors.New("the port is taken")
)

// startAnywhere starts the server on a port that is free.
func (s *Server) startAnywhere() {
	s.tb.Helper()
	err := errPortTaken
	for range attempts {
		if s.port = freePort(); s.port == 0 {
			continue
		}
		if err = s.launch(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		s.tb.Fatalf("redistest: start: %v", err)
	}
}

// launch starts the server on its port, and returns when it answers.
func (s *Server) launch() error {
	started, err := start(command{log: s.log(), args: s.args(s.port), environ: s.environ})
	if err != nil {
		return err
	}
	s.process = started
	await(s.tb, "redis-server to answer", func() bool { return started.ended() || s.answers() })
	if started.ended() {
		return s.explain()
	}
	return nil
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// explain tells why the server ended.
func (s *Server) explain() error {
	log, err := os.ReadFile(s.log())
	if err != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	}
	if strings.Contains(string(log), "Address already in use") {
		return errPortTaken
	}
	return fmt.Errorf("%w:\n%s", errEnded, log)
}

// freePort returns a port that, like its bus port, was free a moment ago; 0 if one taken at random was not.
func freePort() int {
	port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // nobody gains by guessing it
	if free(port) && free(port+busOffset) {
		return port
	}
	return 0
}

func free(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port))) //nolint:noctx // it doesn't wait
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// shortDir returns a directory that ends with the test, and whose path leaves room for a socket's name.
func shortDir(tb testing.TB) string {
	tb.Helper()
	if dir := tb.TempDir(); len(dir) < longestSocket {
		return dir
	}
	dir, err := os.MkdirTemp("/tmp", "") //nolint:usetesting // the test's own is too long
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// await returns once condition holds, and fails the test if it takes too long.
func await(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("redistest: waited %s for %s", patience, what)
		}
	}
}

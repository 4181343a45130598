package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server of a test's own. A method that does not succeed fails the test, so call them from the
// test's own goroutine only.
type Server struct {
	tb   testing.TB
	dir  string
	port int
	// args makes the command line for the port.
	args func(port int) []string
	// environ is added to the environment.
	environ []string
	process *process
	client  *redis.Client
	// secured is set once the port speaks TLS.
	secured bool
}

// Start starts a server with args (such as "--maxmemory", "12mb") and returns when it answers. It ends with the test.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := newServer(tb)
	s.args = s.plain(args)
	s.startAnywhere()
	return s
}

// plain makes the command line of a server on its own, with more arguments.
func (s *Server) plain(more []string) func(port int) []string {
	return func(port int) []string {
		return append([]string{
			"--port", strconv.Itoa(port), "--bind", loopback, "--unixsocket", s.socket(), "--dir", s.dir, "--save", "",
		}, more...)
	}
}

func newServer(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{tb: tb, dir: shortDir(tb)}
	s.client = redis.NewClient(&redis.Options{
		Network: "unix", Addr: s.socket(), MaxRetries: -1, DialerRetries: 1,
		DialTimeout: patience, ReadTimeout: patience, ContextTimeoutEnabled: true,
	})
	tb.Cleanup(func() {
		_ = s.client.Close()
		s.process.kill()
	})
	return s
}

// Addr returns host:port.
func (s *Server) Addr() string { return net.JoinHostPort(loopback, strconv.Itoa(s.port)) }

// URL returns the redis URL of the TCP port.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// urlOf returns the URL of the first server, followed by what the others are added to.
func urlOf(servers []*Server, query string) string {
	target, separator := servers[0].URL(), query
	for _, server := range servers[1:] {
		target += separator + "addr=" + server.Addr()
		separator = "&"
	}
	return target
}

// SocketURL returns the URL of the unix socket.
func (s *Server) SocketURL() string { return (&url.URL{Scheme: "unix", Path: s.socket()}).String() }

func (s *Server) socket() string { return filepath.Join(s.dir, "s") }

// Do runs a command and returns its reply; nil stands for a missing value.
func (s *Server) Do(args ...any) any {
	s.tb.Helper()
	reply, err := s.ask(args...)
	if err != nil && !errors.Is(err, redis.Nil) {
		s.tb.Fatalf("redistest: %v", err)
	}
	return reply
}

// ask is Do for a command that may be refused.
func (s *Server) ask(args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), patience)
	defer cancel()
	reply, err := s.client.Do(ctx, args...).Result()
	if err != nil {
		return nil, fmt.Errorf("run %v: %w", args, err)
	}
	return reply, nil
}

// Role returns what the server takes itself for, in Redis's words "master" or "slave"; nothing if it does not say: the
// Sentinels have it hang up on everybody when they give it another role.
func (s *Server) Role() string {
	reply, _ := s.ask("ROLE")
	if parts, _ := reply.([]any); len(parts) > 0 {
		role, _ := parts[0].(string)
		return role
	}
	return ""
}

// Kill ends the server as a crash would: at once, and with nothing written. Again, it does nothing.
func (s *Server) Kill() { s.process.kill() }

// Restart starts the server again where it was, after killing it if need be. What it was not told to write is gone.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	if err := s.launch(); err != nil {
		s.tb.Fatalf("redistest: restart on port %d: %v", s.port, err)
	}
}

// Pause makes the server hang: it keeps its connections, and the kernel takes new ones for it, but it does nothing.
func (s *Server) Pause() {
	s.tb.Helper()
	if err := s.process.pause(); err != nil {
		s.tb.Fatalf("redistest: pause: %v", err)
	}
	await(s.tb, "the server to stand still", s.process.paused)
}

// Resume ends a pause: the server does what it was asked meanwhile.
func (s *Server) Resume() {
	s.tb.Helper()
	if err := s.process.resume(); err != nil {
		s.tb.Fatalf("redistest: resume: %v", err)
	}
}

// answers reports whether the server answers on its socket, which nobody else can have taken.
func (s *Server) answers() bool {
	// The client holds off for a second after a few failures to connect, so don't let it see them.
	connection, err := net.DialTimeout("unix", s.socket(), patience) //nolint:noctx // it has a time-out
	if err != nil {
		return false
	}
	_ = connection.Close()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	return s.client.Ping(ctx).Err() == nil
}

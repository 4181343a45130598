package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy"
)

// pipes is a listener of connections in memory, each from the address that it is told.
type pipes struct {
	came   chan net.Conn
	closed chan struct{}
	// taken has an element for each connection once the server knows of it.
	taken chan struct{}
	began bool
}

func newPipes() *pipes {
	return &pipes{came: make(chan net.Conn), closed: make(chan struct{}), taken: make(chan struct{}, 1)}
}

func (p *pipes) Accept() (net.Conn, error) {
	if p.began {
		p.taken <- struct{}{}
	}
	p.began = true
	select {
	case conn := <-p.came:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// from is a connection with a peer's address.
type from struct {
	net.Conn
	address net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.address }

// house is a server with a bound on its connections.
type house struct {
	t       *testing.T
	pipes   *pipes
	dropped atomic.Int64
	// hold keeps requests to /hold unanswered until it is closed; held has an element for each.
	hold, held chan struct{}
}

func newHouse(t *testing.T, most int) *house {
	t.Helper()
	h := &house{t: t, pipes: newPipes(), hold: make(chan struct{}), held: make(chan struct{}, 100)}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			h.held <- struct{}{}
			<-h.hold
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	proxy.NewConnections(most, func() { h.dropped.Add(1) }).Guard(server)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(h.pipes) })
	t.Cleanup(func() { _ = server.Close(); running.Wait() })
	return h
}

// visitor is one connection, as its peer has it.
type visitor struct {
	net.Conn
	t *testing.T
}

// visit opens a connection from that address.
func (h *house) visit(address string) visitor {
	h.t.Helper()
	near, far := net.Pipe()
	h.t.Cleanup(func() { _ = near.Close() })
	h.pipes.came <- from{far, net.TCPAddrFromAddrPort(mustAddr(h.t, address))}
	<-h.pipes.taken
	_ = near.SetDeadline(time.Now().Add(10 * time.Second))
	return visitor{near, h.t}
}

func mustAddr(t *testing.T, address string) (a netip.AddrPort) {
	t.Helper()
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ask sends a whole request.
func (v visitor) ask(path string) visitor {
	v.t.Helper()
	if _, err := io.WriteString(v, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		v.t.Errorf("ask %s: %v", path, err)
	}
	return v
}

// answered reads an answer.
func (v visitor) answered() bool {
	text := make([]byte, 512)
	n, err := v.Read(text)
	return err == nil && n > 0
}

// isOpen reports whether the connection still takes a request and answers.
func (v visitor) isOpen() bool {
	if _, err := io.WriteString(v, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		return false
	}
	return v.answered()
}

const (
	here  = "192.0.2.1:1000"
	there = "192.0.2.2:1000"
)

func (h *house) wantDropped(want int64) {
	h.t.Helper()
	if got := h.dropped.Load(); got != want {
		h.t.Errorf("%d connections were dropped, want %d", got, want)
	}
}

func TestOneConnectionTooManyTurnsOutTheOneLongestWithoutARequest(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3)
	first, second, third := h.visit(here), h.visit(here), h.visit(here)
	h.wantDropped(0)
	if !first.isOpen() { // which makes it the latest
		t.Fatal("there is no room for three")
	}
	fourth := h.visit(here)
	if second.isOpen() {
		t.Error("the one that was longest without a request is open still")
	}
	h.wantDropped(1)
	for name, v := range map[string]visitor{"first": first, "third": third, "fourth": fourth} {
		if !v.isOpen() {
			t.Errorf("the %s was dropped", name)
		}
	}
}

func TestAConnectionWhoseRequestIsBeingAnsweredIsNeverDropped(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	first, second := h.visit(here).ask("/hold"), h.visit(here).ask("/hold")
	<-h.held
	<-h.held
	if third := h.visit(here); third.isOpen() {
		t.Error("a third was let in")
	}
	h.wantDropped(1)
	close(h.hold)
	if !first.answered() || !second.answered() {
		t.Error("a request was not answered")
	}
	if third := h.visit(here); !third.isOpen() {
		t.Error("nobody is let in after that")
	}
	h.wantDropped(2)
}

func TestAConnectionThatEndsMakesRoom(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	for range 10 {
		v := h.visit(here)
		if !v.isOpen() {
			t.Fatal("turned away")
		}
		_ = v.Close()
	}
	first, second := h.visit(here), h.visit(there)
	if !first.isOpen() || !second.isOpen() {
		t.Error("there is no room for two")
	}
}

func TestWhoOpensManyTurnsOutItself(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ good, bad string }{
		"by address":              {"192.0.2.1:1000", "192.0.2.2:1000"},
		"by network, where it is": {"[2001:db8:1::1]:1000", "[2001:db8:2::1]:1000"},
		"by the address within":   {"[::ffff:192.0.2.1]:1000", "[::ffff:192.0.2.2]:1000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 10)
			good := []visitor{h.visit(tt.good), h.visit(tt.good)}
			for range 100 {
				h.visit(tt.bad)
			}
			good = append(good, h.visit(tt.good), h.visit(tt.good))
			for i, v := range good {
				if !v.isOpen() {
					t.Errorf("connection %d of who has few was dropped", i)
				}
			}
			h.wantDropped(102 + 2 - 10)
		})
	}
}

func TestANetworkIsOnePeer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 4)
	good := h.visit(here)
	for _, address := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "[2001:db8::4]:1", "[2001:db8::5:6:7:8]:1"} {
		h.visit(address)
	}
	if !good.isOpen() {
		t.Error("addresses of one network turned out another peer")
	}
}

func TestHooksThatAServerHasStay(t *testing.T) {
	t.Parallel()
	type key struct{}
	var states atomic.Int64
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		ConnContext:       func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, key{}, "mine") },
		ConnState:         func(net.Conn, http.ConnState) { states.Add(1) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Context().Value(key{}) != "mine" {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}),
	}
	proxy.NewConnections(1, func() {}).Guard(server)
	h := &house{t: t, pipes: newPipes()}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(h.pipes) })
	t.Cleanup(func() { _ = server.Close(); running.Wait() })
	v := h.visit(here).ask("/")
	text := make([]byte, 15)
	if _, err := io.ReadFull(v, text); err != nil || string(text) != "HTTP/1.1 200 OK" || states.Load() == 0 {
		t.Errorf("answered %q, %v, after %d states", text, err, states.Load())
	}
}

func TestABodyThatIsStillComingIsNoRequestYet(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	slow := h.visit(here)
	if _, err := io.WriteString(slow, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n123"); err != nil {
		t.Fatal(err)
	}
	if other := h.visit(here); !other.isOpen() {
		t.Error("a body that does not come holds the port")
	}
	h.wantDropped(1)
}

func TestAGuardedHandlerReadsTheBodyAsItWasSent(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"none": 0, "one byte": 1, "the most": 64 << 10, "one more": 64<<10 + 1, "far more": 1 << 20} {
		for _, length := range []string{"told", "chunked"} {
			t.Run(name+", its length "+length, func(t *testing.T) {
				t.Parallel()
				server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n, err := io.Copy(io.Discard, r.Body)
					_, _ = fmt.Fprintf(w, "%d %v", n, err)
				})}
				proxy.NewConnections(1, func() {}).Guard(server)
				ts := httptest.NewUnstartedServer(nil)
				ts.Config = server
				ts.Start()
				t.Cleanup(ts.Close)
				var body io.Reader = bytes.NewReader(make([]byte, size))
				if length == "chunked" {
					body = io.MultiReader(body) // which hides its length
				}
				answer, err := ts.Client().Post(ts.URL, "", body)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = answer.Body.Close() }()
				if got, _ := io.ReadAll(answer.Body); string(got) != fmt.Sprintf("%d <nil>", size) {
					t.Errorf("read %q, want all %d bytes", got, size)
				}
			})
		}
	}
}

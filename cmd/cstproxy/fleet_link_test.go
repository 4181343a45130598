package main

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// link is a TCP proxy between a replica and Redis. While it is down it passes nothing on and closes nothing.
type link struct {
	listener net.Listener
	server   string
	down     atomic.Bool
	delay    atomic.Int64         // in ns, for each piece that is passed on
	gate     atomic.Pointer[gate] // nil is none

	group sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

func startLink(t *testing.T, server *redistest.Server) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, server: server.Addr()}
	l.group.Go(l.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		l.group.Wait()
	})
	return l
}

// startFleetOver starts two replicas, of which the first reaches Redis by the link alone.
func startFleetOver(t *testing.T, redis *redistest.Server, options portaltest.Options, wrap seen, environ ...string) (*fleet, *link) {
	t.Helper()
	l := startLink(t, redis)
	f := newFleet(t, 2, options, wrap, environ...)
	f.start(0, onLink(l))
	f.start(1, onRedis(redis))
	return f, l
}

// onLink returns the setting for the server at the other end of a link.
func onLink(l *link) string { return "REDIS_URL=redis://" + l.listener.Addr().String() }

// cut closes all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

func (l *link) serve() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.server)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		talk := &talk{link: l}
		l.group.Go(func() { l.pass(far, near, talk.holdsRequest) })
		l.group.Go(func() { l.pass(near, far, talk.holdsAnswer) })
	}
}

// pass passes on what comes until either end closes. What comes while the link is down, or is held, is lost.
func (l *link) pass(to, from net.Conn, held func(piece []byte) bool) {
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if delay := l.delay.Load(); delay > 0 {
			<-time.After(time.Duration(delay))
		}
		if l.down.Load() || held(buffer[:n]) {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// texts tell requests to Redis: those that have all of has and not hasNot. The zero texts tell none.
type texts struct {
	has    []string
	hasNot string
}

func (x texts) tell(request []byte) bool {
	for _, text := range x.has {
		if !bytes.Contains(request, []byte(text)) {
			return false
		}
	}
	return len(x.has) > 0 && (x.hasNot == "" || !bytes.Contains(request, []byte(x.hasNot)))
}

// gate makes a connection go silent for good, and not close, at a request: before it is carried out or before its answer
// comes back.
type gate struct {
	texts  texts
	answer bool
	// reached is closed once something has come to the gate.
	reached chan struct{}
	once    sync.Once
}

func before(request texts) *gate { return &gate{texts: request, reached: make(chan struct{})} }

func after(request texts) *gate {
	return &gate{texts: request, answer: true, reached: make(chan struct{})}
}

// hold says that something has come to the gate.
func (g *gate) hold() { g.once.Do(func() { close(g.reached) }) }

// talk is what one connection of a link is used for: each request waits for the answer to the one before.
type talk struct {
	link *link
	mu   sync.Mutex
	// at is the gate to which a request came, nil while none did.
	at *gate
}

func (c *talk) holdsRequest(request []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.link.gate.Load(); g != nil && c.at == nil && g.texts.tell(request) {
		c.at = g
	}
	if c.at == nil || c.at.answer {
		return false
	}
	c.at.hold()
	return true
}

func (c *talk) holdsAnswer([]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		return false
	}
	c.at.hold()
	return true
}

package cache

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/socket"
)

// errOldLink makes the pool drop a connection instead of using it again.
var errOldLink = errors.New("it was opened before replies came out of step")

// links lets go of all connections at once, where a reply on one was another question's: that one would go on giving wrong
// answers. Commands under way are not disturbed: each connection is dropped before it is used again. It is a hook for what
// dials.
type links struct{ era atomic.Uint64 }

// follow has all connections that client will open be let go of in time.
func (l *links) follow(client redis.UniversalClient) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(l) })
		return
	}
	client.AddHook(l)
}

// drop lets go of all connections that are open.
func (l *links) drop() { l.era.Add(1) }

// DialHook implements [redis.Hook].
func (l *links) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		era := l.era.Load()
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if own, ok := socket.New(conn); ok {
			conn = own
		}
		return &link{Conn: conn, era: era, of: l}, nil
	}
}

// ProcessHook implements [redis.Hook].
func (l *links) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements [redis.Hook].
func (l *links) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// link is a connection that knows when it was opened.
type link struct {
	net.Conn
	era uint64
	of  *links
}

// SyscallConn implements [syscall.Conn]. The pool asks for it to look whether an idle connection is well, and takes an error
// for a no.
func (c *link) SyscallConn() (syscall.RawConn, error) {
	if c.era != c.of.era.Load() {
		return nil, errOldLink
	}
	if own, ok := c.Conn.(*socket.Conn); ok && own.Quiet() {
		return opaque{}, nil // as the pool would find, with a call that wakes the scheduler's monitor
	}
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return opaque{}, nil // TLS: what lies in the socket is not for the pool to judge
}

// opaque is a connection that can't be looked into, or was. Nothing is wrong with it, as far as anybody can tell.
type opaque struct{}

func (opaque) Control(func(uintptr)) error { return nil }

func (opaque) Read(func(uintptr) bool) error { return nil }

func (opaque) Write(func(uintptr) bool) error { return nil }

package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/proxy/socket"
)

// hitConn is a connection on which hits are answered while net/http waits for a request.
type hitConn struct {
	net.Conn

	hits *Hits
	// socket is the same connection.
	socket *socket.Conn
	// resting: net/http waits for a request, has none in part, and owes no answer.
	resting atomic.Bool
	// handed is what net/http was handed, served how many requests it answered.
	handed emptyLines
	served int
	// answered is when the last hit was, writable until when an answer may be written.
	answered, writable time.Time
	// host is one that may ask.
	host string
	out  []byte
}

// Read implements [net.Conn].
func (c *hitConn) Read(p []byte) (int, error) {
	for c.resting.Load() {
		n, err := c.socket.Await(p, c.hit)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.mayRest() {
			c.handOver(p[:n])
			return n, err
		}
	}
	n, err := c.Conn.Read(p)
	c.handed.add(p[:n])
	return n, err
}

// mayRest gives the peer as much time for another request as it has after an answer of net/http's.
func (c *hitConn) mayRest() bool {
	if c.answered.IsZero() {
		return false
	}
	left := c.hits.limits.idle - time.Since(c.answered)
	return left > 0 && c.SetReadDeadline(time.Now().Add(left)) == nil
}

// handOver leaves what was read to net/http, which has as much time for the rest as for any request.
func (c *hitConn) handOver(text []byte) {
	c.resting.Store(false)
	c.handed.add(text)
	if !c.answered.IsZero() {
		_ = c.SetReadDeadline(time.Now().Add(c.hits.limits.header))
	}
}

// changed takes a change that net/http tells of. It does so once for each request that it answered, and then rests if it has
// all of that, and no more. The first goes to it in any case: it leaves a connection of none alone that it is to close.
func (c *hitConn) changed(state http.ConnState) {
	if state != http.StateIdle {
		return
	}
	c.served++
	if c.handed.ends(c.served) {
		c.resting.Store(true)
	}
}

// hit answers a request that is one.
func (c *hitConn) hit(text []byte) bool {
	p, ok := parsePlain(text)
	if !ok || !c.hits.ended.TryRLock() {
		return false
	}
	defer c.hits.ended.RUnlock()
	if !c.mayAsk(p.host) {
		return false
	}
	one := c.hits.parts.Connections.begin(c)
	defer c.hits.parts.Connections.end(one)
	ctx := context.Background() //nolint:forbidigo // net/http has made none yet
	var line hitLine
	c.out, line = c.hits.answer(ctx, c.out[:0], p)
	if len(c.out) == 0 {
		return false
	}
	now := line.ended
	if c.writable.Sub(now) < c.hits.limits.write/2 {
		_ = c.SetWriteDeadline(now.Add(c.hits.limits.write))
	}
	c.answered = now
	if _, err := c.socket.Write(c.out); err != nil {
		_ = c.Close() // which is how net/http learns of it
	}
	c.hits.parts.Server.sayHit(ctx, line) // who asked need not wait for it
	return true
}

// mayAsk remembers the last Host that may.
func (c *hitConn) mayAsk(host []byte) bool {
	if string(host) == c.host && len(host) > 0 {
		return true
	}
	if !c.hits.parts.Host(string(host), c.LocalAddr()) {
		return false
	}
	c.host = string(host)
	return true
}

// SetWriteDeadline implements [net.Conn].
func (c *hitConn) SetWriteDeadline(at time.Time) error {
	c.writable = at
	return c.Conn.SetWriteDeadline(at)
}

// SetDeadline implements [net.Conn].
func (c *hitConn) SetDeadline(at time.Time) error {
	c.writable = at
	return c.Conn.SetDeadline(at)
}

// NetConn returns the connection that this is about.
func (c *hitConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends what is written, where the connection can: net/http does so before it closes on one who still sends.
func (c *hitConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

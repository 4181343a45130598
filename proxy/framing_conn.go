package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// framedConn is a connection of which each header section is looked at as it is read. Reads come one after the other, as
// net/http makes them; it changes the state between them.
type framedConn struct {
	net.Conn

	scan scan
	// begun counts the requests that net/http has read, of which the last has this fault.
	begun uint64
	fault fault
	// answering is true from the end of a header to that of its answer. Meanwhile net/http reads the body, or in the
	// background, where it ends by a time-out of its own making.
	answering atomic.Bool
	// cut: what comes now is not read any more.
	cut bool
}

// farewell tells who was too slow; net/http would close the connection without a word.
const farewell = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// Read implements [net.Conn].
func (c *framedConn) Read(p []byte) (int, error) {
	if c.cut {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	seen := c.scan.take(p[:n])
	if c.answering.Load() {
		return n, err
	}
	if c.scan.fault == faultCoding && c.scan.bad == c.begun+1 {
		return c.stop(seen)
	}
	if n == 0 && c.scan.partial && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c.Conn, farewell)
		_ = c.Close() // or net/http might take half a line for all of it, and answer that
	}
	return n, err
}

// stop ends what is read a byte before the end of a header section. Net/http takes that for a client's mistake; whole, the
// header would be answered with 501, as if the proxy had one.
func (c *framedConn) stop(seen int) (int, error) {
	c.cut = true
	if seen == 1 {
		return 0, io.EOF
	}
	return seen - 1, nil
}

// changed takes a change that net/http tells of. A request begins before anything that follows it is read.
func (c *framedConn) changed(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.answering.Store(true)
		c.begun++
		if c.scan.bad != 0 && c.begun >= c.scan.bad {
			c.fault = c.scan.fault
		}
	case http.StateIdle:
		c.answering.Store(false)
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}

func (c *framedConn) framed() *framedConn { return c }

// NetConn returns the connection that this is about, under TLS too.
func (c *framedConn) NetConn() net.Conn { return raw(c.Conn) }

// CloseWrite ends what is written, where the connection can: net/http does so before it closes on one who still sends.
func (c *framedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// securedConn is a framedConn of TLS. Since net/http does not see that it is, it makes the handshake itself.
type securedConn struct {
	framedConn

	secure  *tls.Conn
	framing *Framing
}

// ConnectionState makes the handshake, if there was none: net/http calls it before it reads, and takes from it what the
// handler is told of TLS.
func (c *securedConn) ConnectionState() tls.ConnectionState {
	if err := c.handshake(); err != nil {
		c.framing.complain("http: TLS handshake error from %s: %v", c.RemoteAddr(), err)
	}
	return c.secure.ConnectionState()
}

// handshake fails where there can be none. What net/http then reads fails in the same way.
func (c *securedConn) handshake() error {
	var deadline time.Time
	if c.framing.patience > 0 {
		deadline = time.Now().Add(c.framing.patience)
	}
	_ = c.SetDeadline(deadline)
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	err := c.secure.Handshake() //nolint:noctx // nobody gives up on it before its deadline
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
		_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		_ = plain.Conn.Close()
	}
	return err
}

// looksLikeHTTP goes by what net/http goes by.
func looksLikeHTTP(start [5]byte) bool {
	switch string(start[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// handshakeTime is what net/http gives a handshake: the least of the limits that the server has.
func handshakeTime(server *http.Server) time.Duration {
	least := time.Duration(0)
	for _, limit := range []time.Duration{server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout} {
		if limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	}
	return least
}

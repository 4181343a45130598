package proxy

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Framing holds requests to the letter of RFC 9112 where net/http is lenient and whoever is next on the way may not be. It
// looks at the bytes of each header section before net/http does; a request with a fault is refused and its connection
// closed, and a header that does not arrive in time is told so.
type Framing struct {
	// patience is how long a TLS handshake may take.
	patience time.Duration
	// complain is the server's own log, if it has one.
	complain func(format string, args ...any)
}

// NewFraming returns a Framing, for one server: its listener must be wrapped, and the server guarded before it serves.
func NewFraming() *Framing { return &Framing{complain: func(string, ...any) {}} }

// Listener returns inner with what arrives on its connections looked at. Those of TLS are looked at within it.
func (f *Framing) Listener(inner net.Listener) net.Listener { return framingListener{inner, f} }

type framingListener struct {
	net.Listener
	framing *Framing
}

func (l framingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if secure, ok := conn.(*tls.Conn); ok {
		return &securedConn{framedConn{Conn: conn}, secure, l.framing}, nil
	}
	return &framedConn{Conn: conn}, nil
}

// framed is any connection of a Framing.
type framed interface{ framed() *framedConn }

type framedKey struct{}

// Guard has server refuse the requests with a fault before any handler that it has so far sees them. Hooks that it has stay.
func (f *Framing) Guard(server *http.Server) {
	withContext, withState, handler := server.ConnContext, server.ConnState, server.Handler
	if server.ErrorLog != nil {
		f.complain = server.ErrorLog.Printf
	}
	f.patience = handshakeTime(server)
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if withContext != nil {
			ctx = withContext(ctx, conn)
		}
		if own, ok := conn.(framed); ok {
			ctx = context.WithValue(ctx, framedKey{}, own.framed())
		}
		return ctx
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if withState != nil {
			withState(conn, state)
		}
		if own, ok := conn.(framed); ok {
			own.framed().changed(state)
		}
	}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(framedKey{}).(*framedConn); ok && conn.fault != "" {
			misframed(w, r, conn.fault)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// misframed answers a request that nobody should have to make sense of.
func misframed(w http.ResponseWriter, r *http.Request, found fault) {
	id := r.Header.Get(echo.HeaderXRequestID)
	if !isRequestID(id) {
		id = rand.Text()
	}
	err := fmt.Errorf("%w: %s", session.ErrInvalidRequest, found)
	p := explain(err)
	header := w.Header()
	header.Set("Connection", "close")
	header.Set("Cache-Control", "no-store")
	header.Set(echo.HeaderXRequestID, id)
	header.Set(echo.HeaderContentType, "application/problem+json")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(p.document(err, id))
}

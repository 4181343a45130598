package proxy

import (
	"net"
	"net/http"
	"time"

	"github.com/cstproxy/cstproxy/proxy/socket"
)

// Guard has server tell when its connections rest. Hooks that it has stay.
func (h *Hits) Guard(server *http.Server) {
	h.limits = hitLimits{header: server.ReadHeaderTimeout, write: server.WriteTimeout, idle: server.IdleTimeout}
	withState := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if withState != nil {
			withState(conn, state)
		}
		if own, ok := conn.(*hitConn); ok {
			own.changed(state)
		}
	}
}

// Listener returns inner with hits answered on its connections, but for those that are not the system's own, as of TLS.
func (h *Hits) Listener(inner net.Listener) net.Listener { return hitListener{inner, h} }

type hitListener struct {
	net.Listener
	hits *Hits
}

func (l hitListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	own, ok := socket.New(conn)
	if !ok {
		return conn, nil
	}
	return &hitConn{Conn: conn, socket: own, hits: l.hits}, nil
}

// hitLimits are those of the server.
type hitLimits struct{ header, write, idle time.Duration }

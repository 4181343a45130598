package proxy

import (
	"net"
	"net/http"
	"time"
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
	own := &hitConn{Conn: conn, hits: l.hits}
	if err != nil || !own.open() {
		return conn, err
	}
	return own, nil
}

// hitLimits are those of the server.
type hitLimits struct{ header, write, idle time.Duration }

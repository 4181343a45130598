package caller

import (
	"context"
	"net"
	"net/http"
	"syscall"
)

// peerKey is where the context of a connection keeps the user id of the process at its other end.
type peerKey struct{}

// ConnContext notes who is at the other end of a Unix socket, where the system tells. It is for [http.Server]; a connection
// that wraps the socket must say so by NetConn, as TLS does.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	socket, ok := innermost(conn).(syscall.Conn)
	if !ok {
		return ctx
	}
	uid, err := peerUID(socket)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

func innermost(conn net.Conn) net.Conn {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = outer.NetConn()
	}
}

// byPeer tells whose request it is by the user that the process runs as which connected.
func (b *book) byPeer(r *http.Request) ([]int, error) {
	uid, known := r.Context().Value(peerKey{}).(uint32)
	if !known {
		return nil, nil
	}
	caller, ok := b.uids[uid]
	if !ok {
		return nil, nil
	}
	return []int{caller}, nil
}

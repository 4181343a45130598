package proxy

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Connections bounds how many connections a server has open. None waits for another to end: when there is one too many,
// the one is dropped that has gone longest without a whole request, of the peer with the most if that has more than its
// share; so who opens many and sends little turns out itself. A connection on which a request is being answered is never
// dropped.
type Connections struct {
	most    int
	dropped func()

	mu sync.Mutex
	// open :: connection as net/http has it -> what is known of it
	open map[net.Conn]*connection
	// peers :: address -> who connects from there
	peers map[netip.Prefix]*peer
	// largest had the most connections when it was last compared.
	largest *peer
	// idle are all connections without a request, the longest first.
	idle list.List
}

// peer is who connects from one address. Whoever connects over a socket is the zero address.
type peer struct {
	address netip.Prefix
	open    int
	// idle are those of its connections without a request, the longest first.
	idle list.List
}

// connection is one of a peer's. Its elements are nil while requests are answered by a handler, of which HTTP/2 may have several.
type connection struct {
	conn     net.Conn
	peer     *peer
	requests int
	all, own *list.Element
}

// NewConnections returns a Connections that keeps at most so many open, and calls dropped for each that it drops.
func NewConnections(most int, dropped func()) *Connections {
	return &Connections{most: most, dropped: dropped, open: map[net.Conn]*connection{}, peers: map[netip.Prefix]*peer{}}
}

type connectionKey struct{}

// Guard bounds the connections of server, which must not have begun to serve. Hooks that it has stay.
func (c *Connections) Guard(server *http.Server) {
	withContext, withState, handler := server.ConnContext, server.ConnState, server.Handler
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if withContext != nil {
			ctx = withContext(ctx, conn)
		}
		return context.WithValue(ctx, connectionKey{}, c.add(conn))
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if withState != nil {
			withState(conn, state)
		}
		if state == http.StateClosed || state == http.StateHijacked {
			c.remove(conn)
		}
	}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if one, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			arrive(w, r)
			c.busy(one)
			defer c.rest(one)
		}
		handler.ServeHTTP(w, r)
	})
}

// arrive reads the body, so that whoever sends it slowly holds a connection and nothing else. What is wrong with it comes
// up again where it is read; that nothing can follow it on the connection is seen to here, since net/http only does so for
// a body that is still its own.
func arrive(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.ContentLength > maxBody {
		return // which is refused unread
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r.Body, maxBody+1); err != nil && !errors.Is(err, io.EOF) {
		w.Header().Set("Connection", "close")
	}
	r.Body = arrived{io.MultiReader(&body, r.Body), r.Body}
}

type arrived struct {
	io.Reader
	io.Closer
}

func (c *Connections) add(conn net.Conn) *connection {
	address := addressOf(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.peers[address]
	if from == nil {
		from = &peer{address: address}
		c.peers[address] = from
	}
	one := &connection{conn: conn, peer: from}
	c.open[conn] = one
	from.open++
	if c.largest == nil || from.open > c.largest.open {
		c.largest = from
	}
	c.wait(one)
	if len(c.open) > c.most {
		c.drop()
	}
	return one
}

// drop makes room for one that came last: if all others are being answered, it is the one to go.
func (c *Connections) drop() {
	var victim *connection
	if share := c.most / len(c.peers); c.largest.open > share {
		victim = longest(&c.largest.idle)
	}
	if victim == nil {
		victim = longest(&c.idle) // in which is the newcomer, at least
	}
	c.forget(victim)
	c.dropped()
	_ = raw(victim.conn).Close() // net/http finds out, and has it removed
}

// longest returns the one that has waited longest.
func longest(idle *list.List) *connection {
	for e := idle.Front(); e != nil; e = e.Next() {
		if one, ok := e.Value.(*connection); ok && one.requests == 0 {
			return one
		}
	}
	return nil
}

func (c *Connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.open[conn]; one != nil {
		c.forget(one)
	}
}

func (c *Connections) forget(one *connection) {
	c.unwait(one)
	delete(c.open, one.conn)
	one.peer.open--
	if one.peer.open == 0 {
		delete(c.peers, one.peer.address)
	}
}

func (c *Connections) busy(one *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.requests++
	c.unwait(one)
}

func (c *Connections) rest(one *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.requests--
	if one.requests == 0 && one.all == nil && c.open[one.conn] == one {
		c.wait(one)
	}
}

// begin is busy for the connection as net/http has it, for so short a time that its place goes to the end at once; end must
// follow.
func (c *Connections) begin(conn net.Conn) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.open[conn]
	if one == nil {
		return nil
	}
	one.requests++
	if one.all != nil {
		c.idle.MoveToBack(one.all)
		one.peer.idle.MoveToBack(one.own)
	}
	return one
}

// end is rest, of what begin returned.
func (c *Connections) end(one *connection) {
	if one != nil {
		c.rest(one)
	}
}

// wait puts the connection last among those without a request.
func (c *Connections) wait(one *connection) {
	one.all, one.own = c.idle.PushBack(one), one.peer.idle.PushBack(one)
}

func (c *Connections) unwait(one *connection) {
	if one.all == nil {
		return
	}
	c.idle.Remove(one.all)
	one.peer.idle.Remove(one.own)
	one.all, one.own = nil, nil
}

// addressOf returns the address that the peer has to itself: of IPv6, a network.
func addressOf(conn net.Conn) netip.Prefix {
	const ofNetwork = 64
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	address := from.Addr().Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = ofNetwork
	}
	prefix, _ := address.Prefix(bits)
	return prefix
}

// raw returns the connection under TLS: to close that waits for nobody.
func raw(conn net.Conn) net.Conn {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return over.NetConn()
	}
	return conn
}

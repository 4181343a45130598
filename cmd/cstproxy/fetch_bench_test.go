package main

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// fetched is the client whose token is fetched over and over.
const fetched = session.ClientID("cm0r6nkek00ej10dwwx8wdjmf")

// wireFor wires the proxy as `cstproxy serve` does, with its metrics and its log at info, which goes to the null device, and has
// it mint a token of the client. Nothing runs in its background.
func wireFor(tb testing.TB, environ ...string) *application {
	tb.Helper()
	portal := portaltest.New(portaltest.Options{AnyClient: true})
	upstream := httptest.NewServer(portal)
	tb.Cleanup(func() { portal.Close(); upstream.Close() })
	config, err := loadConfig(append(environ, "PORTAL_API_URL="+upstream.URL, "PORTAL_API_KEY="+portaltest.DefaultKey), nil)
	if err != nil {
		tb.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = null.Close() })
	a, err := wire(config, surroundings{local: time.Now, err: null, log: newLog(config, null)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		a.broker.Close(context.WithoutCancel(tb.Context()))
		a.close()
	})
	a.store.look(tb.Context())
	if _, err := a.broker.Grant(tb.Context(), session.Ask{Client: fetched}); err != nil {
		tb.Fatal(err)
	}
	return a
}

// answered takes an answer as net/http's own writer would, without what that costs.
type answered struct {
	header http.Header
	status int
}

func (a *answered) Header() http.Header            { return a.header }
func (a *answered) WriteHeader(status int)         { a.status = status }
func (a *answered) Write(body []byte) (int, error) { return len(body), nil }

// fetches are the ways to fetch a token in the process: the first grants it, the second answers a request too, and the third
// answers it on the connection.
func fetches(tb testing.TB, a *application) map[string]func() {
	tb.Helper()
	ctx := caller.ConnContext(tb.Context(), nil)
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/clients/"+string(fetched)+"/token", http.NoBody)
	request.Host, request.RemoteAddr = "127.0.0.1:8080", "127.0.0.1:1234"
	answer := &answered{header: http.Header{}}
	return map[string]func(){
		"grant": func() {
			grant, err := a.broker.Grant(ctx, session.Ask{Client: fetched})
			if err != nil || grant.Source != session.SourceCache {
				tb.Fatalf("%v, %v", grant.Source, err)
			}
		},
		"handler": func() {
			clear(answer.header)
			request.Body = http.NoBody // the handler put its own in that place
			a.data.ServeHTTP(answer, request)
			if answer.status != http.StatusOK {
				tb.Fatalf("status %d", answer.status)
			}
		},
		"connection": onConnection(tb, a),
	}
}

// onConnection returns a fetch that is answered on the connection, for as long as it is a hit: from the bytes of the request,
// as they are read, to those of the answer.
func onConnection(tb testing.TB, a *application) func() {
	tb.Helper()
	server := a.server(a.data)
	listener := a.answering(server, a.bound(server, portData, 1), endless{})
	next, stop := iter.Pull(func(answered func([]byte) bool) {
		accepted, err := listener.Accept()
		if err != nil {
			tb.Error(err)
			return
		}
		conn, _ := raw(accepted).(*requests)
		conn.answered = answered
		server.ConnContext(tb.Context(), accepted)
		_, _ = accepted.Read(make([]byte, 4096)) // which returns only what is for net/http
	})
	tb.Cleanup(stop)
	return func() {
		if answer, ok := next(); !ok || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 OK\r\n")) {
			tb.Fatalf("answered %q", answer)
		}
	}
}

func raw(conn net.Conn) net.Conn {
	for {
		inner, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = inner.NetConn()
	}
}

// endless is a listener to whom somebody comes at once.
type endless struct{ net.Listener }

func (endless) Accept() (net.Conn, error) { return &requests{}, nil }

// requests is a connection on which one fetch comes after the other, each when the one before was answered.
type requests struct {
	net.Conn
	answered func(text []byte) bool
	ended    bool
}

func (r *requests) Read(p []byte) (int, error) {
	if r.ended {
		return 0, io.EOF
	}
	return copy(p, "GET /v1/clients/"+fetched+"/token HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: app\r\nAccept: application/json\r\n\r\n"), nil
}

func (r *requests) Write(p []byte) (int, error) {
	r.ended = !r.answered(p)
	return len(p), nil
}

func (*requests) Close() error                     { return nil }
func (*requests) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }
func (*requests) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1234} }
func (*requests) SetReadDeadline(time.Time) error  { return nil }
func (*requests) SetWriteDeadline(time.Time) error { return nil }

// stores are where a token is found: in the process alone, in the memory before Redis, or in Redis.
func stores(tb testing.TB) map[string][]string {
	tb.Helper()
	redis := "REDIS_URL=" + redistest.Start(tb).SocketURL()
	return map[string][]string{
		"alone":  nil,
		"memory": {redis, "CSTPROXY_MEMORY_TTL=1h"}, // no round of a benchmark ends up in Redis
		"redis":  {redis, "CSTPROXY_MEMORY_TTL=0"},
	}
}

// BenchmarkFetch measures a whole fetch in the process, without what net/http costs on either side.
func BenchmarkFetch(b *testing.B) {
	stores := stores(b)
	for _, store := range []string{"alone", "memory", "redis"} {
		for _, way := range []string{"grant", "handler", "connection"} {
			if store == "redis" && way == "connection" {
				continue // net/http has what is not remembered
			}
			b.Run(store+"-"+way, func(b *testing.B) {
				fetch := fetches(b, wireFor(b, stores[store]...))[way]
				b.ReportAllocs()
				for b.Loop() {
					fetch()
				}
			})
		}
	}
}

// TestFetchAllocations holds a fetch to the allocations that it has: a change that adds one says so here.
func TestFetchAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("SKIPPED: the race detector allocates too")
	}
	// Two of them are the connection's place among those that are idle, one is the client's id, and one tells metrics.
	const onConnections = 4
	stores := stores(t)
	for store, most := range map[string]map[string]float64{
		"alone":  {"grant": 0, "handler": 4, "connection": onConnections},
		"memory": {"grant": 0, "handler": 4, "connection": onConnections},
		"redis":  {"grant": 34, "handler": 38},
	} {
		t.Run(store, func(t *testing.T) {
			ways := fetches(t, wireFor(t, stores[store]...))
			for way, most := range most {
				fetch := ways[way]
				testing.AllocsPerRun(500, fetch) // until the log leaves lines out
				if got := testing.AllocsPerRun(1000, fetch); got > most {
					t.Errorf("%s: %g allocations, want at most %g", way, got, most)
				}
			}
		})
	}
}

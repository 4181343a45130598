package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
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
// has it answered on the connection.
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

// onConnection returns a fetch that is answered on the connection, and what the system takes to carry it over there and back.
func onConnection(tb testing.TB, a *application) func() {
	tb.Helper()
	server := a.server(a.data)
	inner, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	listener := a.answering(server, a.bound(server, portData, 1), inner)
	rests, told := make(chan struct{}), server.ConnState
	rest := sync.OnceFunc(func() { close(rests) })
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		told(conn, state)
		if state == http.StateIdle {
			rest()
		}
	}
	go func() { _ = server.Serve(listener) }()
	tb.Cleanup(func() { _ = server.Close() })
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", inner.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	request, answer := []byte("GET /v1/clients/"+fetched+"/token HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: application/json\r\n\r\n"), make([]byte, 4096)
	fetch := func() {
		_, _ = conn.Write(request)
		if n, err := conn.Read(answer); err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200 OK\r\n")) {
			tb.Fatalf("answered %q, %v", answer[:n], err)
		}
	}
	fetch()
	<-rests
	return fetch
}

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
				continue // what the system takes for two round trips is no figure of one process
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
	// It is the client's id.
	const onConnections = 1
	stores := stores(t)
	for store, most := range map[string]map[string]float64{
		"alone":  {"grant": 0, "handler": 4, "connection": onConnections},
		"memory": {"grant": 0, "handler": 4, "connection": onConnections},
		"redis":  {"grant": 20, "handler": 24, "connection": 18},
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

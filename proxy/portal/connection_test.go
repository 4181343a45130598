package portal_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// counting counts the connections that a server accepts.
func counting(n *atomic.Int64) func(*httptest.Server) {
	return func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				n.Add(1)
			}
		}
	}
}

// secured makes the server speak TLS as config has it.
func secured(config *tls.Config) func(*httptest.Server) {
	return func(s *httptest.Server) { s.TLS, s.EnableHTTP2 = config, true }
}

// trusting returns a Client of the server that knows its certificate.
func trusting(tb testing.TB, server *httptest.Server, changes ...func(*portal.Parts)) *portal.Client {
	tb.Helper()
	client := newClient(tb, server.URL, changes...)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	portal.Transport(client).TLSClientConfig.RootCAs = roots
	return client
}

// dialing lets wrap have the connections that the client dials, and the addresses.
func dialing(client *portal.Client, wrap func(address string, conn net.Conn) net.Conn) {
	transport := portal.Transport(client)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wrap(address, conn), nil
	}
}

// countedConn counts what is read from it.
type countedConn struct {
	net.Conn
	read *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func TestFiftyMintsTakeOneConnection(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	sim := portaltest.New(portaltest.Options{AnyClient: true})
	c := newClient(t, serve(t, sim, counting(&conns)).URL)
	for range 50 {
		if _, err := c.Mint(t.Context(), alice, session.Absent); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestConnectionOutlivesFailures(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]answer{
		"a refusal":                     {status: 401, body: `{"error":"Unauthorized"}`},
		"a refusal without a body":      {status: 404},
		"a refusal with a long body":    {status: 500, body: strings.Repeat("x", 60<<10)},
		"a limit":                       {status: 429, header: http.Header{"Retry-After": {"1"}}},
		"trouble":                       {status: 503, body: "<html></html>"},
		"a redirect":                    {status: 302, header: http.Header{"Location": {"https://elsewhere.invalid/"}}, body: "{}"},
		"garbage":                       {status: 200, body: "<html></html>"},
		"no token":                      {status: 200, body: "{}"},
		"another client's id":           {status: 200, body: document("another", "some-token")},
		"a long answer":                 {status: 200, body: strings.Repeat(" ", 60<<10)},
		"a success that has no content": {status: 204},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int64
			c := newClient(t, serve(t, a, counting(&conns)).URL)
			for range 5 {
				for operation, ask := range operations {
					if _, err := ask(t.Context(), c, held); err == nil && operation == portaltest.Mint {
						t.Error("the mint succeeded")
					}
				}
				_ = c.CheckKey(t.Context())
			}
			if n := conns.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestCloseEndsTheConnectionsThatAreKept(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	server := serve(t, answer{status: 200, body: document(alice, "some-token")}, func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(ended)
			}
		}
	})
	c := newClient(t, server.URL)
	if _, err := c.Mint(t.Context(), alice, session.Absent); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the connection is still there")
	}
}

func TestHugeAnswerIsNotRead(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.Handler{
		"as a success": huge(200), "as a refusal": huge(500),
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				var read atomic.Int64
				c := newClient(t, serve(t, handler).URL)
				dialing(c, func(_ string, conn net.Conn) net.Conn { return countedConn{conn, &read} })
				if _, err := ask(t.Context(), c, held); err == nil {
					t.Error("it was taken")
				}
				if n := read.Load(); n < 64<<10 || n > 128<<10 {
					t.Errorf("%d KiB were read, want little more than 64", n>>10)
				}
			})
		}
	}
}

// huge answers 64 MiB of blanks, as far as anybody reads them.
type huge int

func (status huge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(int(status))
	blanks := []byte(strings.Repeat(" ", 64<<10))
	for range 1 << 10 {
		if _, err := w.Write(blanks); err != nil {
			return
		}
	}
}

// It looks at the memory of the whole process, so it doesn't run beside others.
func TestHugeAnswersCostNoMemory(t *testing.T) {
	w := newWorld(t)
	w.sim.Inject(portaltest.All, portaltest.Fault{Kind: portaltest.Huge})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for operation, ask := range operations {
		if _, err := ask(t.Context(), w, w.token); err == nil {
			t.Errorf("%s succeeded", operation)
		}
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 8<<20 {
		t.Errorf("three answers took %d MiB, those who gave them included", taken>>20)
	}
}

func TestProxyOfTheEnvironmentGetsNothing(t *testing.T) {
	thief := &observed{next: answer{status: 200, body: document(alice, "some-token")}}
	thiefs := serve(t, thief).URL
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, thiefs)
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	o := &observed{next: answer{status: 200, body: document(alice, "some-token")}}
	server := serve(t, o)
	c := newClient(t, "http://portal.example") // which isn't loopback: that is never proxied
	transport := portal.Transport(c)
	// What net/http read of the environment first is all that it ever will.
	if transport.Proxy != nil {
		t.Error("the transport would ask for a proxy")
	}
	var dialed []string
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed = append(dialed, address)
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	if _, err := c.Mint(t.Context(), alice, session.Absent); err != nil {
		t.Error(err)
	}
	if len(dialed) != 1 || dialed[0] != "portal.example:80" {
		t.Errorf("dialed %q", dialed)
	}
	if n := len(thief.arrivals()); n != 0 {
		t.Errorf("%d requests went through the proxy", n)
	}
}

func TestPortalIsAskedOverHTTP2WhereItCan(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	sim := portaltest.New(portaltest.Options{AnyClient: true})
	o := &observed{next: sim}
	c := trusting(t, serve(t, o, secured(&tls.Config{MinVersion: tls.VersionTLS12}), counting(&conns)))
	token, err := c.Mint(t.Context(), alice, session.Absent)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 20 {
		for operation, ask := range operations {
			group.Go(func() {
				if _, err := ask(t.Context(), c, token); err != nil {
					t.Errorf("%s: %v", operation, err)
				}
			})
		}
	}
	group.Wait()
	for _, a := range o.arrivals() {
		if a.Proto != "HTTP/2.0" {
			t.Fatalf("%s %s over %s", a.Method, a.URI, a.Proto)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestFaultsOfPortalAreToldApartOverHTTP2Too(t *testing.T) {
	t.Parallel()
	for kind, want := range map[portaltest.FaultKind]error{
		portaltest.Reset: session.ErrPortalUnavailable, portaltest.Lost: session.ErrPortalUnavailable,
		portaltest.Hang: session.ErrPortalTimeout, portaltest.Redirect: session.ErrPortalBadResponse,
		portaltest.Garbage: session.ErrPortalBadResponse, portaltest.Huge: session.ErrPortalBadResponse,
		portaltest.NoToken: session.ErrPortalBadResponse,
	} {
		for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Register} {
			t.Run(fmt.Sprintf("%s to %s", kind, operation), func(t *testing.T) {
				t.Parallel()
				sim := portaltest.New(portaltest.Options{AnyClient: true})
				server := serve(t, sim, secured(&tls.Config{MinVersion: tls.VersionTLS12}))
				t.Cleanup(sim.Close)
				patience := time.Minute
				if kind == portaltest.Hang {
					patience = time.Second
				}
				sim.Inject(operation, portaltest.Fault{Kind: kind})
				_, err := operations[operation](t.Context(), trusting(t, server, within(patience)), held)
				wantError(t, err, want)
				if n := len(sim.Arrivals(operation)); n != 1 {
					t.Errorf("%d requests arrived", n)
				}
			})
		}
	}
}

func TestTLSBelow12IsRefused(t *testing.T) {
	t.Parallel()
	for version, spoken := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			o := &observed{next: answer{status: 200, body: document(alice, "some-token")}}
			c := trusting(t, serve(t, o, secured(&tls.Config{MinVersion: version, MaxVersion: version})))
			_, err := c.Mint(t.Context(), alice, session.Absent)
			if spoken {
				wantError(t, err, nil)
				return
			}
			wantError(t, err, session.ErrPortalUnavailable)
			if err != nil && !strings.Contains(err.Error(), "protocol version") {
				t.Errorf("for another reason: %v", err)
			}
			if n := len(o.arrivals()); n != 0 {
				t.Errorf("%d requests arrived", n)
			}
		})
	}
}

func TestStrangersCertificateGetsNoKey(t *testing.T) {
	t.Parallel()
	for operation, ask := range operations {
		t.Run(string(operation), func(t *testing.T) {
			t.Parallel()
			o := &observed{next: answer{status: 200, body: document(alice, "some-token")}}
			_, err := ask(t.Context(), newClient(t, serve(t, o, secured(&tls.Config{MinVersion: tls.VersionTLS12})).URL), held)
			wantError(t, err, session.ErrPortalUnavailable)
			if err != nil && !strings.Contains(err.Error(), "certificate") {
				t.Errorf("nobody can tell why: %v", err)
			}
			if n := len(o.arrivals()); n != 0 {
				t.Errorf("%d requests arrived", n)
			}
		})
	}
}

// A kept connection may have died: that is why net/http sends a GET anew, and why nothing else may be.
func TestOnlyAProbeIsSentAnewOnAConnectionThatDied(t *testing.T) {
	t.Parallel()
	for _, kind := range []portaltest.FaultKind{portaltest.Reset, portaltest.Lost} {
		for operation, tc := range map[portaltest.Operation]struct {
			want     error
			arrivals int
		}{
			portaltest.Mint:     {session.ErrPortalUnavailable, 1},
			portaltest.Register: {session.ErrPortalUnavailable, 1},
			portaltest.Probe:    {nil, 2},
		} {
			t.Run(fmt.Sprintf("%s to %s", kind, operation), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				if err := w.Probe(t.Context(), w.token); err != nil {
					t.Fatal(err)
				}
				w.sim.ResetCounters()
				w.sim.Inject(operation, portaltest.Fault{Kind: kind, Times: 1})
				_, err := operations[operation](t.Context(), w, w.token)
				wantError(t, err, tc.want)
				w.wantArrivals(t, operation, tc.arrivals)
			})
		}
	}
}

// What stands between may break a request off after Portal did its work.
func TestNoPostIsSentAnewThatTheOtherSideBrokeOff(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]uint32{"as a protocol error": 1, "as an internal error": 2, "as refused": 7, "as canceled": 8} {
		for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Register} {
			t.Run(fmt.Sprintf("%s, a %s", name, operation), func(t *testing.T) {
				t.Parallel()
				var came atomic.Int64
				server := serve(t, nil, secured(&tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}),
					func(s *httptest.Server) {
						s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
							"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { breakOff(conn, code, &came) },
						}
					})
				_, err := operations[operation](t.Context(), trusting(t, server, within(5*time.Second)), held)
				wantError(t, err, session.ErrPortalUnavailable)
				if n := came.Load(); n != 1 {
					t.Errorf("%d requests came whole", n)
				}
			})
		}
	}
}

// breakOff reads HTTP/2 requests to their end and resets each stream with the code, until the connection ends.
func breakOff(conn net.Conn, code uint32, came *atomic.Int64) {
	const (
		data, headers, reset, settings = 0, 1, 3, 4
		end, ack                       = 1, 1
	)
	frame := func(kind, flags byte, stream uint32, payload ...byte) {
		head := []byte{0, 0, byte(len(payload)), kind, flags}
		_, _ = conn.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
	}
	r := bufio.NewReader(conn)
	_, _ = r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	frame(settings, 0, 0)
	for {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		_, _ = r.Discard(int(binary.BigEndian.Uint32(head[:4]) >> 8))
		switch kind, flags := head[3], head[4]; {
		case kind == settings && flags&ack == 0:
			frame(settings, ack, 0)
		case (kind == headers || kind == data) && flags&end != 0:
			came.Add(1)
			frame(reset, 0, binary.BigEndian.Uint32(head[5:]), binary.BigEndian.AppendUint32(nil, code)...)
		}
	}
}

// deadConn loses everything in silence once it is cut, as a broken path does.
type deadConn struct {
	net.Conn
	cut    *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *deadConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.cut.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *deadConn) Write(p []byte) (int, error) {
	if c.cut.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *deadConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestConnectionThatDiedInSilenceIsGivenUp(t *testing.T) {
	t.Parallel()
	sim := portaltest.New(portaltest.Options{AnyClient: true})
	c := trusting(t, serve(t, sim, secured(&tls.Config{MinVersion: tls.VersionTLS12})), within(2*time.Second))
	pings := portal.Transport(c).HTTP2
	if total := pings.SendPingTimeout + pings.PingTimeout; pings.SendPingTimeout <= 0 || total > 30*time.Second {
		t.Fatalf("it would be found dead after %s", total)
	}
	pings.SendPingTimeout, pings.PingTimeout = 100*time.Millisecond, 200*time.Millisecond
	var first atomic.Bool // is cut
	cuts := []*atomic.Bool{&first, new(atomic.Bool)}
	var dialed atomic.Int64
	dialing(c, func(_ string, conn net.Conn) net.Conn {
		cut := cuts[min(dialed.Add(1), int64(len(cuts)))-1]
		return &deadConn{Conn: conn, cut: cut, closed: make(chan struct{})}
	})
	mint := func() error {
		_, err := c.Mint(t.Context(), alice, session.Absent)
		return err
	}
	if err := mint(); err != nil {
		t.Fatal(err)
	}
	first.Store(true)
	if err := mint(); err == nil {
		t.Fatal("the connection was not dead")
	}
	for range 5 {
		if mint() == nil {
			return
		}
	}
	t.Error("five mints in a row failed on it")
}

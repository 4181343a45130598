package proxy_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy"
)

// strict is a server whose requests are held to the letter.
type strict struct {
	t       *testing.T
	address net.Addr
	// served counts the requests that the handler saw.
	served atomic.Int64
	// hold keeps requests to /hold unanswered until it is closed; held has an element for each.
	hold, held chan struct{}
	// conns has each connection, as hooks have it.
	conns chan net.Conn
}

// newStrict serves on a port of its own, over TLS if there is a configuration. A header has so long to arrive.
func newStrict(t *testing.T, header time.Duration, listener net.Listener) *strict {
	t.Helper()
	s := &strict{t: t, address: listener.Addr(), hold: make(chan struct{}), held: make(chan struct{}, 10), conns: make(chan net.Conn, 10)}
	server := &http.Server{
		ReadHeaderTimeout: header, Handler: http.HandlerFunc(s.serve), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context { s.conns <- conn; return ctx },
	}
	proxy.NewConnections(100, func() {}).Guard(server)
	framing := proxy.NewFraming()
	framing.Guard(server)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(framing.Listener(listener)) })
	t.Cleanup(func() { _ = server.Close(); running.Wait() })
	return s
}

func (s *strict) serve(w http.ResponseWriter, r *http.Request) {
	s.served.Add(1)
	if r.URL.Path == "/hold" {
		s.held <- struct{}{}
		<-s.hold
	}
	body, _ := io.ReadAll(r.Body)
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		w.Header().Set("X-Caller", r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	_, _ = w.Write(body)
}

func onLoopback(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// wire is a connection, as whoever writes bytes to it has it.
type wire struct {
	net.Conn
	t       *testing.T
	answers *bufio.Reader
}

func (s *strict) dial() wire {
	s.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), s.address.Network(), s.address.String())
	if err != nil {
		s.t.Fatal(err)
	}
	return onWire(s.t, conn)
}

func onWire(t *testing.T, conn net.Conn) wire {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return wire{conn, t, bufio.NewReader(conn)}
}

func (w wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatal(err)
	}
}

// answer returns the next answer, and its body.
func (w wire) answer() (*http.Response, string) {
	w.t.Helper()
	response, err := http.ReadResponse(w.answers, nil)
	if err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response, string(body)
}

// rest returns what comes until the server closes the connection.
func (w wire) rest() string {
	w.t.Helper()
	text, err := io.ReadAll(w.answers)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatal("the connection is not closed")
	}
	return string(text)
}

const wellFramed = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

func TestRequestsThatAreFramedBadlyAreRefused(t *testing.T) {
	t.Parallel()
	const post = "POST / HTTP/1.1\r\nHost: h\r\n"
	for name, tt := range map[string]struct{ request, detail string }{
		"LF alone":            {"GET / HTTP/1.1\nHost: h\n\n", "a line of the header ends in LF without CR"},
		"a folded line":       {"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n", "a line of the header begins with white space"},
		"equal lengths":       {post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "Content-Length is there more than once"},
		"a length and chunks": {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "both Content-Length and Transfer-Encoding are there"},
		"chunks in HTTP/1.0":  {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding is for HTTP/1.1"},
	} {
		for before, n := range map[string]int64{"first": 0, "after others": 2} {
			t.Run(name+" "+before, func(t *testing.T) {
				t.Parallel()
				s := newStrict(t, time.Minute, onLoopback(t))
				w := s.dial()
				for range n {
					w.send(post + "Content-Length: 3\r\n\r\nx\ny")
					if got, body := w.answer(); got.StatusCode != http.StatusOK || body != "x\ny" {
						t.Fatalf("a plain request: %d %q", got.StatusCode, body)
					}
				}
				w.send(tt.request + wellFramed)
				got, body := w.answer()
				var document struct{ Code, Detail, RequestID string }
				if err := json.Unmarshal([]byte(body), &document); err != nil {
					t.Fatal(err)
				}
				if got.StatusCode != http.StatusBadRequest || document.Code != "invalid_request" || !strings.HasSuffix(document.Detail, tt.detail) {
					t.Errorf("answered %d %s", got.StatusCode, body)
				}
				if !got.Close || got.Header.Get("Content-Type") != "application/problem+json" || got.Header.Get("Cache-Control") != "no-store" ||
					got.Header.Get("X-Request-Id") != document.RequestID {
					t.Errorf("header %v", got.Header)
				}
				if more := w.rest(); more != "" || s.served.Load() != n {
					t.Errorf("then came %q; %d requests were served, want %d", more, s.served.Load(), n)
				}
			})
		}
	}
}

func TestAnUnknownCodingIsTheCallersMistake(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{"at once": "", "with the last byte apart": "\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStrict(t, time.Minute, onLoopback(t))
			w := s.dial()
			header := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n"
			w.send(strings.TrimSuffix(header, end))
			if end != "" {
				w.send(end)
			}
			if got, _ := w.answer(); got.StatusCode != http.StatusBadRequest || !got.Close {
				t.Errorf("answered %d", got.StatusCode)
			}
			if more := w.rest(); more != "" || s.served.Load() != 0 {
				t.Errorf("then came %q, or the handler saw it", more)
			}
		})
	}
}

// Requests that come in one piece are told apart by their bodies' ends, also where one is answered while the next is there.
func TestEachPipelinedRequestIsJudgedForItself(t *testing.T) {
	t.Parallel()
	const length, chunks = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n\n\n x: \x00", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\n\n b\r\n0\r\nX: y\r\n\r\n"
	good := []string{wellFramed, length, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", chunks, wellFramed, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", chunks, length}
	s := newStrict(t, time.Minute, onLoopback(t))
	w := s.dial()
	w.send(strings.Join(good, "") + "GET / HTTP/1.1\nHost: h\r\n\r\n" + wellFramed)
	for i, request := range good {
		method, _, _ := strings.Cut(request, " ")
		got, err := http.ReadResponse(w.answers, &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, got.Body)
		if _ = got.Body.Close(); got.StatusCode != http.StatusOK {
			t.Errorf("request %d was answered %d", i, got.StatusCode)
		}
	}
	if got, _ := w.answer(); got.StatusCode != http.StatusBadRequest || w.rest() != "" {
		t.Errorf("the bad one was answered %d, or the one after it was", got.StatusCode)
	}
	if served := s.served.Load(); served != int64(len(good)-1) { // net/http answers OPTIONS *
		t.Errorf("%d requests were served", served)
	}
}

func TestWhoSendsAHeaderTooSlowlyIsTold(t *testing.T) {
	t.Parallel()
	const short = 100 * time.Millisecond
	for name, tt := range map[string]struct {
		before, begin string
		told          bool
	}{
		"a byte":                    {"", "G", true},
		"half a request line":       {"", "GET /x", true},
		"all but a byte":            {"", wellFramed[:len(wellFramed)-1], true},
		"one with a fault":          {"", "GET / HTTP/1.1\nHost: h\r\n", true},
		"half of the second":        {wellFramed, wellFramed[:20], true},
		"half of one after a body":  {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na", wellFramed[:20], true},
		"half of one after a chunk": {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", wellFramed[:20], true},
		"nothing":                   {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newStrict(t, short, onLoopback(t)).dial()
			if tt.before != "" {
				w.send(tt.before)
				w.answer()
			}
			w.send(tt.begin)
			if tt.told {
				if got, _ := w.answer(); got.StatusCode != http.StatusRequestTimeout || !got.Close || got.ContentLength != 0 {
					t.Errorf("answered %d", got.StatusCode)
				}
			}
			if more := w.rest(); more != "" {
				t.Errorf("then came %q", more)
			}
		})
	}
}

// Net/http reads on while a request is answered, and ends that by a time-out which is nobody's fault.
func TestWhoWaitsForAnAnswerIsNotTooSlow(t *testing.T) {
	t.Parallel()
	s := newStrict(t, time.Minute, onLoopback(t))
	w := s.dial()
	w.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n" + wellFramed[:20])
	<-s.held
	close(s.hold)
	if got, _ := w.answer(); got.StatusCode != http.StatusOK {
		t.Errorf("the first was answered %d", got.StatusCode)
	}
	w.send(wellFramed[20:])
	if got, _ := w.answer(); got.StatusCode != http.StatusOK {
		t.Errorf("the second was answered %d", got.StatusCode)
	}
}

// authority makes a certificate for name that vouches for itself.
func authority(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	template.Subject.CommonName = name
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

func TestFramingIsLookedAtWithinTLS(t *testing.T) {
	t.Parallel()
	own, trusted := authority(t, "cstproxy")
	backend, callers := authority(t, "backend")
	stranger, _ := authority(t, "stranger")
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, ClientCAs: callers, ClientAuth: tls.VerifyClientCertIfGiven}
	s := newStrict(t, time.Minute, tls.NewListener(onLoopback(t), config))
	secure := func(t *testing.T, certificates ...tls.Certificate) wire {
		t.Helper()
		return onWire(t, tls.Client(s.dial().Conn, &tls.Config{
			RootCAs: trusted, ServerName: "localhost", Certificates: certificates,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &append(certificates, tls.Certificate{})[0], nil
			},
		}))
	}
	for name, certificates := range map[string][]tls.Certificate{"": nil, "backend": {backend}} {
		w := secure(t, certificates...)
		w.send(wellFramed)
		if got, _ := w.answer(); got.StatusCode != http.StatusOK || got.Header.Get("X-Caller") != name {
			t.Errorf("%q was answered %d as %q", name, got.StatusCode, got.Header.Get("X-Caller"))
		}
		w.send("GET / HTTP/1.1\nHost: h\n\n")
		if got, body := w.answer(); got.StatusCode != http.StatusBadRequest || !strings.Contains(body, "LF") {
			t.Errorf("LF alone: %d %s", got.StatusCode, body)
		}
	}
	before := s.served.Load()
	forged := secure(t, stranger)
	if _, err := io.WriteString(forged, wellFramed); err == nil {
		if answer, _ := io.ReadAll(forged); len(answer) > 0 {
			t.Errorf("a certificate of nobody's: %q", answer)
		}
	}
	w := s.dial()
	w.send(wellFramed)
	if got, body := w.answer(); got.StatusCode != http.StatusBadRequest || body != "Client sent an HTTP request to an HTTPS server.\n" {
		t.Errorf("without TLS: %d %q", got.StatusCode, body)
	}
	if s.served.Load() != before {
		t.Error("they were served")
	}
}

func TestAHandshakeHasItsTime(t *testing.T) {
	t.Parallel()
	own, _ := authority(t, "cstproxy")
	s := newStrict(t, 100*time.Millisecond, tls.NewListener(onLoopback(t), &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}}))
	w := s.dial()
	w.send("\x16\x03\x01")
	if got := w.rest(); got != "" {
		t.Errorf("answered %q", got)
	}
}

// Who is at the other end of a socket is told by what the system has, and it is that which is closed at once.
func TestHooksFindTheSocket(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := newStrict(t, time.Minute, listener)
	w := s.dial()
	w.send(wellFramed)
	w.answer()
	over, ok := (<-s.conns).(interface{ NetConn() net.Conn })
	if !ok {
		t.Fatal("the connection does not tell what it is about")
	}
	if inner, ok := over.NetConn().(*net.UnixConn); !ok {
		t.Errorf("it is about %T", inner)
	}
}

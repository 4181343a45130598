//go:build linux

package proxy_test

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// hitting is a data API on a port, which remembers a token of alice's.
type hitting struct {
	address net.Addr
	hits    *proxy.Hits
	server  *http.Server
	// seen is how many requests net/http had.
	seen atomic.Int64
}

// serveHits serves one of broker with hits answered on connections, or without.
func serveHits(t *testing.T, broker *session.Broker, change func(*hitting)) *hitting {
	t.Helper()
	return serveHitsLogging(t, broker, slog.New(slog.DiscardHandler), change)
}

func serveHitsLogging(t *testing.T, broker *session.Broker, log *slog.Logger, change func(*hitting)) *hitting {
	t.Helper()
	api := proxy.New(proxy.Parts{Callers: caller.Anonymous{}, Broker: broker, Lifetime: lifetime(), Meter: silent{}, Now: time.Now, Log: log})
	h := &hitting{}
	h.server = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.seen.Add(1); api.ServeHTTP(w, r) }),
		ReadHeaderTimeout: 300 * time.Millisecond, ReadTimeout: 300 * time.Millisecond, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	open := proxy.NewConnections(100, func() {})
	open.Guard(h.server)
	h.hits = proxy.NewHits(proxy.HitParts{Server: api, Host: caller.AnonymousHost, Connections: open})
	listener := onLoopback(t)
	h.address = listener.Addr()
	if change != nil {
		change(h)
	}
	if h.hits != nil {
		h.hits.Guard(h.server)
		listener = h.hits.Listener(listener)
	}
	go func() { _ = h.server.Serve(listener) }()
	t.Cleanup(func() { _ = h.server.Close() })
	return h
}

// withoutHits leaves everything to net/http.
func withoutHits(h *hitting) { h.hits = nil }

// remembered returns a broker that remembers alice's token.
func rememberedBroker(t *testing.T) *session.Broker {
	t.Helper()
	memory := cache.NewMemory(cache.MemoryParts{Entries: 1000, Lifetime: lifetime(), Now: time.Now})
	broker := session.NewBroker(session.Parts{
		Store: memory, Leaser: memory, Registry: memory, Portal: &sessiontest.Portal{Lifetime: lifetime(), Now: time.Now}, Lifetime: lifetime(),
		StoreDown: session.StoreDownFail, Deadline: 10 * time.Second, Now: time.Now, Sent: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() { broker.Close(t.Context()); _ = memory.Close() })
	if _, err := broker.Grant(t.Context(), session.Ask{Client: alice}); err != nil {
		t.Fatal(err)
	}
	return broker
}

func (h *hitting) dial(t *testing.T) wire {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), h.address.Network(), h.address.String())
	if err != nil {
		t.Fatal(err)
	}
	return onWire(t, conn)
}

// rest has net/http answer a fetch, after which the connection rests.
func (h *hitting) rest(w wire) {
	w.send(plainFetch)
	_, _ = w.answer()
	<-time.After(30 * time.Millisecond)
}

// exchange sends the pieces, each when the server had time to read the one before, and returns all that comes until it says no
// more. What differs from one time to the next is left out. A fetch goes first, which net/http answers.
func (h *hitting) exchange(t *testing.T, pieces []string) string {
	t.Helper()
	w := h.dial(t)
	for _, piece := range append([]string{plainFetch}, pieces...) {
		w.send(piece)
		<-time.After(30 * time.Millisecond)
	}
	_ = w.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	text, err := io.ReadAll(w.answers)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Logf("read: %v", err)
	}
	return varying.ReplaceAllString(string(text), "-")
}

var varying = regexp.MustCompile(`(Date|X-Request-Id): [^\r]*|("requestId":)"[^"]*"|("expiresIn":|ttl=)[0-9]+`)

const (
	plainFetch  = "GET /v1/clients/" + alice + "/token HTTP/1.1\r\nHost: localhost\r\n\r\n"
	curlFetch   = "GET /v1/clients/" + alice + "/token HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
	bodyOfTwo   = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
	aliceTarget = "/v1/clients/" + alice + "/token"
)

// Whatever is sent, however it is cut, the answers are those of net/http. seen says how many of them are.
func TestHitsChangeNoAnswer(t *testing.T) {
	t.Parallel()
	fetch := func(header string) string {
		return "GET " + aliceTarget + " HTTP/1.1\r\nHost: localhost\r\n" + header + "\r\n"
	}
	for name, c := range map[string]struct {
		pieces []string
		seen   int64
	}{
		"a fetch":                                   {[]string{plainFetch}, 0},
		"three of them":                             {[]string{plainFetch, curlFetch, plainFetch}, 0},
		"with an id":                                {[]string{fetch("X-Request-Id: mine-1\r\n")}, 0},
		"kept alive":                                {[]string{fetch("Connection: keep-alive\r\n"), plainFetch}, 0},
		"as Node sends it":                          {[]string{fetch("accept: */*\r\naccept-language: *\r\nuser-agent: node\r\naccept-encoding: gzip, deflate\r\n")}, 0},
		"of somebody new":                           {[]string{strings.Replace(plainFetch, alice, "bob", 1), plainFetch}, 1},
		"of no client id":                           {[]string{strings.Replace(plainFetch, alice, "a%20b", 1)}, 1},
		"two at once":                               {[]string{plainFetch + plainFetch, plainFetch}, 2},
		"one and a half, and the rest":              {[]string{plainFetch + plainFetch[:20], plainFetch[20:], plainFetch}, 2},
		"in two pieces":                             {[]string{plainFetch[:30], plainFetch[30:], plainFetch}, 1},
		"byte by byte at the end":                   {[]string{plainFetch[:len(plainFetch)-1], "\n", plainFetch}, 1},
		"after a header that goes on":               {[]string{"GET /nowhere HTTP/1.1\r\nX-A: ", plainFetch, plainFetch}, 1},
		"as the body of a request":                  {[]string{"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + lengthOf(plainFetch) + "\r\n\r\n", plainFetch, plainFetch}, 2},
		"after a body":                              {[]string{bodyOfTwo, plainFetch, plainFetch}, 2},
		"after a body in two pieces":                {[]string{bodyOfTwo[:len(bodyOfTwo)-2], "{}", plainFetch}, 2},
		"after half of another, which takes a body": {[]string{bodyOfTwo + plainFetch[:20], plainFetch[20:]}, 2},
		"after another without a body":              {[]string{"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", plainFetch, plainFetch}, 1},
		"after an empty line":                       {[]string{"\r\n" + plainFetch, plainFetch}, 0},
		"with a query":                              {[]string{strings.Replace(plainFetch, "/token", "/token?minTtl=1h", 1)}, 1},
		"with a wrong query":                        {[]string{strings.Replace(plainFetch, "/token", "/token?a=b", 1)}, 1},
		"of HTTP/1.0":                               {[]string{strings.Replace(plainFetch, "1.1", "1.0", 1)}, 1},
		"as HEAD":                                   {[]string{strings.Replace(plainFetch, "GET", "HEAD", 1)}, 1},
		"as the last":                               {[]string{fetch("Connection: close\r\n")}, 1},
		"without a Host":                            {[]string{"GET " + aliceTarget + " HTTP/1.1\r\n\r\n"}, 0},
		"with two":                                  {[]string{fetch("Host: localhost\r\n")}, 0},
		"with an empty one first":                   {[]string{strings.Replace(plainFetch, "Host:", "host:\r\nHost:", 1)}, 0},
		"with a port that is none":                  {[]string{strings.Replace(plainFetch, "localhost", "localhost:<8>", 1)}, 0},
		"with bare line feeds, and another":         {[]string{"GET /nowhere HTTP/1.1\nHost: localhost\n\n" + plainFetch, plainFetch}, 2},
		"in a body behind a bare line feed": {[]string{
			"GET /nowhere HTTP/1.1\nHost: localhost\n\nPOST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + lengthOf(plainFetch) + "\r\n\r\n",
			plainFetch, plainFetch,
		}, 3},
		"of a foreign Host":             {[]string{strings.Replace(plainFetch, "localhost", "example.com", 1)}, 1},
		"of a page":                     {[]string{fetch("Origin: http://example.com\r\n")}, 1},
		"that was passed on":            {[]string{fetch("X-Forwarded-For: 1.2.3.4\r\n")}, 1},
		"with a length":                 {[]string{fetch("Content-Length: 0\r\n")}, 1},
		"with a body":                   {[]string{fetch("Content-Length: 2\r\n") + "{}", plainFetch}, 2},
		"with an expectation":           {[]string{fetch("Expect: 100-continue\r\n")}, 1},
		"with a space before the colon": {[]string{fetch("Accept : */*\r\n")}, 0},
		"with a header folded":          {[]string{fetch("Accept: a\r\n b\r\n")}, 1},
		"with bare line feeds":          {[]string{strings.ReplaceAll(plainFetch, "\r\n", "\n")}, 1},
		"with a control character":      {[]string{fetch("Accept: a\x01\r\n")}, 0},
		"with a whole URL":              {[]string{strings.Replace(plainFetch, "GET ", "GET http://localhost", 1)}, 1},
		"with an id that is none":       {[]string{fetch("X-Request-Id: a b\r\n")}, 1},
		"with two ids":                  {[]string{fetch("X-Request-Id: a\r\nX-Request-Id: b\r\n")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := rememberedBroker(t)
			with := serveHits(t, broker, nil)
			got := with.exchange(t, c.pieces)
			want := serveHits(t, broker, withoutHits).exchange(t, c.pieces)
			if c.pieces[0] != plainFetch && strings.Contains(c.pieces[0], "bob") { // who is somebody new the first time alone
				got = strings.NewReplacer("fwd=miss", "hit; -", `"mint"`, `"cache"`).Replace(lengthless(got))
				want = lengthless(want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-by net/http +with hits)\n%s", diff)
			}
			if seen := with.seen.Load() - 1; seen != c.seen {
				t.Errorf("net/http had %d requests after the first, want %d", seen, c.seen)
			}
		})
	}
}

func lengthless(text string) string {
	return regexp.MustCompile(`Content-Length: \d+`).ReplaceAllString(text, "Content-Length")
}

func lengthOf(text string) string {
	return string(rune('0'+len(text)/10)) + string(rune('0'+len(text)%10))
}

// A connection that is used for nothing but hits lives on as one of net/http's does, and whoever is slow with another request
// on it has no more time than there.
func TestAConnectionOfHitsKeepsTheServersTimes(t *testing.T) {
	t.Parallel()
	h := serveHits(t, rememberedBroker(t), nil)
	w := h.dial(t)
	for range 8 {
		w.send(plainFetch)
		if answer, _ := w.answer(); answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status)
		}
		<-time.After(100 * time.Millisecond) // all of it is longer than a header may take
	}
	began := time.Now()
	w.send(plainFetch[:20])
	_, _ = io.ReadAll(w.answers)
	if took := time.Since(began); took < 200*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("a header that never ends had %s, want 300ms", took)
	}
	idle := h.dial(t)
	idle.send(plainFetch)
	_, _ = idle.answer()
	began = time.Now()
	_, _ = io.ReadAll(idle.answers)
	if took := time.Since(began); took < 1500*time.Millisecond || took > 4*time.Second {
		t.Errorf("a connection without a request was kept for %s, want 2s", took)
	}
	if n := h.seen.Load(); n != 2 {
		t.Errorf("net/http had %d requests, want the first of each connection", n)
	}
}

func TestAfterStopNetHTTPAnswersAll(t *testing.T) {
	t.Parallel()
	h := serveHits(t, rememberedBroker(t), nil)
	w := h.dial(t)
	h.rest(w)
	w.send(plainFetch)
	_, first := w.answer()
	h.hits.Stop()
	w.send(plainFetch)
	_, second := w.answer()
	if first[:100] != second[:100] || h.seen.Load() != 2 {
		t.Errorf("%s\n%s\nand net/http had %d requests, want 2", first, second, h.seen.Load())
	}
}

// What is taken for plain is what net/http takes it for, and all of it.
func FuzzPlainRequestsAreRead(f *testing.F) {
	for _, text := range []string{
		plainFetch, curlFetch, bodyOfTwo, plainFetch + plainFetch, strings.ReplaceAll(plainFetch, "\r\n", "\n"),
		"GET /v1/clients/a/token HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a:b\r\nConnection: Keep-Alive\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		client, host, id, ok := proxy.ParsePlain(text)
		if !ok {
			return
		}
		reader := bufio.NewReader(strings.NewReader(string(text)))
		r, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatalf("net/http can't read it: %v", err)
		}
		if _, err := session.ParseClientID(client); err != nil {
			return // which net/http then refuses
		}
		if r.Method != http.MethodGet || r.RequestURI != "/v1/clients/"+client+"/token" || r.Host != host || r.Header.Get("X-Request-Id") != id ||
			r.ContentLength != 0 || len(r.TransferEncoding) != 0 || r.Close || !r.ProtoAtLeast(1, 1) || reader.Buffered() != 0 {
			t.Errorf("%q is %s %s of %q with id %q and %d bytes after it", text, r.Method, r.RequestURI, r.Host, r.Header.Get("X-Request-Id"), reader.Buffered())
		}
	})
}

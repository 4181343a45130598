package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	hour = time.Hour
	day  = 24 * hour
	// recently is too short ago for a token to be due for a refresh.
	recently = 20 * time.Minute

	alice = "cm0r6nkek00ej10dwwx8wdjmf"
	// aliceToken and the others are routes for the client whom Portal knows from the start.
	aliceToken    = "/v1/clients/" + alice + "/token"
	aliceActivity = "/v1/clients/" + alice + "/activity"
	aliceStatus   = "/v1/clients/" + alice

	// otherID is the id of a token that nobody has.
	otherID = "0123456789abcdef0123456789abcdef"

	// testID is a request id, given where an answer is compared whole.
	testID = "X-Request-Id: test-1"
)

// epoch is when the story begins, by the clock that tokens are dated with.
func epoch() time.Time { return time.Date(2026, 11, 22, 5, 19, 55, 0, time.UTC) }

// lifetime is the default configuration's.
func lifetime() session.Lifetime {
	return session.Lifetime{
		IdleTTL: day, RefreshWindow: 7 * day, SafetyMargin: time.Minute, MinTTL: 5 * time.Minute, Refresh: session.RefreshProbe,
	}
}

// world is the data API over HTTP, with everything real behind it but Portal and the time. Whatever a test does in it,
// at its end nothing secret was said to anybody but a token to who asked for it.
type world struct {
	t      *testing.T
	clock  *clock
	sim    *portaltest.Portal
	tap    *tap
	store  *counted
	meter  *meter
	log    *logbook
	audit  *audit
	broker *session.Broker
	api    *proxy.Server
	server *httptest.Server
	// key is the header line by which the callers file of [admitting] knows its caller.
	key string
	// close ends everything and waits for it; the end of the test does it, too.
	close func()

	turns *turns

	mu     sync.Mutex
	said   bytes.Buffer
	passed []proxy.Passed
}

// setup is what a test may change before the world begins.
type setup struct {
	session.Parts
	paths    portal.Paths
	callers  proxy.Callers
	key      string
	inFlight int
	// passes are the families that are passed on, to upstream, or to the simulated Portal if it is nil.
	passes   []session.Route
	repeats  []session.Route
	passFor  time.Duration
	upstream http.Handler
	audit    *audit
	trace    func(context.Context) string
}

func newWorld(t *testing.T, changes ...func(*setup)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: epoch()}, meter: &meter{over: make(chan counts, 1000)}, log: &logbook{}, audit: &audit{}}
	w.sim = portaltest.New(portaltest.Options{Now: w.clock.now})
	w.sim.AddClient(alice)
	w.tap = newTap(w.sim)
	upstream := httptest.NewServer(w.tap)
	memory := cache.NewMemory(cache.MemoryParts{Entries: 1000, Lifetime: lifetime(), Now: w.clock.now})
	s := setup{
		Parts: session.Parts{
			Store: memory, Leaser: memory, Registry: memory, Lifetime: lifetime(), StoreDown: session.StoreDownMint, Deadline: 10 * time.Second,
			Now: w.clock.now, Sent: w.clock.now, Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		},
		paths:   portal.V1,
		callers: caller.Anonymous{},
		audit:   w.audit,
	}
	for _, change := range changes {
		change(&s)
	}
	w.key = s.key
	client := portal.New(portal.Parts{
		BaseURL: upstream.URL, Paths: s.paths, Timeout: 10 * time.Second, UserAgent: "cstproxy/test",
		Key: func() session.Secret { return session.NewSecret(portaltest.DefaultKey) },
	})
	if s.Portal == nil {
		s.Portal = portal.NewRetry(client)
	}
	w.store = &counted{Store: s.Store, Registry: s.Registry}
	s.Store, s.Registry = w.store, w.store
	w.broker = session.NewBroker(s.Parts)
	through := w.passthrough(s, upstream.URL)
	w.api = proxy.New(proxy.Parts{
		Callers: s.callers, Broker: w.broker, Lifetime: s.Lifetime, Meter: w.meter, Now: s.Now, Log: s.Log, MaxInFlight: s.inFlight, Audit: s.audit, Trace: s.trace,
		Version: testVersion, Passthrough: through,
	})
	w.server = httptest.NewUnstartedServer(w.specified(through))
	w.server.Config.MaxHeaderBytes = 16 << 10 // as served
	w.server.Config.ErrorLog = slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)
	w.server.Start()
	w.close = sync.OnceFunc(func() {
		w.sim.Close()
		w.broker.Close(t.Context())
		w.server.Close()
		upstream.Close()
		client.Close()
		_ = memory.Close()
	})
	t.Cleanup(func() {
		w.close()
		w.checkSecrets()
		w.checkMeter()
		w.checkAudit()
	})
	return w
}

// specified is the API with every exchange held to the specification, unless that is about to be written anew, or Portal's own
// API is served as well.
func (w *world) specified(through *proxy.Passthrough) http.Handler {
	if *update || through != nil {
		return w.api
	}
	return specification().Watch(w.api, func(err error) { w.t.Error(err) })
}

// checkSecrets reads everything that was said and logged.
func (w *world) checkSecrets() {
	w.t.Helper()
	keys, tokens := w.tap.secrets()
	never := append([]string{"clientApiKey", canary, portaltest.DefaultKey}, keys...)
	if text := holds(w.said.String(), never...); text != "" {
		w.t.Errorf("an answer has %q in it", text)
	}
	log := w.log.String()
	if text := holds(log, append(never, tokens...)...); text != "" {
		w.t.Errorf("the log has %q in it:\n%s", text, log)
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			w.t.Errorf("the log has a broken line: %q", line)
		}
	}
}

func (w *world) checkMeter() {
	w.t.Helper()
	if w.meter.inFlight != 0 {
		w.t.Errorf("%d requests were counted in and not out", w.meter.inFlight)
	}
	for _, c := range w.meter.ended {
		if passedOn := c.Route == "" && w.turns != nil; !passedOn && !slices.Contains(proxy.Answers(), proxy.Answer(c)) {
			w.t.Errorf("counted as %+v, which is not among the answers", c)
		}
	}
	for _, left := range w.meter.left {
		if left <= 0 {
			w.t.Errorf("a token was handed out with %s left", left)
		}
	}
}

// localGet is a request as a process on this machine sends it.
func localGet(ctx context.Context, target string) *http.Request {
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	request.Host = "localhost"
	return request
}

// answer is what a caller got.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; header lines are written "Name: value". It may be called from any goroutine.
func (w *world) do(method, target, body string, header ...string) answer {
	return w.doAs(w.t.Context(), method, target, body, header...)
}

func (w *world) doAs(ctx context.Context, method, target, body string, header ...string) answer {
	w.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, w.server.URL+target, strings.NewReader(body))
	if err != nil {
		w.t.Errorf("build request: %v", err)
		return answer{}
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Add(name, value)
	}
	response, err := w.server.Client().Do(request)
	if err != nil {
		if ctx.Err() == nil {
			w.t.Errorf("%s %s: %v", method, target, err)
		}
		return answer{}
	}
	a := w.read(response)
	ownAnswer := w.turns == nil || a.header.Get("Content-Type") == "application/problem+json"
	if got := a.header.Get("Cache-Control"); ownAnswer && got != "no-store" {
		w.t.Errorf("%s %s: Cache-Control is %q, want no-store", method, target, got)
	}
	if a.header.Get("X-Request-Id") == "" {
		w.t.Errorf("%s %s: no X-Request-Id", method, target)
	}
	return a
}

func (w *world) get(target string, header ...string) answer {
	w.t.Helper()
	return w.do(http.MethodGet, target, "", header...)
}

func (w *world) post(target, body string, header ...string) answer {
	w.t.Helper()
	return w.do(http.MethodPost, target, body, header...)
}

func (w *world) remove(header ...string) answer {
	w.t.Helper()
	return w.do(http.MethodDelete, aliceToken, "", header...)
}

// raw sends text over a connection of its own and reads one answer, which net/http may have given by itself.
func (w *world) raw(text string) answer {
	w.t.Helper()
	conn := w.dial()
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, text) // whoever is turned away may be so before all is written
	return w.readFrom(conn)
}

func (w *world) dial() *net.TCPConn {
	w.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.server.Listener.Addr().String())
	if err != nil {
		w.t.Fatalf("dial: %v", err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

func (w *world) readFrom(conn net.Conn) answer {
	w.t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatalf("read answer: %v", err)
	}
	return w.read(response)
}

func (w *world) read(response *http.Response) answer {
	w.t.Helper()
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Errorf("read answer: %v", err)
	}
	a := answer{status: response.StatusCode, header: response.Header, body: string(body)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said.WriteString(a.dump())
	return a
}

// dump is the answer as text, without what net/http adds by itself.
func (a answer) dump() string {
	var text bytes.Buffer
	text.WriteString(strconv.Itoa(a.status) + " " + http.StatusText(a.status) + "\n")
	header := a.header.Clone()
	header.Del("Date")
	header.Del("Content-Length")
	header.Del("Connection")
	_ = header.Write(&text)
	text.WriteString("\n")
	if json.Indent(&text, []byte(a.body), "", "  ") != nil {
		text.WriteString(a.body)
	}
	return strings.ReplaceAll(text.String(), "\r\n", "\n")
}

// document is the token document.
type document struct {
	ID                  string
	ClientSessionToken  string
	IsAccountAbstracted bool
	ExpiresAt           time.Time
	ExpiresIn           int64
	RefreshableUntil    time.Time
	MintedAt            time.Time
	ActiveAt            time.Time
	TokenID             string
	Source              string
}

// token reads the token document of an answer that must have one.
func (a answer) token(t *testing.T, status int) document {
	t.Helper()
	a.want(t, status)
	var d document
	a.decode(t, &d)
	if d.ClientSessionToken == "" || d.ID == "" {
		t.Fatalf("no token in %s", a.body)
	}
	return d
}

// decode reads the body, which must have no other fields than those of into.
func (a answer) decode(t *testing.T, into any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("decode %s: %v", a.body, err)
	}
}

func (a answer) want(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
}

// fetch returns alice's token, which must come.
func (w *world) fetch() document {
	w.t.Helper()
	return w.get(aliceToken).token(w.t, http.StatusOK)
}

// wantMints checks how many tokens Portal made for clients it knew.
func (w *world) wantMints(want int) {
	w.t.Helper()
	if n := w.sim.Stats().Mints; n != want {
		w.t.Errorf("%d mints, want %d", n, want)
	}
}

// wantUntouched checks that nothing has reached Portal or the store.
func (w *world) wantUntouched() {
	w.t.Helper()
	if n := w.sim.Stats().Requests; n != 0 {
		w.t.Errorf("%d requests reached Portal", n)
	}
	if n := w.store.touched.Load(); n != 0 {
		w.t.Errorf("the store was touched %d times", n)
	}
}

package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// clock moves only when told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(by)
}

// counted is a store that counts how often it is touched, whatever for.
type counted struct {
	session.Store
	session.Registry
	touched atomic.Int64
}

func (c *counted) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	c.touched.Add(1)
	return c.Store.Load(ctx, client)
}

func (c *counted) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return c.Load(ctx, client)
}

func (c *counted) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	c.touched.Add(1)
	return c.Store.Commit(ctx, token, seen)
}

func (c *counted) Slide(ctx context.Context, move session.Move) (session.Match, error) {
	c.touched.Add(1)
	return c.Store.Slide(ctx, move)
}

func (c *counted) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	c.touched.Add(1)
	return c.Store.Forget(ctx, client, id)
}

func (c *counted) Claim(ctx context.Context, claim session.Claim) (session.ClientID, error) {
	c.touched.Add(1)
	return c.Registry.Claim(ctx, claim)
}

// panicking is a store that panics with its value when a token is loaded or saved, until it is mended.
type panicking struct {
	session.Store
	value      any
	load, save bool
	mended     atomic.Bool
}

func (p *panicking) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	p.crash(p.load)
	return p.Store.Load(ctx, client)
}

func (p *panicking) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return p.Load(ctx, client)
}

func (p *panicking) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	p.crash(p.save)
	return p.Store.Commit(ctx, token, seen)
}

func (p *panicking) crash(now bool) {
	if now && !p.mended.Load() {
		panic(p.value)
	}
}

// refusing is a Portal that answers everything with err.
type refusing struct{ err error }

func (r refusing) Mint(context.Context, session.ClientID, session.Reason) (session.Token, error) {
	return session.Token{}, r.err
}

func (r refusing) Probe(context.Context, session.Token) error { return r.err }

func (r refusing) Register(context.Context, session.Registration) (session.Token, error) {
	return session.Token{}, r.err
}

// counts is one request as a [meter] counts it.
type counts struct {
	Route, Method string
	Status        int
}

// handed is one answer with a token, as a [meter] counts it.
type handed struct {
	source session.Source
	took   time.Duration
	trace  string
}

// meter is a proxy.Meter that remembers what it is told.
type meter struct {
	// over has an element for each request that ended, until it is full; it may be nil.
	over chan counts

	mu       sync.Mutex
	inFlight int
	ended    []counts
	granted  []session.Grant
	left     []time.Duration
	refused  []string
	shed     []string
	skipped  int
	traces   []string
	handed   []handed
}

func (m *meter) Began() func(route, method string, status int, trace string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight++
	return func(route, method string, status int, trace string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.inFlight--
		m.ended, m.traces = append(m.ended, counts{route, method, status}), append(m.traces, trace)
		select {
		case m.over <- counts{route, method, status}:
		default:
		}
	}
}

func (m *meter) Handed(source session.Source, took time.Duration, trace string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handed = append(m.handed, handed{source, took, trace})
}

func (m *meter) Granted(grant session.Grant, left time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.granted, m.left = append(m.granted, grant), append(m.left, left)
}

func (m *meter) Hit(route string, left, took time.Duration) {
	m.Began()(route, http.MethodGet, http.StatusOK, "")
	m.Handed(session.SourceCache, took, "")
	m.Granted(session.Grant{Source: session.SourceCache}, left)
}

func (m *meter) Refused(code string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = append(m.refused, code)
}

func (m *meter) Skipped() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.skipped++
}

func (m *meter) Shed(work string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shed = append(m.shed, work)
}

// logbook is a log that may be written and read at once.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// but returns the lines that say something else than msg.
func (l *logbook) but(msg string) string {
	var others strings.Builder
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, `"msg":"`+msg+`"`) {
			others.WriteString(line)
		}
	}
	return others.String()
}

// canary stands in every error answer of the simulated Portal, and must come out nowhere.
const canary = "canary-of-portals-own-words"

// tap stands between the proxy and Portal. It notes the secrets that Portal hands out, and puts the canary in the place
// of Portal's error bodies.
type tap struct {
	next http.Handler
	// came has an element for each request, until it is full.
	came chan string

	mu           sync.Mutex
	keys, tokens []string
}

func newTap(next http.Handler) *tap { return &tap{next: next, came: make(chan string, 1000)} }

func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case p.came <- r.Method + " " + r.URL.Path:
	default:
	}
	p.next.ServeHTTP(&tapped{ResponseWriter: w, tap: p, status: http.StatusOK}, r)
}

// secrets returns every Client API Key and Client Session Token that Portal handed out.
func (p *tap) secrets() (keys, tokens []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.keys), slices.Clone(p.tokens)
}

func (p *tap) note(body []byte) {
	var answer struct{ ClientAPIKey, ClientSessionToken string }
	if json.Unmarshal(body, &answer) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer.ClientAPIKey != "" {
		p.keys = append(p.keys, answer.ClientAPIKey)
	}
	if answer.ClientSessionToken != "" {
		p.tokens = append(p.tokens, answer.ClientSessionToken)
	}
}

type tapped struct {
	http.ResponseWriter
	tap    *tap
	status int
}

// Unwrap lets the simulated Portal drop the connection.
func (w *tapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *tapped) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *tapped) Write(body []byte) (int, error) {
	if w.status >= http.StatusBadRequest {
		_, err := w.ResponseWriter.Write([]byte(`{"error":"` + canary + `","clientApiKey":"` + canary + `"}`))
		return len(body), err
	}
	w.tap.note(body)
	return w.ResponseWriter.Write(body)
}

// holds returns which of the texts is in s, or "".
func holds(s string, texts ...string) string {
	for _, text := range texts {
		if strings.Contains(s, text) {
			return text
		}
	}
	return ""
}

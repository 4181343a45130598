package oidc_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cstproxy/cstproxy/proxy/caller/oidc"
	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	loopbackURL = "http://localhost"
	audience    = "cstproxy"
	lifetime    = 48 * time.Hour
)

// The keys of all tests: making one takes a while.
var (
	rsaKey      = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	attackerKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256Key     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384Key     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521Key     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey       = sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) })
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// issuer is an OpenID Connect issuer without a network, that counts what it is asked and fails as it is told.
type issuer struct {
	served sync.WaitGroup

	mu sync.Mutex
	// keys: kid → JWK.
	keys map[string]any
	// fault answers in the issuer's place, if it is set.
	fault func(http.ResponseWriter, *http.Request)
	// away: nobody answers.
	away bool
	// over: the test is, and a dial that a fetch has left behind comes too late.
	over bool
	// fetched: when the keys were asked for.
	fetched []time.Time
	// dials: when anybody was connected to, or would have been, and where.
	dials  []time.Time
	places []string
	// tls is set for an issuer that speaks it.
	tls *tls.Config
}

func newIssuer() *issuer {
	return &issuer{keys: map[string]any{
		"rsa": public("rsa", rsaKey()), "p256": public("p256", p256Key()), "p384": public("p384", p384Key()),
		"p521": public("p521", p521Key()), "ed": public("ed", edKey()),
	}}
}

func public(kid string, key crypto.Signer) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: "sig"}
}

// set changes the issuer while it is asked.
func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *issuer) times() []time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.fetched)
}

// dialed returns the seconds from begun to each dial since.
func (i *issuer) dialed(begun time.Time) []int {
	i.mu.Lock()
	defer i.mu.Unlock()
	var seconds []int
	for _, at := range i.dials {
		if !at.Before(begun) {
			seconds = append(seconds, int(at.Sub(begun)/time.Second))
		}
	}
	return seconds
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	fault := i.fault
	if r.URL.Path != "/.well-known/openid-configuration" {
		i.fetched = append(i.fetched, time.Now())
	}
	i.mu.Unlock()
	if fault != nil {
		fault(w, r)
		return
	}
	i.answer(w, r)
}

// answer is what the issuer says when nothing is wrong.
func (i *issuer) answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": here(r), "jwks_uri": here(r) + "/keys"})
	case "/keys", "/openid/v1/jwks":
		i.serveKeys(w)
	}
}

func (i *issuer) serveKeys(w io.Writer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": slices.Collect(maps.Values(i.keys))})
}

func (i *issuer) visited() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.places)
}

// here is the issuer's URL, as it is asked.
func here(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (i *issuer) dial(_ context.Context, _, address string) (net.Conn, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dials, i.places = append(i.dials, time.Now()), append(i.places, address)
	if i.away || i.over {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	if i.tls != nil && !strings.HasSuffix(address, ":80") {
		far = tls.Server(far, i.tls)
	}
	i.served.Go(func() { serveOne(far, i) })
	return near, nil
}

// end returns once nobody is served any more, nor will be.
func (i *issuer) end() {
	i.set(func(i *issuer) { i.over = true })
	i.served.Wait()
}

// serveOne answers one request over connection.
func serveOne(connection net.Conn, handler http.Handler) {
	listener := &single{connection: connection, done: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			listener.once.Do(func() { close(listener.done) })
		}
	}
	_ = server.Serve(listener)
}

// single is a listener that accepts one connection, and lasts as long.
type single struct {
	connection net.Conn
	once       sync.Once
	done       chan struct{}
}

func (s *single) Accept() (net.Conn, error) {
	if connection := s.connection; connection != nil {
		s.connection = nil
		return connection, nil
	}
	<-s.done
	return nil, io.EOF
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// world is a Verifier that trusts one issuer.
type world struct {
	testing.TB

	issuer   *issuer
	url      string
	verifier *oidc.Verifier
	log      *log
}

// newWorld starts a Verifier that has not fetched a key yet. Algorithms nil means the default ones.
func newWorld(tb testing.TB, algorithms ...string) *world {
	tb.Helper()
	return startWorld(tb, newIssuer(), oidc.Issuer{URL: loopbackURL, Algorithms: algorithms})
}

func newWorldWith(tb testing.TB, i *issuer) *world {
	tb.Helper()
	return startWorld(tb, i, oidc.Issuer{URL: loopbackURL})
}

func startWorld(tb testing.TB, i *issuer, settings oidc.Issuer) *world {
	tb.Helper()
	w := &world{TB: tb, issuer: i, url: settings.URL, log: &log{}}
	settings.Name, settings.Audience = "main", audience
	verifier, err := oidc.New(oidc.Parts{
		Issuers: []oidc.Issuer{settings}, Now: time.Now, Dial: i.dial,
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		tb.Fatal(err)
	}
	w.verifier = verifier
	tb.Cleanup(func() { verifier.Close(); w.issuer.end() })
	return w
}

type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

const plainHeader = `{"alg":"RS256","kid":"rsa"}`

// claims returns those of an honest token, with pairs of texts replaced.
func (w *world) claims(replaced ...string) string {
	w.Helper()
	now := time.Now().Unix()
	text := fmt.Sprintf(`{"iss":"%s","sub":"alice","aud":"%s","exp":%d,"iat":%d}`, w.url, audience, time.Now().Add(lifetime).Unix(), now)
	for i := 0; i < len(replaced); i += 2 {
		if !strings.Contains(text, replaced[i]) {
			w.Fatalf("%s is not in %s", replaced[i], text)
		}
		text = strings.Replace(text, replaced[i], replaced[i+1], 1)
	}
	return text
}

// honest returns a token that must be accepted.
func (w *world) honest() string {
	w.Helper()
	return sign("RS256", rsaKey(), plainHeader, w.claims())
}

func (w *world) accepts(raw string) bool {
	w.Helper()
	identity, err := w.verifier.Verify(w.Context(), raw)
	if err == nil {
		if want := (oidc.Identity{Issuer: "main", Subject: "alice"}); identity != want {
			w.Errorf("accepted as %v, want %v", identity, want)
		}
		return true
	}
	if !errors.Is(err, session.ErrCallerUnauthenticated) {
		w.Errorf("refused with %q, which is not %q", err, session.ErrCallerUnauthenticated)
	}
	if identity != (oidc.Identity{}) {
		w.Errorf("an identity came with the error: %v", identity)
	}
	return false
}

// mustAccept and mustRefuse say what of.
func (w *world) mustAccept(raw, what string) {
	w.Helper()
	if _, err := w.verifier.Verify(w.Context(), raw); err != nil {
		w.Errorf("%s: refused: %v", what, err)
	}
}

func (w *world) mustRefuse(raw, what string) {
	w.Helper()
	if w.accepts(raw) {
		w.Errorf("%s: accepted", what)
	}
}

func encode(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// sign makes a token without the library that reads it.
func sign(algorithm string, key crypto.Signer, header, claims string) string {
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	return input + "." + encode(signature(algorithm, key, input))
}

func signature(algorithm string, key crypto.Signer, input string) []byte {
	if key, ok := key.(ed25519.PrivateKey); ok {
		return ed25519.Sign(key, []byte(input))
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[algorithm[2:]]
	digest := hash.New()
	digest.Write([]byte(input))
	sum := digest.Sum(nil)
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum)
		size := (key.Curve.Params().BitSize + 7) / 8
		return must(append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), err)
	case *rsa.PrivateKey:
		if strings.HasPrefix(algorithm, "PS") {
			return must(rsa.SignPSS(rand.Reader, key, hash, sum, nil))
		}
		return must(rsa.SignPKCS1v15(nil, key, hash, sum))
	}
	panic("no such key")
}

// certificate returns one that key signed for itself, in DER: the same whenever it is made.
func certificate(key *rsa.PrivateKey) []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, DNSNames: []string{"localhost", clusterHost},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		IsCA: true, BasicConstraintsValid: true,
	}
	return must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
}

func (w *world) said() string {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	return w.log.text.String()
}

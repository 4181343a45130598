package portal_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

const alice session.ClientID = "cm0r6nkek00ej10dwwx8wdjmf"

// held is a token for where it doesn't matter whether Portal ever made it.
var held = session.Token{Client: alice, Secret: session.NewSecret("held-token")}

// operations ask one thing of Portal each, so that a test can do the same with all of them. A probe gives back its token.
var operations = map[portaltest.Operation]func(context.Context, session.Portal, session.Token) (session.Token, error){
	portaltest.Mint: func(ctx context.Context, p session.Portal, token session.Token) (session.Token, error) {
		return p.Mint(ctx, token.Client, session.Absent)
	},
	portaltest.Register: func(ctx context.Context, p session.Portal, _ session.Token) (session.Token, error) {
		return p.Register(ctx, session.Registration{})
	},
	portaltest.Probe: func(ctx context.Context, p session.Portal, token session.Token) (session.Token, error) {
		return token, p.Probe(ctx, token)
	},
}

// versions are those of the Custodian API.
var versions = map[string]portal.Paths{"v1": portal.V1, "v3": portal.V3}

// world is a Client and the simulated Portal that it asks, with a network between them.
type world struct {
	*portal.Client
	sim   *portaltest.Portal
	url   string
	token session.Token // a live one
}

func newWorld(t *testing.T, changes ...func(*portal.Parts)) *world {
	t.Helper()
	w := &world{sim: portaltest.New(portaltest.Options{})}
	w.url = serve(t, w.sim).URL
	t.Cleanup(w.sim.Close) // before the server's, which waits for what hangs
	var err error
	if w.token, err = newClient(t, w.url).Register(t.Context(), session.Registration{}); err != nil {
		t.Fatal(err)
	}
	w.sim.ResetCounters()
	w.Client = newClient(t, w.url, changes...)
	return w
}

func (w *world) wantArrivals(t *testing.T, operation portaltest.Operation, want int) {
	t.Helper()
	if n := len(w.sim.Arrivals(operation)); n != want {
		t.Errorf("%d requests to %s arrived, want %d", n, operation, want)
	}
}

// newClient returns a Client of the Portal at url.
func newClient(tb testing.TB, url string, changes ...func(*portal.Parts)) *portal.Client {
	tb.Helper()
	parts := portal.Parts{
		BaseURL: url, Paths: portal.V1, Timeout: time.Minute, UserAgent: "cstproxy/test",
		Key: func() session.Secret { return session.NewSecret(portaltest.DefaultKey) },
	}
	for _, change := range changes {
		change(&parts)
	}
	client := portal.New(parts)
	tb.Cleanup(client.Close)
	return client
}

func within(timeout time.Duration) func(*portal.Parts) {
	return func(p *portal.Parts) { p.Timeout = timeout }
}

func speaking(paths portal.Paths) func(*portal.Parts) {
	return func(p *portal.Parts) { p.Paths = paths }
}

// serve lets handler answer on a loopback address.
func serve(tb testing.TB, handler http.Handler, changes ...func(*httptest.Server)) *httptest.Server {
	tb.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	for _, change := range changes {
		change(server)
	}
	if server.TLS != nil {
		server.StartTLS()
	} else {
		server.Start()
	}
	tb.Cleanup(server.Close)
	return server
}

// answer is what a Portal says that was made by hand.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// arrival is what reached Portal.
type arrival struct {
	Method, URI, Proto string
	Header             http.Header
	Body               string
}

// observed notes every request before next answers it.
type observed struct {
	next http.Handler
	mu   sync.Mutex
	came []arrival
}

func (o *observed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	o.mu.Lock()
	o.came = append(o.came, arrival{r.Method, r.RequestURI, r.Proto, r.Header, string(body)})
	o.mu.Unlock()
	o.next.ServeHTTP(w, r)
}

func (o *observed) arrivals() []arrival {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.came
}

// errorsOfPortal are all that a caller may be told.
var errorsOfPortal = map[string]error{
	"not found": session.ErrClientNotFound, "rate limited": session.ErrPortalRateLimited,
	"unavailable": session.ErrPortalUnavailable, "timeout": session.ErrPortalTimeout,
	"unauthorized": session.ErrPortalUnauthorized, "bad response": session.ErrPortalBadResponse,
	"rejected": session.ErrTokenRejected, "canceled": context.Canceled,
}

// wantError wants err to be this one of them and no other; nil is none.
func wantError(t *testing.T, err, want error) {
	t.Helper()
	for name, other := range errorsOfPortal {
		if is := errors.Is(err, other); is != errors.Is(want, other) {
			t.Errorf("error %q: is %s = %t", err, name, is)
		}
	}
	if (err == nil) != (want == nil) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// wantNothing wants no token along with an error.
func wantNothing(t *testing.T, token session.Token) {
	t.Helper()
	if diff := cmp.Diff(session.Token{}, token); diff != "" {
		t.Errorf("a token came with the error (-want +got):\n%s", diff)
	}
}

// seasoned returns a Retry that has earned all the repeats it can.
func seasoned(next session.Portal) *portal.Retry {
	retry := portal.NewRetry(next)
	retry.Earn(1000)
	return retry
}

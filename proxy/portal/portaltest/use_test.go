package portaltest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// postWith sends a request that has one header more.
func postWith(h http.Handler, path, bearer, name, value string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, nil)
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set(name, value)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTheClientsAPITellsWhatCameAndSlidesTheToken(t *testing.T) {
	for name, tc := range map[string]struct{ method, path, query string }{
		"a write of clients/me":    {"POST", "/api/v1/clients/me", ""},
		"below v1 of clients/me":   {"GET", "/api/v1/clients/me/transactions", "limit=2&chainId=eip155%3A1"},
		"below v2 of clients/me":   {"DELETE", "/api/v2/clients/me/x", ""},
		"an escape, as it came":    {"GET", "/api/v3/clients/me/chains/eip155%3A1/assets", ""},
		"a colon, as it came":      {"GET", "/api/v3/clients/me/chains/eip155:1/assets", ""},
		"swaps":                    {"POST", "/api/v1/swaps/quote", ""},
		"v3 of swaps":              {"PUT", "/api/v3/swaps/sources", "a&a=b"},
		"what analytics have more": {"PATCH", "/api/v1/analytics/session", ""},
		"a get of what is tracked": {"GET", "/api/v1/analytics/track", ""},
		"configuration":            {"GET", "/api/v1/config/chains", ""},
		"JSON-RPC through Portal":  {"POST", "/rpc/v1/eip155/1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			portal, clock := newPortal(t, portaltest.Options{AnyClient: true})
			cst := mint(t, portal, alice)
			clock.Advance(time.Hour)
			doc := object(t, send(portal, tc.method, tc.path+"?"+tc.query, cst, "12345"), http.StatusOK)
			want := map[string]any{"clientId": alice, "method": tc.method, "path": tc.path, "query": tc.query, "bodyBytes": 5.0}
			if diff := cmp.Diff(want, doc); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if at, _ := portal.ActiveAt(cst); !at.Equal(epoch.Add(time.Hour)) {
				t.Errorf("active at %s", at)
			}
			if w := send(portal, tc.method, tc.path, "dead", ""); w.Code != http.StatusUnauthorized {
				t.Errorf("a dead token: %d", w.Code)
			}
			if n, stats := len(portal.Arrivals(portaltest.Use)), portal.Stats(); n != 2 || stats.Uses != 1 {
				t.Errorf("%d arrivals, %d uses", n, stats.Uses)
			}
		})
	}
}

func TestTheEnclaveTellsWhatCame(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	cst := mint(t, portal, alice)
	want := map[string]any{
		"data": "simulated", "clientId": alice, "method": "POST", "path": "/v1/sign", "query": "a=b", "bodyBytes": 2.0,
	}
	if diff := cmp.Diff(want, object(t, post(portal, "/v1/sign?a=b", cst, "{}"), http.StatusOK)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestTheClientsAPIAnswersTheStatusThatIsAskedFor(t *testing.T) {
	for wish, tc := range map[string]struct {
		want   int
		slides bool
	}{
		"200": {200, true}, "204": {204, true}, "299": {299, true}, "302": {302, false}, "401": {401, false},
		"418": {418, false}, "503": {503, false}, "599": {599, false},
		"199": {400, false}, "600": {400, false}, "teapot": {400, false}, "-1": {400, false},
	} {
		t.Run(wish, func(t *testing.T) {
			portal, clock := newPortal(t, portaltest.Options{AnyClient: true})
			cst := mint(t, portal, alice)
			clock.Advance(time.Hour)
			if w := postWith(portal, clientsMe+"/x", cst, "X-Simulated-Status", wish); w.Code != tc.want {
				t.Errorf("%d, want %d", w.Code, tc.want)
			}
			if at, _ := portal.ActiveAt(cst); at.Equal(epoch.Add(time.Hour)) != tc.slides {
				t.Errorf("active at %s", at)
			}
			if w := postWith(portal, clientsMe+"/x", "dead", "X-Simulated-Status", "200"); w.Code != http.StatusUnauthorized {
				t.Errorf("a dead token: %d", w.Code)
			}
		})
	}
}

func TestTraceIDComesBackToWhoHasAToken(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	cst := mint(t, portal, alice)
	portal.Inject(portaltest.Track, portaltest.Fault{Kind: portaltest.Status, Status: 503})
	for name, tc := range map[string]struct{ path, bearer, want string }{
		"the Clients API":  {clientsMe + "/x", cst, "t-1"},
		"the Enclave":      {"/v1/sign", cst, "t-1"},
		"a dead token":     {"/v1/sign", "dead", "t-1"},
		"a failure":        {"/api/v1/analytics/track", cst, "t-1"},
		"the custodian's":  {mintV1(alice), portaltest.DefaultKey, ""},
		"what is no route": {"/nowhere", cst, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := postWith(portal, tc.path, tc.bearer, "X-Portal-Trace-Id", "t-1").Header().Get("X-Portal-Trace-Id"); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	if w := post(portal, clientsMe+"/x", cst, ""); w.Header()["X-Portal-Trace-Id"] != nil {
		t.Error("an id that never came")
	}
}

// endless is as long as it is read.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func postFrom(h http.Handler, path, bearer string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, body)
	r.Header.Set("Authorization", "Bearer "+bearer)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestLargeBodiesAreCountedNotKept(t *testing.T) {
	const most = 32 << 20
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	cst := mint(t, portal, alice)
	for name, path := range map[string]string{"the Clients API": clientsMe + "/x", "the Enclave": "/v1/sign"} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w := postFrom(portal, path, cst, io.LimitReader(endless{}, most))
			runtime.ReadMemStats(&after)
			if got := object(t, w, http.StatusOK)["bodyBytes"]; got != float64(most) {
				t.Errorf("%v bytes came", got)
			}
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
				t.Errorf("it took %d bytes of memory", taken)
			}
			requests := portal.Stats().Requests
			object(t, postFrom(portal, path, cst, io.LimitReader(endless{}, most+1)), http.StatusRequestEntityTooLarge)
			if portal.Stats().Requests != requests {
				t.Error("a request that never ended counts as one")
			}
		})
	}
}

package portaltest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

const (
	registerV1 = "/api/v1/custodians/clients"
	registerV3 = "/api/v3/custodians/me/clients"
	clientsMe  = "/api/v3/clients/me"
	alice      = "cm0r6nkek00ej10dwwx8wdjmf"
)

func mintV1(id string) string { return registerV1 + "/" + id + "/session" }
func mintV3(id string) string { return registerV3 + "/" + id + "/sessions" }

var epoch = time.Date(2026, time.November, 22, 5, 19, 55, 0, time.UTC)

// handClock stands still until it is moved.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func (c *handClock) Advance(d time.Duration) { c.Set(c.Now().Add(d)) }

// newPortal returns a Portal on a clock that is moved by hand.
func newPortal(t *testing.T, options portaltest.Options) (*portaltest.Portal, *handClock) {
	t.Helper()
	clock := &handClock{now: epoch}
	options.Now = clock.Now
	portal := portaltest.New(options)
	t.Cleanup(portal.Close)
	return portal, clock
}

// send makes one request without a network.
func send(h http.Handler, method, path, bearer, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func post(h http.Handler, path, bearer, body string) *httptest.ResponseRecorder {
	return send(h, http.MethodPost, path, bearer, body)
}

func probe(h http.Handler, cst string) *httptest.ResponseRecorder {
	return send(h, http.MethodGet, clientsMe, cst, "")
}

// object reads a JSON object, and nothing else, of that status.
func object(t *testing.T, w *httptest.ResponseRecorder, status int) map[string]any {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status = %d, want %d; body %s", w.Code, status, w.Body)
	}
	var doc map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("body %q: %v", w.Body, err)
	}
	return doc
}

// text returns a field that must be a string.
func text(t *testing.T, doc map[string]any, field string) string {
	t.Helper()
	s, ok := doc[field].(string)
	if !ok {
		t.Fatalf("%s = %v in %v", field, doc[field], doc)
	}
	return s
}

// mint makes a token for the client and returns its CST.
func mint(t *testing.T, h http.Handler, id string) string {
	t.Helper()
	doc := object(t, post(h, mintV1(id), portaltest.DefaultKey, "{}"), http.StatusOK)
	return text(t, doc, "clientSessionToken")
}

func keys(doc map[string]any) map[string]bool {
	set := map[string]bool{}
	for key := range doc {
		set[key] = true
	}
	return set
}

func set(members ...string) map[string]bool {
	all := map[string]bool{}
	for _, member := range members {
		all[member] = true
	}
	return all
}

func TestRegistrationMakesAClientWithALiveToken(t *testing.T) {
	cuid := regexp.MustCompile(`^c[a-z0-9]{24}$`)
	for name, tc := range map[string]struct {
		path, body string
		status     int
		abstracted bool
	}{
		"v1":                                {registerV1, `{}`, 201, false},
		"v3":                                {registerV3, `{}`, 200, false},
		"before there were versions":        {"/api/clients", `{}`, 201, false},
		"v1 account-abstracted":             {registerV1, `{"isAccountAbstracted":true}`, 201, true},
		"v3 account-abstracted":             {registerV3, `{"isAccountAbstracted":true}`, 200, true},
		"v1 without a body":                 {registerV1, ``, 201, false},
		"v1 with fields that it ignores":    {registerV1, `{"x":1}`, 201, false},
		"v3 expressly not account-abstract": {registerV3, `{"isAccountAbstracted":false}`, 200, false},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{})
			doc := object(t, post(portal, tc.path, portaltest.DefaultKey, tc.body), tc.status)
			want := set("id", "clientApiKey", "clientSessionToken", "isAccountAbstracted")
			if diff := cmp.Diff(want, keys(doc)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if doc["isAccountAbstracted"] != tc.abstracted {
				t.Errorf("isAccountAbstracted = %v", doc["isAccountAbstracted"])
			}
			if id := text(t, doc, "id"); !cuid.MatchString(id) {
				t.Errorf("id %q is no cuid", id)
			}
			if !portal.Accepts(text(t, doc, "clientSessionToken")) {
				t.Error("the token is not accepted")
			}
			if portal.Accepts(text(t, doc, "clientApiKey")) {
				t.Error("the Client API Key is accepted as a CST")
			}
		})
	}
}

func TestEveryRegistrationMakesANewClient(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	ids := map[any]bool{}
	for range 100 {
		ids[object(t, post(portal, registerV1, portaltest.DefaultKey, "{}"), 201)["id"]] = true
	}
	if len(ids) != 100 {
		t.Errorf("%d ids for 100 registrations", len(ids))
	}
}

func TestRegistrationRefusesWhatIsNotJSON(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	for name, body := range map[string]string{"text": "x", "an ill-typed field": `{"isAccountAbstracted":"yes"}`} {
		t.Run(name, func(t *testing.T) {
			object(t, post(portal, registerV1, portaltest.DefaultKey, body), http.StatusBadRequest)
		})
	}
	if n := portal.Stats().Registrations; n != 0 {
		t.Errorf("%d registrations", n)
	}
}

func TestMintAnswersWithTheClientsNewToken(t *testing.T) {
	for name, path := range map[string]string{"v1": mintV1(alice), "v3": mintV3(alice)} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{})
			portal.AddClient(alice)
			doc := object(t, post(portal, path, portaltest.DefaultKey, "{}"), http.StatusOK)
			cst := text(t, doc, "clientSessionToken")
			want := map[string]any{"id": alice, "clientSessionToken": cst, "isAccountAbstracted": false}
			if diff := cmp.Diff(want, doc); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if !portal.Accepts(cst) {
				t.Error("the token is not accepted")
			}
		})
	}
}

func TestMintKeepsWhatTheClientWasRegisteredAs(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	registered := object(t, post(portal, registerV3, portaltest.DefaultKey, `{"isAccountAbstracted":true}`), 200)
	minted := object(t, post(portal, mintV3(text(t, registered, "id")), portaltest.DefaultKey, "{}"), 200)
	if abstracted, _ := minted["isAccountAbstracted"].(bool); !abstracted {
		t.Errorf("isAccountAbstracted = %v", minted["isAccountAbstracted"])
	}
}

func TestClientsMeTellsATokensOwner(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	portal.AddClient(alice)
	cst := mint(t, portal, alice)
	for _, version := range []string{"v1", "v2", "v3"} {
		t.Run(version, func(t *testing.T) {
			doc := object(t, send(portal, http.MethodGet, "/api/"+version+"/clients/me", cst, ""), http.StatusOK)
			want := map[string]any{"id": alice, "isAccountAbstracted": false, "wallets": []any{}}
			if diff := cmp.Diff(want, doc); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnlyV1LeaksTheClientAPIKeyOfAClientRead(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	registered := object(t, post(portal, registerV1, portaltest.DefaultKey, "{}"), 201)
	path := "/" + text(t, registered, "id")
	for name, tc := range map[string]struct {
		path string
		want map[string]any
	}{
		"v1": {registerV1 + path, map[string]any{
			"id": registered["id"], "isAccountAbstracted": false, "clientApiKey": registered["clientApiKey"]}},
		"v3": {registerV3 + path, map[string]any{"id": registered["id"], "isAccountAbstracted": false}},
	} {
		t.Run(name, func(t *testing.T) {
			doc := object(t, send(portal, http.MethodGet, tc.path, portaltest.DefaultKey, ""), http.StatusOK)
			if diff := cmp.Diff(tc.want, doc); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

var enclavePaths = []string{
	"/v1/generate", "/v1/sign", "/v1/assets/send", "/v1/backup", "/v1/recover",
	"/v1/raw/sign/SECP256K1", "/v1/raw/sign/ED25519", "/v1/of/another/day",
}

func TestEnclaveTakesLiveTokensAndSlidesThem(t *testing.T) {
	for _, path := range enclavePaths {
		t.Run(path, func(t *testing.T) {
			portal, clock := newPortal(t, portaltest.Options{})
			portal.AddClient(alice)
			cst := mint(t, portal, alice)
			clock.Advance(time.Hour)
			object(t, post(portal, path, cst, `{"share":"x"}`), http.StatusOK)
			if at, _ := portal.ActiveAt(cst); !at.Equal(epoch.Add(time.Hour)) {
				t.Errorf("active at %s", at)
			}
		})
	}
}

func TestAnalyticsTakeLiveTokensAndSlideThem(t *testing.T) {
	for _, path := range []string{"/api/v1/analytics/identify", "/api/v1/analytics/track"} {
		t.Run(path, func(t *testing.T) {
			portal, clock := newPortal(t, portaltest.Options{AnyClient: true})
			cst := mint(t, portal, alice)
			clock.Advance(time.Hour)
			doc := object(t, post(portal, path, cst, `{}`), http.StatusOK)
			if at, _ := portal.ActiveAt(cst); doc["success"] != true || !at.Equal(epoch.Add(time.Hour)) {
				t.Errorf("%v, active at %s", doc, at)
			}
			if w := post(portal, path, "dead", `{}`); w.Code != http.StatusUnauthorized {
				t.Errorf("a dead token: %d", w.Code)
			}
		})
	}
}

func TestCustodianRoutesNeedThePortalAPIKey(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{APIKey: "the-key"})
	portal.AddClient(alice)
	cst := text(t, object(t, post(portal, mintV1(alice), "the-key", "{}"), 200), "clientSessionToken")
	routes := map[string][2]string{
		"register v1": {"POST", registerV1}, "register v3": {"POST", registerV3},
		"mint v1": {"POST", mintV1(alice)}, "mint v3": {"POST", mintV3(alice)},
		"read v1": {"GET", registerV1 + "/" + alice}, "read v3": {"GET", registerV3 + "/" + alice},
		"list v3": {"GET", registerV3}, "list v1": {"GET", registerV1}, "register, legacy": {"POST", "/api/clients"},
		"web-otp":       {"GET", registerV1 + "/" + alice + "/web-otp"},
		"enable-eject":  {"PATCH", registerV3 + "/" + alice + "/enable-eject"},
		"prepare-eject": {"POST", registerV3 + "/" + alice + "/prepare-eject"},
	}
	for name, route := range routes {
		for credential, bearer := range map[string]string{
			"none": "", "another key": "another", "the key and more": "the-key ", "a CST": cst,
		} {
			t.Run(name+" with "+credential, func(t *testing.T) {
				doc := object(t, send(portal, route[0], route[1], bearer, "{}"), http.StatusUnauthorized)
				if message, ok := doc["error"].(string); !ok || message == "" {
					t.Errorf("body %v has no error", doc)
				}
			})
		}
	}
}

func TestBasicCredentialsAreNone(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	r := httptest.NewRequest(http.MethodPost, registerV1, nil)
	r.Header.Set("Authorization", "Basic "+portaltest.DefaultKey)
	w := httptest.NewRecorder()
	portal.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("status = %d", w.Code)
	}
}

func TestDeadTokensMeetA401InEveryForm(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	forms := map[string]bool{}
	for _, path := range enclavePaths {
		w := post(portal, path, "never-minted", "{}")
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s: status = %d", path, w.Code)
		}
		forms[w.Body.String()] = true
	}
	for range 3 {
		w := probe(portal, portaltest.DefaultKey)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("probe with the Portal API Key: status = %d", w.Code)
		}
	}
	want := set(`{}`, `{"error":"Unauthorized"}`, `"Unauthorized"`)
	if diff := cmp.Diff(want, forms); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}

func TestWhatIsNoRouteIsNotFound(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	for name, route := range map[string][2]string{
		"the root":             {"GET", "/"},
		"an empty client id":   {"POST", registerV1 + "//session"},
		"a way up":             {"POST", registerV1 + "/../clients/x/session"},
		"a trailing slash":     {"POST", registerV1 + "/"},
		"another method":       {"DELETE", registerV1},
		"a get of a mint":      {"GET", mintV1(alice)},
		"v2 of a mint":         {"POST", "/api/v2/custodians/clients/x/session"},
		"v1's word in v3":      {"POST", registerV3 + "/x/session"},
		"another Enclave API":  {"POST", "/v2/sign"},
		"a get of an Enclave":  {"GET", "/v1/sign"},
		"where it begins":      {"POST", "/v1"},
		"beside clients/me":    {"GET", clientsMe + "x"},
		"v4 of clients/me":     {"GET", "/api/v4/clients/me"},
		"v2 of swaps":          {"GET", "/api/v2/swaps/quote"},
		"where swaps begin":    {"GET", "/api/v1/swaps"},
		"a method of its own":  {"BREW", clientsMe + "/x"},
		"a way up in disguise": {"GET", clientsMe + "/%2e%2e/me"},
	} {
		t.Run(name, func(t *testing.T) {
			w := send(portal, route[0], route[1], portaltest.DefaultKey, "")
			if w.Code != http.StatusNotFound || w.Body.String() != "{}" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestRequestThatBreaksOffIsNoRequest(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	r := httptest.NewRequest(http.MethodPost, registerV1, io.MultiReader(strings.NewReader("{"), brokenReader{}))
	r.Header.Set("Authorization", "Bearer "+portaltest.DefaultKey)
	w := httptest.NewRecorder()
	portal.ServeHTTP(w, r)
	if n := portal.Stats().Requests; w.Code != http.StatusBadRequest || n != 0 {
		t.Errorf("status = %d, %d requests", w.Code, n)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOptionsThatPortalCannotHavePanic(t *testing.T) {
	for name, options := range map[string]portaltest.Options{
		"an unknown client that succeeds": {UnknownClientStatus: 200},
		"a negative rate":                 {RateLimit: -1},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			portaltest.New(options)
		})
	}
}

func TestPortalRunsOnTheProcessClockByDefault(t *testing.T) {
	portal := portaltest.New(portaltest.Options{AnyClient: true})
	before := time.Now()
	cst := mint(t, portal, alice)
	if at, ok := portal.ActiveAt(cst); !ok || at.Before(before.Round(0)) || at.After(time.Now()) {
		t.Errorf("active at %s, %v", at, ok)
	}
}

func TestConcurrentCallersGetTokensOfTheirOwn(t *testing.T) {
	portal := portaltest.New(portaltest.Options{AnyClient: true, RateLimit: 1_000_000})
	const callers, each = 8, 50
	minted := make([][]string, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				w := post(portal, mintV3(alice), portaltest.DefaultKey, "{}")
				var doc struct{ ClientSessionToken string }
				_ = json.Unmarshal(w.Body.Bytes(), &doc)
				minted[i] = append(minted[i], doc.ClientSessionToken)
				probe(portal, doc.ClientSessionToken)
				portal.Inject(portaltest.Read, portaltest.Fault{Kind: portaltest.Status, Status: 500})
				portal.Stats()
			}
		})
	}
	wg.Wait()
	distinct := map[string]bool{}
	for _, tokens := range minted {
		for _, cst := range tokens {
			distinct[cst] = portal.Accepts(cst)
		}
	}
	if len(distinct) != callers*each || distinct[""] {
		t.Errorf("%d distinct tokens for %d mints", len(distinct), callers*each)
	}
	s := portal.Stats()
	if s.Mints != callers*each || s.Probes != callers*each {
		t.Errorf("stats = %+v", s)
	}
}

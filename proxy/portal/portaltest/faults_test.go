package portaltest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func TestStatusFaultAnswersInsteadOfTheWork(t *testing.T) {
	for name, status := range map[string]int{"400": 400, "401": 401, "418": 418, "429": 429, "500": 500, "503": 503, "599": 599} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
			portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: status, RetryAfter: "soon"})
			w := post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
			object(t, w, status)
			if got := w.Header().Get("Retry-After"); got != "soon" {
				t.Errorf("Retry-After = %q", got)
			}
			if s := portal.Stats(); s.Mints != 0 || s.Faulted != 1 {
				t.Errorf("stats = %+v", s)
			}
		})
	}
}

func TestRedirectFaultPointsElsewhere(t *testing.T) {
	for name, tc := range map[string]struct{ location, want string }{
		"by default":   {"", "https://elsewhere.invalid/"},
		"where chosen": {"http://thief.example/x", "http://thief.example/x"},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
			portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Redirect, Location: tc.location})
			w := post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
			if got := w.Header().Get("Location"); w.Code != http.StatusFound || got != tc.want {
				t.Errorf("%d to %q", w.Code, got)
			}
			if n := portal.Stats().Mints; n != 0 {
				t.Errorf("%d mints", n)
			}
		})
	}
}

func TestGarbageIsASuccessThatIsNotJSON(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Garbage})
	w := post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
	if w.Code != http.StatusOK || json.Valid(w.Body.Bytes()) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := portal.Stats().Mints; n != 1 {
		t.Errorf("%d mints: the work was to be done", n)
	}
}

func TestHugeAnswerIsRightButForItsSize(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Huge})
	w := post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
	if size := w.Body.Len(); size <= 64<<20 {
		t.Errorf("%d bytes", size)
	}
	w.Body = bytes.NewBuffer(withoutSpaces(t, w.Body.Bytes())) // JSON's own skipping takes seconds
	doc := object(t, w, http.StatusOK)
	if !portal.Accepts(text(t, doc, "clientSessionToken")) {
		t.Error("no live token at its end")
	}
}

// withoutSpaces returns what comes after the spaces that text must begin with, and looks at no byte by itself.
func withoutSpaces(t *testing.T, text []byte) []byte {
	t.Helper()
	spaces := bytes.IndexByte(text, '{')
	if spaces < 0 || bytes.Count(text[:spaces], []byte(" ")) != spaces {
		t.Fatal("no object after spaces alone")
	}
	return text[spaces:]
}

func TestHugeAnswerEndsWhenTheReaderLeaves(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	portal.Inject(portaltest.All, portaltest.Fault{Kind: portaltest.Huge})
	server := httptest.NewServer(portal)
	response, err := request(t.Context(), server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(io.Discard, response.Body, 65<<10)
	_ = response.Body.Close()
	server.Close() // waits for the handler
	if err != nil {
		t.Errorf("the first 65 KiB: %v", err)
	}
}

func TestSpoiltDocumentsDifferInOneFieldOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		kind  portaltest.FaultKind
		check func(doc map[string]any) bool
	}{
		"wrong id": {portaltest.WrongID, func(doc map[string]any) bool {
			id, _ := doc["id"].(string)
			return id != alice && len(id) == 25 && doc["clientSessionToken"] != nil
		}},
		"no token": {portaltest.NoToken, func(doc map[string]any) bool {
			_, named := doc["clientSessionToken"]
			return doc["id"] == alice && !named
		}},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
			portal.Inject(portaltest.Mint, portaltest.Fault{Kind: tc.kind})
			doc := object(t, post(portal, mintV1(alice), portaltest.DefaultKey, "{}"), http.StatusOK)
			if abstracted, ok := doc["isAccountAbstracted"].(bool); !tc.check(doc) || !ok || abstracted {
				t.Errorf("answer %v", doc)
			}
			if n := portal.Stats().Mints; n != 1 {
				t.Errorf("%d mints", n)
			}
		})
	}
}

func TestSpoilingLeavesRefusalsAndOtherAnswersAlone(t *testing.T) {
	for _, kind := range []portaltest.FaultKind{portaltest.Garbage, portaltest.Huge, portaltest.WrongID, portaltest.NoToken} {
		t.Run(string(kind), func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{})
			portal.Inject(portaltest.All, portaltest.Fault{Kind: kind})
			w := post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
			if got, want := w.Body.String(), `{"error":"Not Found"}`; w.Code != 404 || got != want {
				t.Errorf("%d %s", w.Code, got)
			}
		})
	}
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	cst := mint(t, portal, alice)
	portal.Inject(portaltest.Enclave, portaltest.Fault{Kind: portaltest.WrongID})
	if doc := object(t, post(portal, "/v1/sign", cst, "{}"), 200); doc["clientId"] != alice {
		t.Errorf("answer %v", doc)
	}
}

// request mints for alice at base.
func request(ctx context.Context, client *http.Client, base string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+mintV1(alice), strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+portaltest.DefaultKey)
	return client.Do(r)
}

func TestDroppedConnectionsTellNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		kind  portaltest.FaultKind
		serve func(http.Handler) *httptest.Server
		mints int
	}{
		"reset":          {portaltest.Reset, httptest.NewServer, 0},
		"reset in TLS":   {portaltest.Reset, httptest.NewTLSServer, 0},
		"lost":           {portaltest.Lost, httptest.NewServer, 1},
		"lost in TLS":    {portaltest.Lost, httptest.NewTLSServer, 1},
		"reset in HTTP2": {portaltest.Reset, newHTTP2Server, 0},
		"lost in HTTP2":  {portaltest.Lost, newHTTP2Server, 1},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
			portal.Inject(portaltest.Mint, portaltest.Fault{Kind: tc.kind, Times: 1})
			server := tc.serve(portal)
			defer server.Close()
			response, err := request(t.Context(), server.Client(), server.URL)
			if err == nil {
				_ = response.Body.Close()
				t.Fatalf("answered %s", response.Status)
			}
			if n := portal.Stats().Mints; n != tc.mints {
				t.Errorf("%d mints, want %d", n, tc.mints)
			}
			response, err = request(t.Context(), server.Client(), server.URL)
			if err != nil {
				t.Fatalf("afterwards: %v", err)
			}
			_ = response.Body.Close()
		})
	}
}

func newHTTP2Server(h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.StartTLS()
	return server
}

func TestResetIsATCPReset(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Reset})
	server := httptest.NewServer(portal)
	defer server.Close()
	_, err := request(t.Context(), server.Client(), server.URL)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("err = %v", err)
	}
}

func TestLostProbeSlidesAllTheSame(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{AnyClient: true})
	cst := mint(t, portal, alice)
	clock.Advance(time.Hour)
	for _, kind := range []portaltest.FaultKind{portaltest.Reset, portaltest.Lost} {
		portal.Inject(portaltest.Probe, portaltest.Fault{Kind: kind})
		mustAbort(t, func() { probe(portal, cst) })
		at, _ := portal.ActiveAt(cst)
		if slid := at.After(epoch); slid != (kind == portaltest.Lost) {
			t.Errorf("%s: slid = %v", kind, slid)
		}
	}
}

// mustAbort calls f, which is to panic as a handler that drops its connection
// does when there is none.
func mustAbort(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("panic = %v, want http.ErrAbortHandler", err)
		}
	}()
	f()
}

func TestFaultHappensAsOftenAsSet(t *testing.T) {
	broken := portaltest.Fault{Kind: portaltest.Status, Status: 500}
	times := func(n int) portaltest.Fault {
		f := broken
		f.Times = n
		return f
	}
	other := portaltest.Fault{Kind: portaltest.Status, Status: 418, Times: 1}
	for name, tc := range map[string]struct {
		faults map[portaltest.Operation]portaltest.Fault
		want   []int
	}{
		"never":                       {nil, []int{200, 200}},
		"once":                        {map[portaltest.Operation]portaltest.Fault{portaltest.Mint: times(1)}, []int{500, 200, 200}},
		"three times":                 {map[portaltest.Operation]portaltest.Fault{portaltest.Mint: times(3)}, []int{500, 500, 500, 200}},
		"until cleared":               {map[portaltest.Operation]portaltest.Fault{portaltest.Mint: broken}, []int{500, 500, 500, 500}},
		"to all operations":           {map[portaltest.Operation]portaltest.Fault{portaltest.All: times(2)}, []int{500, 500, 200}},
		"to another operation":        {map[portaltest.Operation]portaltest.Fault{portaltest.Probe: broken}, []int{200}},
		"its own before that of all":  {map[portaltest.Operation]portaltest.Fault{portaltest.Mint: other, portaltest.All: times(1)}, []int{418, 500, 200}},
		"latency alone is no failure": {map[portaltest.Operation]portaltest.Fault{portaltest.Mint: {Latency: 1}}, []int{200}},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
			portal.Set(func(b *portaltest.Behavior) { b.Faults = tc.faults })
			var got []int
			for range tc.want {
				got = append(got, post(portal, mintV1(alice), portaltest.DefaultKey, "{}").Code)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSpentFaultStaysInSight(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: 500, Times: 1})
	post(portal, mintV1(alice), portaltest.DefaultKey, "{}")
	want := map[portaltest.Operation]portaltest.Fault{portaltest.Mint: {Kind: portaltest.Status, Status: 500, Times: -1}}
	if diff := cmp.Diff(want, portal.Behavior().Faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	portal.Inject(portaltest.Mint, portaltest.Fault{})
	if faults := portal.Behavior().Faults; len(faults) != 0 {
		t.Errorf("faults = %v", faults)
	}
}

func TestBehaviorIsACopy(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	portal.Behavior().Faults[portaltest.Mint] = portaltest.Fault{Kind: portaltest.Hang}
	if faults := portal.Behavior().Faults; len(faults) != 0 {
		t.Errorf("faults = %v", faults)
	}
}

func TestFaultsThatCannotBeMadePanicAndChangeNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		operation portaltest.Operation
		fault     portaltest.Fault
	}{
		"an unknown operation":   {"mnt", portaltest.Fault{Kind: portaltest.Hang}},
		"an unknown kind":        {portaltest.Mint, portaltest.Fault{Kind: "hung"}},
		"a status below 400":     {portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: 399}},
		"a status above 599":     {portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: 600}},
		"a negative latency":     {portaltest.Mint, portaltest.Fault{Latency: -1}},
		"less often than not":    {portaltest.Mint, portaltest.Fault{Kind: portaltest.Hang, Times: -2}},
		"a status that is unset": {portaltest.Mint, portaltest.Fault{Kind: portaltest.Status}},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{})
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				if faults := portal.Behavior().Faults; len(faults) != 0 {
					t.Errorf("faults = %v", faults)
				}
			}()
			portal.Inject(tc.operation, tc.fault)
		})
	}
}

// pipes is a listener without a network: unlike a socket it lets the bubble's
// time pass.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- far
	return near, nil
}

// serveInBubble serves the portal until the test ends. The bubble itself then
// proves that no goroutine is left.
func serveInBubble(t *testing.T, portal *portaltest.Portal) *http.Client {
	t.Helper()
	return serveHandlerInBubble(t, portal, portal)
}

// serveHandlerInBubble does so with a handler that wraps the portal.
func serveHandlerInBubble(t *testing.T, portal *portaltest.Portal, handler http.Handler) *http.Client {
	t.Helper()
	listener := pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	transport := &http.Transport{DialContext: listener.dial}
	t.Cleanup(func() {
		portal.Close()
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return &http.Client{Transport: transport}
}

// answered is the end of a request: a status, or 0 if there was none.
func answered(ctx context.Context, client *http.Client) <-chan int {
	status := make(chan int, 1)
	go func() {
		response, err := request(ctx, client, "http://portal")
		if err != nil {
			status <- 0
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		status <- response.StatusCode
	}()
	return status
}

func TestLatencyHoldsBackTheAnswerNotTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := portaltest.New(portaltest.Options{AnyClient: true})
		portal.Inject(portaltest.All, portaltest.Fault{Latency: 3 * time.Second})
		client := serveInBubble(t, portal)
		sent := time.Now()
		status := answered(t.Context(), client)
		synctest.Wait()
		if n := portal.Stats().Mints; n != 1 {
			t.Errorf("%d mints before the answer", n)
		}
		if got := <-status; got != 200 || time.Since(sent) != 3*time.Second {
			t.Errorf("%d after %s", got, time.Since(sent))
		}
	})
}

func TestHeldBackRequestsEndWithTheirCallerOrThePortal(t *testing.T) {
	for held, fault := range map[string]portaltest.Fault{
		"hanging":    {Kind: portaltest.Hang},
		"hung once":  {Kind: portaltest.Hang, Times: 1},
		"slow":       {Latency: time.Hour},
		"slow fault": {Kind: portaltest.Status, Status: 500, Latency: time.Hour},
	} {
		for ended, end := range map[string]func(p *portaltest.Portal, leave func()){
			"the caller leaves": func(_ *portaltest.Portal, leave func()) { leave() },
			"the portal closes": func(p *portaltest.Portal, _ func()) { p.Close(); p.Close() },
		} {
			t.Run(held+" until "+ended, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					portal := portaltest.New(portaltest.Options{AnyClient: true})
					portal.Inject(portaltest.Mint, fault)
					returned := make(chan struct{})
					client := serveHandlerInBubble(t, portal, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						defer close(returned)
						portal.ServeHTTP(w, r)
					}))
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					sent := time.Now()
					status := answered(ctx, client)
					synctest.Wait()
					end(portal, leave)
					got := <-status
					<-returned
					if got != 0 || time.Since(sent) != 0 {
						t.Errorf("status %d after %s", got, time.Since(sent))
					}
				})
			})
		}
	}
}

func TestAClosedPortalHoldsNothingBack(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	portal.Close()
	mint(t, portal, alice)
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Hang})
	mustAbort(t, func() { post(portal, mintV1(alice), portaltest.DefaultKey, "{}") })
}

func TestHangingRequestIsServedOnceItsFaultIsCleared(t *testing.T) {
	hang := portaltest.Fault{Kind: portaltest.Hang}
	once := portaltest.Fault{Kind: portaltest.Hang, Times: 1}
	for name, tc := range map[string]struct {
		operation portaltest.Operation
		fault     portaltest.Fault
		heal      func(*portaltest.Portal)
	}{
		"with all faults": {portaltest.Mint, hang, (*portaltest.Portal).ClearFaults},
		"by itself":       {portaltest.Mint, hang, func(p *portaltest.Portal) { p.Inject(portaltest.Mint, portaltest.Fault{}) }},
		"under all":       {portaltest.All, hang, func(p *portaltest.Portal) { p.Inject(portaltest.All, portaltest.Fault{}) }},
		"hung once":       {portaltest.Mint, once, (*portaltest.Portal).ClearFaults},
		"hung once, all":  {portaltest.All, once, (*portaltest.Portal).ClearFaults},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := portaltest.New(portaltest.Options{AnyClient: true})
				portal.Inject(tc.operation, tc.fault)
				client := serveInBubble(t, portal)
				status := answered(t.Context(), client)
				synctest.Wait()
				portal.Set(func(b *portaltest.Behavior) { b.SlideOnError = true })
				synctest.Wait()
				select {
				case got := <-status:
					t.Fatalf("answered %d while the fault was set", got)
				default:
				}
				if n := portal.Stats().Mints; n != 0 {
					t.Errorf("%d mints while hanging", n)
				}
				tc.heal(portal)
				if got := <-status; got != 200 {
					t.Errorf("status %d", got)
				}
			})
		})
	}
}

func TestSecretsNeverRepeat(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{})
	a := post(portal, registerV1, portaltest.DefaultKey, "{}").Body.Bytes()
	b := post(portal, registerV1, portaltest.DefaultKey, "{}").Body.Bytes()
	if bytes.Equal(a, b) {
		t.Errorf("two registrations answer %s", a)
	}
}

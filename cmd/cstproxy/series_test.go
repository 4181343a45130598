package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// mostSeries is what a replica may cost whoever scrapes it.
const mostSeries = 2000

// wired is a proxy as it is served, without its ports, and the simulated Portal that it asks.
type wired struct {
	*application
	t       *testing.T
	portal  *portaltest.Portal
	keyFile string
}

func wireUp(t *testing.T, environ ...string) *wired {
	t.Helper()
	portal, portals := simulated(t, portaltest.Options{AnyClient: true})
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(portaltest.DefaultKey), 0o600); err != nil {
		t.Fatal(err)
	}
	all := []string{"PORTAL_API_KEY_FILE=" + keyFile, "CSTPROXY_MINT_RATE=0", "CSTPROXY_PORTAL_TIMEOUT=300ms", "CSTPROXY_MEMORY_ENTRIES=200000"}
	all = append(all, environ...)
	for _, pair := range portals {
		if !strings.HasPrefix(pair, "PORTAL_API_KEY=") {
			all = append(all, pair)
		}
	}
	config, err := loadConfig(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := wire(config, surroundings{local: time.Now, err: io.Discard, log: newLog(config, io.Discard)})
	if err != nil {
		t.Fatal(err)
	}
	background, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { a.store.run(background) })
	t.Cleanup(func() {
		a.broker.Close(background)
		stop()
		running.Wait()
		a.close()
	})
	return &wired{a, t, portal, keyFile}
}

// ask makes a request of the data API and returns the status of the answer.
func (w *wired) ask(method, path, body string) int {
	answer := httptest.NewRecorder()
	w.data.ServeHTTP(answer, newRequest(w.t, method, path, body))
	return answer.Code
}

// scrape returns /metrics, and how many series are in it.
func (w *wired) scrape() (page string, series int) {
	w.t.Helper()
	answer := httptest.NewRecorder()
	w.admin.ServeHTTP(answer, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/metrics", http.NoBody))
	page = answer.Body.String()
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
	}
	return page, series
}

// value returns the value of one series.
func value(t *testing.T, page, series string) float64 {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(page))
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no series %s", series)
	return 0
}

// fetch asks for one token after the other, at no more cost than the proxy's own.
type fetch struct {
	data    http.Handler
	request *http.Request
	header  http.Header
	status  int
}

func (f *fetch) Header() http.Header              { return f.header }
func (f *fetch) WriteHeader(status int)           { f.status = status }
func (f *fetch) Write(answer []byte) (int, error) { return len(answer), nil }

func (f *fetch) of(client string) (status int) {
	clear(f.header)
	f.request.URL.Path = "/v1/clients/" + client + "/token"
	f.data.ServeHTTP(f, f.request)
	return f.status
}

// each does for the numbers below n what do does, on two goroutines.
func (w *wired) each(n int, do func(f *fetch, i int)) {
	var group sync.WaitGroup
	for half := range 2 {
		f := &fetch{data: w.data, request: newRequest(w.t, http.MethodGet, "/", ""), header: http.Header{}}
		group.Go(func() {
			for i := half; i < n; i += 2 {
				do(f, i)
			}
		})
	}
	group.Wait()
}

func newRequest(t *testing.T, method, path, body string) *http.Request {
	request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	request.Host, request.RemoteAddr = "localhost", "127.0.0.1:1"
	return request
}

// keep puts a live token of the client into the store, as another replica would have.
func (w *wired) keep(client session.ClientID) {
	secret := session.NewSecret("token-of-" + string(client))
	now := w.store.now()
	_, err := w.store.tokens.Commit(w.t.Context(), session.Token{
		Client: client, Secret: secret, ID: session.IdentifyToken(secret), MintedAt: now, ActiveAt: now,
	}, 0)
	if err != nil {
		w.t.Error(err)
	}
}

// troubles are what Portal may do: last what has the fleet pause.
var troubles = []portaltest.Fault{
	{Kind: portaltest.Status, Status: 400}, {Kind: portaltest.Status, Status: 404}, {Kind: portaltest.Status, Status: 409}, {Kind: portaltest.Status, Status: 500},
	{Kind: portaltest.Status, Status: 502}, {Kind: portaltest.Status, Status: 503, RetryAfter: "1"}, {Kind: portaltest.Reset},
	{Kind: portaltest.Redirect}, {Kind: portaltest.Hang}, {Kind: portaltest.Lost}, {Kind: portaltest.Garbage},
	{Kind: portaltest.Huge}, {Kind: portaltest.WrongID}, {Kind: portaltest.NoToken}, {Kind: portaltest.Status, Status: 429, RetryAfter: "1"},
	{Kind: portaltest.Status, Status: 401}, {Kind: portaltest.Status, Status: 403},
}

// stray asks what backends should not, and whatever else an answer can be about.
func (w *wired) stray(i int) {
	client := "/v1/clients/stray-" + strconv.Itoa(i)
	for _, r := range [][3]string{
		{"GET", client + "/token?minTtl=23h59m"}, {"GET", client + "/token?minTtl=99h"}, {"GET", client + "/token?color=red"},
		{"GET", client + "/token?rejected=0123456789abcdef0123456789abcdef"}, {"GET", "/v1/clients/no!id/token"},
		{"GET", client}, {"POST", client + "/activity", `{"tokenId":"0123456789abcdef0123456789abcdef"}`}, {"POST", client + "/activity", "{"},
		{"POST", client + "/activity", strings.Repeat(" ", 1<<17)}, {"DELETE", client + "/token"}, {"POST", "/v1/clients", ""},
		{"POST", "/api/v1/custodians/clients/stray/session"}, {"POST", "/api/v3/custodians/me/clients/stray/sessions"},
		{"POST", "/api/v1/custodians/clients", "{}"}, {"POST", "/api/v3/custodians/me/clients", "{}"},
		{"GET", "/v2/" + strconv.Itoa(i)}, {"PUT", client}, {"BREW" + strconv.Itoa(i), client}, {"OPTIONS", client}, {"HEAD", "/v1/clients"},
	} {
		w.ask(r[0], r[1], r[2])
	}
}

// suffer has everything go wrong at Portal, one after the other, and files and tokens change meanwhile.
func (w *wired) suffer(prefix string) {
	for i, trouble := range troubles {
		trouble.Times = 2
		w.portal.Inject(portaltest.All, trouble)
		w.ask(http.MethodGet, fmt.Sprintf("/v1/clients/%s-%d/token", prefix, i), "")
		w.ask(http.MethodPost, "/v1/clients", "")
		w.stray(i)
		w.portal.ClearFaults()
		_ = os.WriteFile(w.keyFile, []byte(strings.Repeat(" ", i%2)+portaltest.DefaultKey), 0o600)
		w.files.look()
	}
}

// TestSeriesOfAReplicaNeverGrowInNumber serves many clients, most from the store and the others with Portal's help, while
// everything goes wrong that can. Not parallel: it takes all that the machine has.
func TestSeriesOfAReplicaNeverGrowInNumber(t *testing.T) {
	for name, c := range map[string]struct {
		redis           bool
		clients, minted int
	}{
		"in memory": {clients: 100_000, minted: 1_000},
		"on Redis":  {redis: true, clients: 300, minted: 300},
	} {
		t.Run(name, func(t *testing.T) {
			if raceDetector && c.clients > 10_000 {
				t.Skipf("%d clients take half a minute with the race detector: make series", c.clients)
			}
			var redis *redistest.Server
			var environ []string
			if c.redis {
				redis = redistest.Start(t)
				environ = append(environ, "REDIS_URL="+redis.URL())
			}
			w := wireUp(t, environ...)
			_, before := w.scrape()
			w.store.look(t.Context())

			var unserved sync.Map
			w.each(c.clients, func(fetch *fetch, i int) {
				client := fmt.Sprintf("client-%06d", i)
				if i >= c.minted {
					w.keep(session.ClientID(client))
				}
				if status := fetch.of(client); status != http.StatusOK {
					unserved.Store(client, status)
				}
			})
			unserved.Range(func(client, status any) bool { t.Errorf("%s: %d", client, status); return false })
			w.suffer("well")
			if c.redis {
				redis.Kill()
				w.store.look(t.Context())
				w.suffer("alone")
			}

			page, after := w.scrape()
			if after != before || after >= mostSeries {
				t.Errorf("%d series at the start, %d at the end; want the same, below %d", before, after, mostSeries)
			}
			t.Logf("%d series", after)
			if got := value(t, page, `cstproxy_http_request_duration_seconds_count{code="other",method="other",route="other"}`); got != 0 {
				t.Errorf("%g answers that nobody foresaw", got)
			}
			for _, kind := range []session.PortalFailure{
				"broken", "timeout", "server_error", "rate_limited", "not_found", "unexpected_status", "not_json", "too_large", "no_token", "wrong_client",
			} {
				if value(t, page, `cstproxy_portal_failures_total{kind="`+string(kind)+`"}`) == 0 {
					t.Errorf("nothing went wrong in the way of %s", kind)
				}
			}
			if got := value(t, page, `cstproxy_tokens_served_total{source="cache"}`); got < float64(c.clients-c.minted) {
				t.Errorf("%g tokens from the cache, want %d or more", got, c.clients-c.minted)
			}
			problems, err := promlint.New(strings.NewReader(page)).Lint()
			if err != nil || len(problems) > 0 {
				t.Errorf("promlint: %v, error %v", problems, err)
			}
		})
	}
}

package proxy_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// lifeline is the document about the life of a token.
type lifeline struct {
	State            string
	MintedAt         time.Time
	ActiveAt         time.Time
	IdleDeadline     time.Time
	RefreshableUntil time.Time
	ExpiresAt        time.Time
	SafetyMargin     float64
	Now              time.Time
	Next             struct{ Action, Reason string }
}

// page asks for life-lines in a world, as the status page does.
type page struct {
	w      *world
	audit  *audit
	server *httptest.Server
}

func newPage(w *world) *page {
	p := &page{w: w, audit: &audit{}}
	p.server = httptest.NewServer(proxy.NewAdmin(proxy.AdminParts{
		Health: &proxy.Health{}, Metrics: http.NotFoundHandler(),
		Lifeline: proxy.NewLifeline(proxy.Parts{
			Callers: caller.NewPage(), Broker: w.broker, Lifetime: lifetime(), Now: w.clock.now, Audit: p.audit,
			Log: slog.New(slog.DiscardHandler),
		}),
	}))
	w.t.Cleanup(p.server.Close)
	return p
}

// ask posts a body; header lines are written "Name: value", and come after those of the page.
func (p *page) ask(body string, header ...string) answer {
	p.w.t.Helper()
	request, err := http.NewRequestWithContext(p.w.t.Context(), http.MethodPost, p.server.URL+"/lifeline", strings.NewReader(body))
	if err != nil {
		p.w.t.Fatal(err)
	}
	lines := append([]string{"Content-Type: application/json", "Origin: " + p.server.URL, "Sec-Fetch-Site: same-origin"}, header...)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
		if name == "Host" {
			request.Host = value
		}
	}
	response, err := p.server.Client().Do(request)
	if err != nil {
		p.w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}
}

const askAlice = `{"clientId":"` + alice + `"}`

func (p *page) life() lifeline {
	p.w.t.Helper()
	a := p.ask(askAlice)
	a.want(p.w.t, http.StatusOK)
	var got lifeline
	a.decode(p.w.t, &got)
	return got
}

func TestLifelineIsOfTheTokenThatIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPage(w)
	absent := lifeline{State: "absent", SafetyMargin: 60, Now: epoch(), Next: struct{ Action, Reason string }{"mint", "absent"}}
	if diff := cmp.Diff(absent, p.life()); diff != "" {
		t.Errorf("before the mint (-want +got):\n%s", diff)
	}
	d := w.fetch()
	w.clock.advance(13 * hour)
	live := lifeline{
		State: "live", MintedAt: d.MintedAt, ActiveAt: d.ActiveAt, IdleDeadline: d.ActiveAt.Add(day), ExpiresAt: d.ExpiresAt,
		RefreshableUntil: d.RefreshableUntil, SafetyMargin: 60, Now: epoch().Add(13 * hour),
		Next: struct{ Action, Reason string }{"serve", "due"},
	}
	if diff := cmp.Diff(live, p.life()); diff != "" {
		t.Errorf("after 13 hours (-want +got):\n%s", diff)
	}
	w.clock.advance(11*hour - time.Minute)
	if got := p.life(); got.State != "ended" || got.Next.Reason != "idle_expired" || !got.MintedAt.Equal(d.MintedAt) {
		t.Errorf("within the safety margin: %+v", got)
	}
	w.clock.advance(time.Minute)
	if got := p.life(); got.State != "ended" || got.Next.Reason != "idle_expired" {
		t.Errorf("after the end: %+v", got)
	}
	w.clock.advance(day)
	if got := p.life(); got.State != "absent" || !got.MintedAt.IsZero() {
		t.Errorf("a day later: %+v", got)
	}
}

func TestLookingAtALifelineChangesNothingAndTellsNoNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPage(w)
	d := w.fetch()
	w.clock.advance(23 * hour) // a fetch would refresh it
	before, expires := w.sim.Stats(), w.expiry(d)
	first := p.ask(askAlice)
	if again := p.ask(askAlice); again.body != first.body || !w.expiry(d).Equal(expires) {
		t.Errorf("looking changed it: %s, then %s", first.body, again.body)
	}
	if diff := cmp.Diff(before, w.sim.Stats()); diff != "" {
		t.Errorf("Portal was asked (-before +after):\n%s", diff)
	}
	if text := holds(first.dump(), alice, d.ClientSessionToken, d.TokenID, "clientApiKey"); text != "" {
		t.Errorf("it tells %q: %s", text, first.dump())
	}
	if got := first.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
}

func TestLifelinesAreForThePageOnThisMachine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body   string
		header []string
		status int
		code   string
	}{
		"an id that is none":        {`{"clientId":"../metrics"}`, nil, 400, "invalid_client_id"},
		"no id":                     {`{}`, nil, 400, "invalid_client_id"},
		"no body":                   {"", nil, 400, "invalid_client_id"},
		"another field":             {`{"clientId":"` + alice + `","token":"x"}`, nil, 400, "invalid_request"},
		"what is no JSON":           {`clientId=` + alice, nil, 400, "invalid_request"},
		"two documents":             {askAlice + askAlice, nil, 400, "invalid_request"},
		"a form, as any page sends": {askAlice, []string{"Content-Type: text/plain"}, 400, "invalid_request"},
		"a body too large":          {`{"clientId":"` + strings.Repeat("a", 2000) + `"}`, nil, 413, "body_too_large"},
		"another page":              {askAlice, []string{"Sec-Fetch-Site: cross-site", "Origin: https://attacker.example"}, 403, "caller_forbidden"},
		"a page on another port":    {askAlice, []string{"Sec-Fetch-Site: same-site"}, 403, "caller_forbidden"},
		"a name that points here":   {askAlice, []string{"Host: attacker.example"}, 403, "caller_forbidden"},
		"a proxy on this machine":   {askAlice, []string{"X-Forwarded-For: 192.0.2.7"}, 403, "caller_forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := newPage(w)
			a := p.ask(c.body, c.header...)
			a.want(t, c.status)
			if got := a.problem(t); got.Code != c.code {
				t.Errorf("code %s, want %s: %s", got.Code, c.code, a.body)
			}
			w.wantUntouched()
			if strings.Contains(a.body, alice) {
				t.Errorf("it repeats the id: %s", a.body)
			}
			if lines := p.audit.take(); len(lines) != 1 || lines[0].Event != proxy.EventRefused || lines[0].Decision != c.code {
				t.Errorf("the audit has %+v", lines)
			}
		})
	}
}

func TestLifelinesAreAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPage(w)
	d := w.fetch()
	id, err := session.ParseTokenID(d.TokenID)
	if err != nil {
		t.Fatal(err)
	}
	p.ask(askAlice, testID).want(t, http.StatusOK)
	want := []proxy.Entry{{
		Event: proxy.EventInspected, Caller: "status page", Client: alice, TokenID: id, Method: http.MethodPost, Route: "/lifeline",
		Status: http.StatusOK, RequestID: "test-1",
	}}
	if diff := cmp.Diff(want, p.audit.take()); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
	p.audit.fail(errors.New("disk full"))
	if got := p.ask(askAlice).wantProblem(t, "audit_unavailable"); got.Status != http.StatusServiceUnavailable {
		t.Errorf("without a line: %+v", got)
	}
}

func TestLifelinesAreNotCountedAsTheDataAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPage(w)
	p.ask(askAlice).want(t, http.StatusOK)
	p.ask(`{}`).want(t, http.StatusBadRequest)
	if n := len(w.meter.ended); n != 0 {
		t.Errorf("%d requests were counted", n)
	}
}

func TestWhoAsksForTooManyLifelinesWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPage(w)
	for range 500 {
		a := p.ask(askAlice)
		if a.status == http.StatusOK {
			continue
		}
		a.want(t, http.StatusTooManyRequests)
		if a.header.Get("Retry-After") == "" {
			t.Error("it does not say for how long")
		}
		return
	}
	t.Error("500 were answered one after another")
}

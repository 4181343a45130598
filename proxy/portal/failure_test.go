package portal_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestStatusAloneSaysWhatFailed(t *testing.T) {
	t.Parallel()
	const (
		mint     = portaltest.Mint
		register = portaltest.Register
		probe    = portaltest.Probe
	)
	var (
		bad         = session.ErrPortalBadResponse
		key         = session.ErrPortalUnauthorized
		unknown     = session.ErrClientNotFound
		token       = session.ErrTokenRejected
		unavailable = session.ErrPortalUnavailable
		limited     = session.ErrPortalRateLimited
	)
	type meaning map[portaltest.Operation]error
	all := func(err error) meaning { return meaning{mint: err, register: err, probe: err} }
	bodies := []string{
		"", "{}", `{"error":"Unauthorized"}`, `"Unauthorized"`, `{"error":{"code":"INVALID_API_KEY","nested":[{}]}}`,
		"<html>Unauthorized</html>", document(alice, "some-token"),
	}
	for status, means := range map[int]meaning{
		300: all(bad), 301: all(bad), 302: all(bad), 303: all(bad), 304: all(bad), 307: all(bad), 308: all(bad),
		400: {mint: unknown, register: bad, probe: bad},
		401: {mint: key, register: key, probe: token},
		403: {mint: key, register: key, probe: bad},
		404: {mint: unknown, register: bad, probe: bad},
		405: all(bad),
		408: all(unavailable),
		409: all(bad),
		410: {mint: unknown, register: bad, probe: bad},
		418: all(bad),
		422: all(bad),
		425: all(unavailable),
		429: all(limited),
		500: all(unavailable), 501: all(unavailable), 502: all(unavailable), 503: all(unavailable), 504: all(unavailable),
		599: all(unavailable), 600: all(unavailable),
	} {
		for operation, ask := range operations {
			t.Run(fmt.Sprintf("%d to %s", status, operation), func(t *testing.T) {
				t.Parallel()
				for _, body := range bodies {
					if status == http.StatusNotModified {
						body = ""
					}
					token, err := ask(t.Context(), newClient(t, serve(t, answer{status: status, body: body}).URL), held)
					wantError(t, err, means[operation])
					if wait := session.RetryAfter(err); wait != 0 {
						t.Errorf("to come back in %s, which nobody said", wait)
					}
					if operation != probe {
						wantNothing(t, token)
					}
				}
			})
		}
	}
}

func TestUnknownClientIsFoundOutUnderEveryReading(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		400: session.ErrClientNotFound, 404: session.ErrClientNotFound,
		// As far as anyone can tell, these are about the key.
		401: session.ErrPortalUnauthorized, 403: session.ErrPortalUnauthorized,
	} {
		for version, paths := range versions {
			t.Run(fmt.Sprintf("%d from %s", status, version), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, speaking(paths))
				w.sim.Set(func(b *portaltest.Behavior) { b.UnknownClientStatus = status })
				_, err := w.Mint(t.Context(), alice, session.Absent)
				wantError(t, err, want)
			})
		}
	}
}

func TestDeadTokenIsRejectedWhateverTheBodySays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Kill(w.token.Secret.Reveal())
	for range 3 { // forms of the body, which the simulated Portal takes by turns
		wantError(t, w.Probe(t.Context(), w.token), session.ErrTokenRejected)
	}
}

func TestRetryAfterIsHeardInBothForms(t *testing.T) {
	t.Parallel()
	date := func(in time.Duration) func() string {
		return func() string { return time.Now().Add(in).UTC().Format(http.TimeFormat) }
	}
	text := func(header string) func() string { return func() string { return header } }
	for name, tc := range map[string]struct {
		header   func() string
		min, max time.Duration
	}{
		"seconds":                 {text("7"), 7 * time.Second, 7 * time.Second},
		"no seconds at all":       {text("0"), time.Second, time.Second},
		"more than ten minutes":   {text("601"), 10 * time.Minute, 10 * time.Minute},
		"more than a number is":   {text(strings.Repeat("9", 40)), 10 * time.Minute, 10 * time.Minute},
		"a date in 90 s":          {date(90 * time.Second), 60 * time.Second, 90 * time.Second},
		"a date gone by":          {date(-time.Hour), time.Second, time.Second},
		"a date in an hour":       {date(time.Hour), 10 * time.Minute, 10 * time.Minute},
		"a word":                  {text("soon"), 0, 0},
		"a negative number":       {text("-5"), 0, 0},
		"a date of no known form": {text("2026-11-22T05:19:55Z"), 0, 0},
	} {
		for _, status := range []int{429, 503, 401} {
			t.Run(fmt.Sprintf("%s with a %d", name, status), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.sim.Inject(portaltest.All, portaltest.Fault{Kind: portaltest.Status, Status: status, RetryAfter: tc.header()})
				for operation, ask := range operations {
					_, err := ask(t.Context(), w, w.token)
					if wait := session.RetryAfter(err); wait < tc.min || wait > tc.max {
						t.Errorf("%s: to come back in %s, want %s to %s", operation, wait, tc.min, tc.max)
					}
				}
			})
		}
	}
}

func TestRateLimitOfPortalTellsItsWait(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]portaltest.RetryAfter{
		"in seconds": portaltest.RetryAfterSeconds, "as a date": portaltest.RetryAfterDate,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sim.Set(func(b *portaltest.Behavior) { b.RateLimit, b.RetryAfter = 1, form })
			if _, err := w.Mint(t.Context(), w.token.Client, session.Absent); err != nil {
				t.Fatal(err)
			}
			_, err := w.Mint(t.Context(), w.token.Client, session.Absent)
			wantError(t, err, session.ErrPortalRateLimited)
			if wait := session.RetryAfter(err); wait < 50*time.Second || wait > 61*time.Second {
				t.Errorf("to come back in %s, want about a minute", wait)
			}
		})
	}
}

func TestFaultsOfPortalAreToldApart(t *testing.T) {
	t.Parallel()
	const patience = 300 * time.Millisecond
	type meaning map[portaltest.Operation]error
	all := func(err error) meaning {
		return meaning{portaltest.Mint: err, portaltest.Register: err, portaltest.Probe: err}
	}
	for name, tc := range map[string]struct {
		fault portaltest.Fault
		want  meaning
	}{
		"a status":            {portaltest.Fault{Kind: portaltest.Status, Status: 503}, all(session.ErrPortalUnavailable)},
		"a reset":             {portaltest.Fault{Kind: portaltest.Reset}, all(session.ErrPortalUnavailable)},
		"a lost answer":       {portaltest.Fault{Kind: portaltest.Lost}, all(session.ErrPortalUnavailable)},
		"no answer":           {portaltest.Fault{Kind: portaltest.Hang}, all(session.ErrPortalTimeout)},
		"too late an answer":  {portaltest.Fault{Latency: time.Hour}, all(session.ErrPortalTimeout)},
		"a redirect":          {portaltest.Fault{Kind: portaltest.Redirect}, all(session.ErrPortalBadResponse)},
		"a redirect to chaos": {portaltest.Fault{Kind: portaltest.Redirect, Location: "http://[::1"}, all(session.ErrPortalBadResponse)},
		"garbage":             {portaltest.Fault{Kind: portaltest.Garbage}, all(session.ErrPortalBadResponse)},
		"64 MiB":              {portaltest.Fault{Kind: portaltest.Huge}, all(session.ErrPortalBadResponse)},
		"no token": {portaltest.Fault{Kind: portaltest.NoToken}, meaning{
			portaltest.Mint: session.ErrPortalBadResponse, portaltest.Register: session.ErrPortalBadResponse,
			portaltest.Probe: nil, // its answer has none
		}},
		"another client's id": {portaltest.Fault{Kind: portaltest.WrongID}, meaning{
			portaltest.Mint: session.ErrPortalBadResponse, portaltest.Register: nil, // whose it is, only Portal knows
			portaltest.Probe: session.ErrTokenRejected,
		}},
	} {
		for version, paths := range versions {
			for operation, ask := range operations {
				t.Run(fmt.Sprintf("%s to %s of %s", name, operation, version), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, speaking(paths))
					c := w.Client
					if tc.want[operation] == session.ErrPortalTimeout { //nolint:errorlint // the table's own
						c = newClient(t, w.url, speaking(paths), within(patience))
					}
					w.sim.Inject(operation, tc.fault)
					token, err := ask(t.Context(), c, w.token)
					wantError(t, err, tc.want[operation])
					w.wantArrivals(t, operation, 1)
					if err != nil && operation != portaltest.Probe {
						wantNothing(t, token)
					}
				})
			}
		}
	}
}

func TestNobodyFollowsARedirect(t *testing.T) {
	t.Parallel()
	for _, status := range []int{300, 301, 302, 303, 304, 305, 306, 307, 308} {
		for operation, ask := range operations {
			t.Run(fmt.Sprintf("%d to %s", status, operation), func(t *testing.T) {
				t.Parallel()
				target := &observed{next: answer{status: 200, body: document(alice, "some-token")}}
				elsewhere := serve(t, target).URL
				here := &observed{next: answer{status: status, header: http.Header{"Location": {elsewhere + "/"}}}}
				_, err := ask(t.Context(), newClient(t, serve(t, here).URL), held)
				wantError(t, err, session.ErrPortalBadResponse)
				if got := target.arrivals(); len(got) != 0 {
					t.Errorf("the target got %d requests, the first with %q", len(got), got[0].Header["Authorization"])
				}
				if got := here.arrivals(); len(got) != 1 {
					t.Errorf("Portal got %d requests", len(got))
				}
			})
		}
	}
}

func TestBrokenAnswerIsPortalsTrouble(t *testing.T) {
	t.Parallel()
	const length = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
	for name, raw := range map[string]string{
		"an end before the answer":     "",
		"an end within the status":     "HTTP/1.1 20",
		"an end within the header":     "HTTP/1.1 200 OK\r\nContent-Le",
		"an end within the body":       length + `{"id":`,
		"an end before the last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
		"another protocol":             "SSH-2.0-OpenSSH_9.2p1\r\n",
		"an endless header":            "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 128<<10),
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				_, err := ask(t.Context(), newClient(t, serve(t, hangUp(raw)).URL), held)
				wantError(t, err, session.ErrPortalUnavailable)
			})
		}
	}
}

// hangUp answers with these bytes and hangs up.
type hangUp string

func (text hangUp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, string(text))
	_ = conn.Close()
}

func TestUnreachablePortalIsUnavailable(t *testing.T) {
	t.Parallel()
	for name, base := range map[string]string{
		"nobody listens": "http://127.0.0.1:1", "no such scheme": "gopher://127.0.0.1", "no host": "http://", "no URL": "http://[::1",
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				_, err := ask(t.Context(), newClient(t, base), held)
				wantError(t, err, session.ErrPortalUnavailable)
			})
		}
	}
}

func TestKeyThatFitsNoHeaderIsNotSent(t *testing.T) {
	t.Parallel()
	o := &observed{next: answer{status: 200}}
	token := session.Token{Client: alice, Secret: session.NewSecret("two\r\nlines")}
	err := newClient(t, serve(t, o).URL).Probe(t.Context(), token)
	wantError(t, err, session.ErrPortalUnavailable)
	if n := len(o.arrivals()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

// stalled answers so much, and then nothing until the caller leaves.
type stalled struct {
	answer
	came chan struct{}
}

func (s stalled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if s.status != 0 {
		w.WriteHeader(s.status)
		_, _ = io.WriteString(w, s.body)
		_ = http.NewResponseController(w).Flush()
	}
	s.came <- struct{}{}
	<-r.Context().Done()
}

// stalls are the places where an answer may stop.
var stalls = map[string]answer{
	"before the answer": {}, "before its body": {status: 200}, "within its body": {status: 200, body: `{"id":`},
}

func TestTimeoutCoversTheWholeAnswer(t *testing.T) {
	t.Parallel()
	for name, a := range stalls {
		for operation, ask := range operations {
			t.Run(fmt.Sprintf("%s to %s", name, operation), func(t *testing.T) {
				t.Parallel()
				url := serve(t, stalled{a, make(chan struct{}, 2)}).URL
				_, err := ask(t.Context(), newClient(t, url, within(100*time.Millisecond)), held)
				wantError(t, err, session.ErrPortalTimeout)
			})
		}
	}
}

func TestDeadlineOfTheCallerIsATimeout(t *testing.T) {
	t.Parallel()
	for name, a := range stalls {
		for operation, ask := range operations {
			t.Run(fmt.Sprintf("%s to %s", name, operation), func(t *testing.T) {
				t.Parallel()
				url := serve(t, stalled{a, make(chan struct{}, 2)}).URL
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err := ask(ctx, newClient(t, url), held)
				wantError(t, err, session.ErrPortalTimeout)
			})
		}
	}
}

func TestCallerWhoLeavesGetsTheirOwnError(t *testing.T) {
	t.Parallel()
	for name, a := range stalls {
		for operation, ask := range operations {
			t.Run(fmt.Sprintf("%s to %s", name, operation), func(t *testing.T) {
				t.Parallel()
				s := stalled{a, make(chan struct{}, 2)}
				c := newClient(t, serve(t, s).URL)
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					<-s.came
					cancel()
				}()
				_, err := ask(ctx, c, held)
				wantError(t, err, context.Canceled)
			})
		}
	}
}

func TestCallerWhoIsGoneAsksNothing(t *testing.T) {
	t.Parallel()
	left, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	t.Cleanup(cancel)
	for name, tc := range map[string]struct {
		ctx  context.Context
		want error
	}{
		"left before": {left, context.Canceled}, "late before": {late, session.ErrPortalTimeout},
	} {
		for operation, ask := range operations {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				_, err := ask(tc.ctx, w, w.token)
				wantError(t, err, tc.want)
				w.wantArrivals(t, portaltest.All, 0)
			})
		}
	}
}

// The verdict is in the status: a body that never ends may not take it away.
func TestRefusalStandsThoughItsBodyNeverEnds(t *testing.T) {
	t.Parallel()
	url := serve(t, stalled{answer{status: 401, body: `{"error":`}, make(chan struct{}, 2)}).URL
	c := newClient(t, url, within(time.Second))
	wantError(t, c.Probe(t.Context(), held), session.ErrTokenRejected)
	_, err := c.Mint(t.Context(), alice, session.Absent)
	wantError(t, err, session.ErrPortalUnauthorized)
}

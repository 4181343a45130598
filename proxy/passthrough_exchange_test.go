package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// send sends a request as it is, and neither follows nor unpacks what comes.
func (w *world) send(request *http.Request) *http.Response {
	w.t.Helper()
	transport := &http.Transport{DisableCompression: true}
	w.t.Cleanup(transport.CloseIdleConnections)
	response, err := transport.RoundTrip(request)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// injected returns a request for alice.
func (w *world) injected(ctx context.Context, method, path string, body io.Reader) *http.Request {
	w.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, w.server.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("X-Portal-Client-Id", alice)
	return request
}

func TestEveryStatusComesWithItsHeadersAndItsBytes(t *testing.T) {
	t.Parallel()
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	all = bytes.Repeat(all, 300) // more than one buffer
	for _, status := range []int{200, 201, 202, 203, 204, 205, 206, 226, 299, 300, 301, 304, 307, 400, 402, 403, 404, 409, 413, 418, 422, 429, 451, 499, 500, 501, 502, 503, 504, 511, 599, 999} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			bare := status == http.StatusNoContent || status == http.StatusNotModified
			w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
				header := w.Header()
				header["Date"] = nil
				header.Set("Location", "https://elsewhere.example/x?y=%2F")
				header.Set("Etag", `W/"1"`)
				header.Set("Content-Type", "application/octet-stream")
				header["X-Twice"] = []string{"a", "b, c"}
				w.WriteHeader(status)
				if !bare {
					_, _ = w.Write(all)
				}
			}))
			answer := w.send(w.injected(t.Context(), http.MethodGet, whoAmI, http.NoBody))
			body, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != status || !bare && !bytes.Equal(body, all) || bare && len(body) > 0 {
				t.Errorf("%d with %d bytes, %v", answer.StatusCode, len(body), err)
			}
			answer.Header.Del("Date")
			answer.Header.Del("X-Request-Id")
			answer.Header.Del("Content-Length")
			want := http.Header{
				"Location": {"https://elsewhere.example/x?y=%2F"}, "Etag": {`W/"1"`}, "Content-Type": {"application/octet-stream"}, "X-Twice": {"a", "b, c"},
			}
			if status == http.StatusNotModified {
				want.Del("Content-Type") // which net/http leaves out on both ways
			}
			if diff := cmp.Diff(want, answer.Header); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeadTellsTheLengthAndBringsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1234")
		w.Header().Set("X-Method", r.Method)
	}))
	answer := w.send(w.injected(t.Context(), http.MethodHead, whoAmI, http.NoBody))
	if answer.StatusCode != http.StatusOK || answer.ContentLength != 1234 || answer.Header.Get("X-Method") != http.MethodHead {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
}

func TestHintsArriveBeforeTheAnswerIsMade(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</early>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		<-goOn
		_, _ = io.WriteString(w, "late")
	}))
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, header["Link"]))
		release()
		return nil
	}})
	answer := w.send(w.injected(ctx, http.MethodGet, whoAmI, http.NoBody))
	if body, err := io.ReadAll(answer.Body); string(body) != "late" || err != nil || answer.StatusCode != http.StatusOK || answer.Header["Link"] != nil {
		t.Errorf("%d %v %q, %v", answer.StatusCode, answer.Header, body, err)
	}
	if diff := cmp.Diff([]string{"103 [</early>]"}, hints); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]proxy.Pass{{Family: session.RouteClient, Mode: proxy.ModeInject, Outcome: proxy.OutcomeOK}}, w.outcomes(1)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestAnAnswerWhoseLengthIsKnownComesAsItIsMade(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-goOn
		_, _ = io.WriteString(w, "last")
	}))
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	answer := w.send(w.injected(ctx, http.MethodGet, whoAmI, http.NoBody))
	if _, err := io.ReadFull(answer.Body, make([]byte, 5)); err != nil || answer.ContentLength != 9 {
		t.Fatalf("of %d bytes the first did not come before the last was made: %v", answer.ContentLength, err)
	}
	release()
	if rest, err := io.ReadAll(answer.Body); string(rest) != "last" || err != nil {
		t.Errorf("then came %q, %v", rest, err)
	}
}

// TestAnotherProtocolIsNoAnswer has Portal switch to one that nobody asked for.
func TestAnotherProtocolIsNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = conn.Close()
	}))
	w.fetch()
	w.clock.advance(recently)
	w.get(whoAmI, named).wantProblem(t, "portal_bad_response")
	w.get(whoAmI, "Authorization: Bearer "+w.tokenOf(alice)).wantProblem(t, "portal_bad_response")
	w.get("/api/v3/custodians/me/clients").wantProblem(t, "portal_bad_response")
	w.broker.Close(t.Context())
	if token, err := w.store.Load(t.Context(), alice); err != nil || !token.ActiveAt.Equal(epoch()) {
		t.Errorf("it is taken for a sign of life: active at %s, %v", token.ActiveAt, err)
	}
}

func TestALongBodyGoesOnAsItComes(t *testing.T) {
	t.Parallel()
	const first = 100 << 10 // more than is kept
	came, all := make(chan struct{}), atomic.Int64{}
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.CopyN(io.Discard, r.Body, first)
		close(came)
		rest, _ := io.Copy(io.Discard, r.Body)
		all.Store(n + rest)
		if r.Trailer != nil {
			t.Errorf("Portal got trailers: %v", r.Trailer)
		}
	}))
	reader, writer := io.Pipe()
	go func() {
		_, _ = writer.Write(make([]byte, first))
		<-came
		_, _ = writer.Write([]byte("last"))
		_ = writer.Close()
	}()
	request := w.injected(t.Context(), http.MethodPost, "/api/v1/swaps/quote", reader)
	request.Trailer = http.Header{"X-Late": {"1"}}
	if answer := w.send(request); answer.StatusCode != http.StatusOK || all.Load() != first+4 {
		t.Errorf("%d, and Portal got %d bytes", answer.StatusCode, all.Load())
	}
}

func TestABodyIsOf16MebibytesAtMost(t *testing.T) {
	t.Parallel()
	const most = 16 << 20
	var whole atomic.Int64
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil {
			whole.Store(n)
		}
	}))
	for name, c := range map[string]struct {
		body io.Reader
		want int
	}{
		"as long as it may be":               {bytes.NewReader(make([]byte, most)), http.StatusOK},
		"as long, in chunks":                 {io.MultiReader(bytes.NewReader(make([]byte, most))), http.StatusOK},
		"a byte more, in chunks":             {io.MultiReader(bytes.NewReader(make([]byte, most+1))), http.StatusRequestEntityTooLarge},
		"a byte more, which its length says": {bytes.NewReader(make([]byte, most+1)), http.StatusRequestEntityTooLarge},
	} {
		whole.Store(0)
		answer := w.send(w.injected(t.Context(), http.MethodPost, "/api/v1/swaps/quote", c.body))
		if answer.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", name, answer.StatusCode, c.want)
		}
		if got := whole.Load() == most; got != (c.want == http.StatusOK) {
			t.Errorf("%s: Portal got the whole of it: %t", name, got)
		}
		if c.want != http.StatusOK {
			w.read(answer).wantProblem(t, "body_too_large")
		}
	}
}

func TestAnAnswerThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "the first half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	answer := w.send(w.injected(t.Context(), http.MethodGet, whoAmI, http.NoBody))
	if body, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("%q is taken for the whole", body)
	}
	if diff := cmp.Diff([]proxy.Pass{{Family: session.RouteClient, Mode: proxy.ModeInject, Outcome: proxy.OutcomeUnavailable}}, w.outcomes(1)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if log := w.log.String(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("logged as an error:\n%s", log)
	}
}

func TestACallerWhoLeavesHalfwayIsGone(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(left)
	}))
	w.fetch()
	ctx, leave := context.WithCancel(t.Context())
	answer := w.send(w.injected(ctx, http.MethodGet, whoAmI, http.NoBody))
	if _, err := io.ReadFull(answer.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	leave()
	<-left
	if diff := cmp.Diff([]proxy.Pass{{Family: session.RouteClient, Mode: proxy.ModeInject, Outcome: proxy.OutcomeGone}}, w.outcomes(1)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if log := w.log.String(); strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, `"level":"WARN"`) {
		t.Errorf("somebody is told of it:\n%s", log)
	}
}

// TestNothingOfAnExchangeIsLogged has what a request and its answer hold in every place, and answers that go wrong.
func TestNothingOfAnExchangeIsLogged(t *testing.T) {
	t.Parallel()
	const private = "private-matter"
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("how") != "garbage" {
			w.Header().Set("X-Private", private)
			_, _ = io.WriteString(w, private)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, private+" is no HTTP\r\n\r\n")
		_ = conn.Close()
	}))
	for _, path := range []string{whoAmI + "/" + private, "/enclave/v1/" + private, "/api/v3/custodians/me/clients/" + alice, "/api/v3/custodians/me/clients/" + private, "/api/v3/custodians/me/" + private, "/api/v3/clients/me//" + private} {
		for _, how := range []string{"well", "garbage"} {
			w.do(http.MethodPost, path+"?how="+how+"&x="+private, private, named, "X-Private: "+private)
			w.get(path+"?how="+how+"&x="+private, named, "Cookie: "+private, "Authorization: Bearer "+private, "Traceparent: "+private)
		}
	}
	w.get(whoAmI+"?x="+private, "Authorization: Bearer "+private).wantProblem(t, "token_unknown")
	w.close()
	if log := w.log.String(); strings.Contains(log, private) {
		t.Errorf("the log has it:\n%s", log)
	}
	if text := fmt.Sprintf("%+v", w.audit.take()); strings.Contains(strings.ReplaceAll(text, "Client:"+private, ""), private) {
		t.Errorf("the audit has it: %s", text)
	}
}

func TestRequestsThatArePassedOnHaveALine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passing)
	w.get(whoAmI+"/x?y", named, testID).want(t, http.StatusOK)
	w.get("/api/v3/clients/me?x", testID).want(t, http.StatusForbidden)
	want := []map[string]any{
		{"msg": "answered", "level": "INFO", "method": "GET", "route": "passthrough client", "code": 200., "request_id": "test-1"},
		{"msg": "answered", "level": "INFO", "method": "GET", "route": "passthrough client", "code": 403., "problem": "token_unknown", "request_id": "test-1"},
	}
	if diff := cmp.Diff(want, w.answered()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestTheAuditHasItsLineBeforeTheCallerHasTheAnswer(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	w := newWorld(t, passingTo(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-goOn
	}))
	t.Cleanup(sync.OnceFunc(func() { close(goOn) }))
	w.fetch()
	w.audit.take()
	w.send(w.injected(t.Context(), http.MethodGet, whoAmI, http.NoBody)) // it is not over, but begun
	entries := w.audit.take()
	if len(entries) != 1 || entries[0].Event != proxy.EventPassed || entries[0].Decision != string(proxy.ModeInject) {
		t.Errorf("the lines are %+v", entries)
	}
}

func TestOwnRoutesComeBeforeWhatIsPassedOn(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	w := newWorld(t, passingTo(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	for _, path := range []string{v1Session, v3Session} {
		w.post(path, "").token(t, http.StatusOK)
	}
	w.post("/api/v1/custodians/clients", "{}").token(t, http.StatusCreated)
	w.post("/api/v3/custodians/me/clients", "{}").token(t, http.StatusOK)
	if n := asked.Load(); n != 0 {
		t.Errorf("%d of them were passed on", n)
	}
}

func TestAFamilyThatIsNotTurnedOnIsNotThere(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	w := newWorld(t, passingTo(func(http.ResponseWriter, *http.Request) { asked.Add(1) }), func(s *setup) { s.passes = []session.Route{session.RouteClient} })
	w.post("/enclave/v1/sign", "{}", named).wantProblem(t, "route_not_found")
	w.get("/api/v1/custodians/clients/x", named).wantProblem(t, "route_not_found")
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were passed on", n)
	}
	w.get(whoAmI, named).want(t, http.StatusOK)
}

func TestAnUpgradeIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passing)
	a := w.raw("GET " + whoAmI + " HTTP/1.1\r\nHost: localhost\r\n" + named + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	a.wantProblem(t, "upgrade_unsupported")
	w.wantUntouched()
}

// TestAnExpectationIsMetHereAndNotPassedOn sends its body when it is told to go on.
func TestAnExpectationIsMetHereAndNotPassedOn(t *testing.T) {
	t.Parallel()
	var got http.Header
	w := newWorld(t, passingTo(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	conn := w.dial()
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /api/v1/swaps/quote HTTP/1.1\r\nHost: localhost\r\n"+named+"\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	lines := bufio.NewReader(conn)
	if line, err := lines.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("told %q, %v", line, err)
	}
	_, _ = lines.ReadString('\n')
	_, _ = io.WriteString(conn, "{}")
	answer, err := http.ReadResponse(lines, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.read(answer).want(t, http.StatusOK)
	if got == nil || got["Expect"] != nil {
		t.Errorf("Portal got %v", got)
	}
}

func TestWithoutATurnNothingGoesWithThePortalAPIKey(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	w := newWorld(t, passingTo(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	w.turns.err = session.ErrPortalRateLimited
	w.get("/api/v3/custodians/me/clients").wantProblem(t, "portal_rate_limited")
	if n := asked.Load(); n != 0 {
		t.Errorf("Portal was asked %d times", n)
	}
	w.get(whoAmI, named).want(t, http.StatusOK) // which has a token of its own
}

func TestAnAnswerThatIsPackedIsNotLookedIntoAndNotPassedOn(t *testing.T) {
	t.Parallel()
	var accepts []string
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		accepts = append(accepts, r.Header.Values("Accept-Encoding")...)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "{}")
	}))
	for _, path := range []string{"/api/v3/custodians/me/clients", "/api/v1/clients/me"} {
		w.get(path, named, "Accept-Encoding: gzip").wantProblem(t, "portal_bad_response")
	}
	if accepts != nil {
		t.Errorf("Portal is told that %q is accepted", accepts)
	}
	w.audit.fail(errors.New("no space left on device"))
	w.get("/api/v3/custodians/me/clients").wantProblem(t, "portal_bad_response") // what went wrong first is told
}

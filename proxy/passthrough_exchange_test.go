package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

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

//go:build linux

package proxy_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// heldLines holds back the line of one request.
type heldLines struct {
	slog.Handler
	id      string
	release chan struct{}
	lines   chan map[string]slog.Value
}

func (h heldLines) Enabled(context.Context, slog.Level) bool { return true }

func (h heldLines) Handle(_ context.Context, record slog.Record) error {
	said := map[string]slog.Value{}
	record.Attrs(func(a slog.Attr) bool { said[a.Key] = a.Value; return true })
	if said["request_id"].String() != h.id {
		return nil
	}
	<-h.release
	h.lines <- said
	return nil
}

// Nobody waits for the log of what was answered on the connection.
func TestHitIsAnsweredBeforeItsLineIsSaid(t *testing.T) {
	t.Parallel()
	held := heldLines{slog.DiscardHandler, "mine-1", make(chan struct{}), make(chan map[string]slog.Value, 1)}
	h := serveHitsLogging(t, rememberedBroker(t), slog.New(held), nil)
	w := h.dial(t)
	h.rest(w)
	before := h.seen.Load()
	w.send(strings.Replace(plainFetch, "\r\n\r\n", "\r\nX-Request-Id: mine-1\r\n\r\n", 1))
	_ = w.SetReadDeadline(time.Now().Add(10 * time.Second))
	if response, _ := w.answer(); response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	if h.seen.Load() != before {
		t.Fatal("it was no hit")
	}
	close(held.release)
	said := <-held.lines
	for key, want := range map[string]string{"method": "GET", "route": "/v1/clients/:clientId/token", "code": "200", "token_source": "cache"} {
		if got := said[key].String(); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

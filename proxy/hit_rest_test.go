//go:build linux

package proxy_test

import (
	"testing"
	"time"
)

// A caller's next request may come before net/http has done with the one before, and then is net/http's. The one after that
// is a hit again, however often it happens.
func TestAConnectionComesToRestAgain(t *testing.T) {
	t.Parallel()
	const connections, others, most = 8, 20, 50
	h := serveHits(t, rememberedBroker(t), nil)
	for range connections {
		w := h.dial(t)
		for range others {
			w.send("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
			_, _ = w.answer()
		}
		hit := false
		for tries := 0; tries < most && !hit; tries++ {
			before := h.seen.Load()
			w.send(plainFetch)
			_, _ = w.answer()
			hit = h.seen.Load() == before
		}
		if !hit {
			t.Errorf("none of %d fetches was a hit after %d other requests", most, others)
		}
	}
}

// A connection on which there were hits is closed by a shutdown as soon as any other that waits for a request.
func TestHitsDoNotHoldUpAShutdown(t *testing.T) {
	t.Parallel()
	h := serveHits(t, rememberedBroker(t), nil)
	w := h.dial(t)
	h.rest(w)
	w.send(plainFetch)
	_, _ = w.answer()
	h.hits.Stop()
	began := time.Now()
	if err := h.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

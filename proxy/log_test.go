package proxy_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// answered returns the lines of requests in the log, without their times.
func (w *world) answered() []map[string]any {
	w.t.Helper()
	var lines []map[string]any
	for text := range strings.Lines(w.log.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			w.t.Fatal(err)
		}
		if line["msg"] != "answered" {
			continue
		}
		if latency, ok := line["latency"].(float64); !ok || latency <= 0 || latency > 60 {
			w.t.Errorf("latency is %v, want seconds: %s", line["latency"], text)
		}
		delete(line, "time")
		delete(line, "latency")
		lines = append(lines, line)
	}
	return lines
}

func TestEachRequestHasALine(t *testing.T) {
	t.Parallel()
	const route, id = "/v1/clients/:clientId/token", "test-1"
	for name, c := range map[string]struct {
		change []func(*setup)
		do     func(w *world)
		want   map[string]any
	}{
		"a token minted": {
			nil, func(w *world) { w.do(http.MethodGet, aliceToken, "", testID) },
			map[string]any{"method": "GET", "route": route, "code": 200., "token_source": "mint", "request_id": id},
		},
		"nothing to tell of a token": {
			nil, func(w *world) { w.do(http.MethodGet, aliceStatus, "", testID) },
			map[string]any{"method": "GET", "route": "/v1/clients/:clientId", "code": 200., "request_id": id},
		},
		"a mistake": {
			nil, func(w *world) { w.do(http.MethodGet, aliceToken+"?x", "", testID) },
			map[string]any{"method": "GET", "route": route, "code": 400., "problem": "invalid_request", "request_id": id},
		},
		"a failure": {
			[]func(*setup){portalSays(session.ErrPortalUnavailable)}, func(w *world) { w.do(http.MethodGet, aliceToken, "", testID) },
			map[string]any{"method": "GET", "route": route, "code": 503., "problem": "portal_unavailable", "request_id": id},
		},
		"a method and a path of the caller's own making": {
			nil, func(w *world) { w.do("BREW", "/coffee/for/"+alice, "", testID) },
			map[string]any{"method": "other", "route": "unmatched", "code": 404., "problem": "route_not_found", "request_id": id},
		},
		"part of a trace": {
			[]func(*setup){func(s *setup) { s.trace = func(context.Context) string { return "4bf92f3577b34da6a3ce929d0e0e4736" } }},
			func(w *world) { w.do(http.MethodGet, aliceToken, "", testID) },
			map[string]any{
				"method": "GET", "route": route, "code": 200., "token_source": "mint", "request_id": id,
				"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.change...)
			c.do(w)
			c.want["msg"], c.want["level"] = "answered", "INFO"
			if diff := cmp.Diff([]map[string]any{c.want}, w.answered()); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if trace, _ := c.want["trace_id"].(string); w.meter.traces[0] != trace {
				t.Errorf("counted as of the trace %q, want %q", w.meter.traces[0], trace)
			}
			w.wantHanded(c.want["token_source"], c.want["trace_id"])
		})
	}
}

// wantHanded fails the test unless the one request was timed as an answer with a token of that source, or as none if it is nil.
func (w *world) wantHanded(source, trace any) {
	w.t.Helper()
	if source == nil {
		if len(w.meter.handed) != 0 {
			w.t.Errorf("timed as answers with a token: %v, want none", w.meter.handed)
		}
		return
	}
	id, _ := trace.(string)
	if len(w.meter.handed) != 1 {
		w.t.Fatalf("timed as answers with a token: %v, want one", w.meter.handed)
	}
	got := w.meter.handed[0]
	if string(got.source) != source || got.trace != id || got.took <= 0 || got.took > time.Minute {
		w.t.Errorf("timed as %v, want a moment for %v of the trace %q", got, source, id)
	}
}

func TestLinesOfAFloodAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.get(aliceToken)
	const requests = 1000
	for range requests {
		w.get(aliceToken)
	}
	told := 0
	for _, line := range w.answered() {
		told++
		if skipped, ok := line["skipped"].(float64); ok {
			told += int(skipped)
		}
	}
	// What was left out since the last line is not told yet.
	if told > requests+1 || told <= requests+1-100 {
		t.Errorf("%d lines were left out, and the log tells of %d requests, of %d", w.meter.skipped, told, requests+1)
	}
	if lines := len(w.answered()); lines+w.meter.skipped != requests+1 {
		t.Errorf("%d lines are there and %d left out, of %d", lines, w.meter.skipped, requests+1)
	}
}

package metrics_test

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	trace       = "4bf92f3577b34da6a3ce929d0e0e4736"
	openMetrics = "application/openmetrics-text; version=1.0.0"
)

// traced returns a Metrics that counted a request, and a mint, of a trace.
func traced(t *testing.T, id string) *metrics.Metrics {
	t.Helper()
	p := parts()
	p.Trace = func(context.Context) string { return id }
	m := metrics.New(p)
	m.Began()("/v1/clients/:clientId/token", http.MethodGet, http.StatusOK, id)
	m.Handed(session.SourceMint, time.Second, id)
	if _, err := m.Mints(m.PortalAttempts(newPortal(0))).Mint(t.Context(), client, session.Absent); err != nil {
		t.Fatal(err)
	}
	return m
}

var exemplarPattern = regexp.MustCompile(`(?m)^(\w+)\{[^}]*\} 1(?:\.0)? # \{trace_id="` + trace + `"\} [0-9.e+-]+ [0-9.e+-]+$`)

func TestTraceIsAnExampleForWhoAsksForOpenMetrics(t *testing.T) {
	t.Parallel()
	var got []string
	for _, match := range exemplarPattern.FindAllStringSubmatch(string(get(t, traced(t, trace), openMetrics)), -1) {
		got = append(got, match[1])
	}
	slices.Sort(got)
	want := []string{
		"cstproxy_http_request_duration_seconds_bucket", "cstproxy_mints_total", "cstproxy_portal_request_duration_seconds_bucket",
		"cstproxy_token_duration_seconds_bucket",
	}
	if !slices.Equal(got, want) {
		t.Errorf("exemplars of %q, want %q", got, want)
	}
}

func TestTraceIsNowhereElse(t *testing.T) {
	t.Parallel()
	if page := get(t, traced(t, trace), "text/plain"); bytes.Contains(page, []byte(trace)) {
		t.Error("the trace is in the text format, which has no exemplars")
	}
	if page := string(get(t, traced(t, ""), openMetrics)); strings.Contains(page, "trace_id") {
		t.Error("there is an exemplar without a trace")
	}
}

func TestRequestWithoutATraceAllocatesNoMoreThanItsEnd(t *testing.T) {
	m := metrics.New(parts())
	got := testing.AllocsPerRun(100, func() { m.Began()("/v1/clients/:clientId/token", http.MethodGet, http.StatusOK, "") })
	if got > 1 {
		t.Errorf("a request allocates %g times, want once, for the function that ends it", got)
	}
}

package metrics_test

import (
	"bytes"
	"flag"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func parts() metrics.Parts {
	return metrics.Parts{
		Version: "v1.2.3", Revision: "0123456789ab",
		Codes: []string{
			"invalid_client_id", "invalid_request", "caller_unauthenticated", "caller_forbidden", "caller_rate_limited", "client_not_found",
			"token_mismatch", "body_too_large", "portal_rate_limited", "portal_unavailable", "portal_timeout",
			"portal_unauthorized", "portal_bad_response", "store_unavailable", "shutting_down", "internal",
		},
		Answers: []metrics.Answer{
			{"/v1/clients/:clientId/token", http.MethodGet, http.StatusOK}, {"/v1/clients/:clientId/token", http.MethodGet, http.StatusServiceUnavailable},
			{"/v1/clients/:clientId", http.MethodGet, http.StatusNotFound}, {"unmatched", "other", http.StatusNotFound},
		},
		Sheds: []string{"request", "refresh", "mint", "register"}, Ports: []string{"data", "admin"},
		SealOperations: []string{"seal", "open"}, Drops: []string{"queue_full", "not_sent"},
		Passes: []metrics.Pass{{"client", "inject", "ok"}, {"client", "observe", "refused"}, {"custodian", "key", "ok"}},
	}
}

// started returns a Metrics as it is when the proxy, with a Redis, has answered its first request: in no time at all,
// since the clock of a synctest bubble stands still.
func started() *metrics.Metrics {
	m := metrics.New(parts())
	m.Store(metrics.TierMemory, &sessiontest.Store{})
	m.Store(metrics.TierRedis, &sessiontest.Store{})
	m.RedisUp(sessiontest.ErrStoreDown)
	m.Skewed(0)
	m.Reloads("portal_api_key")
	m.Look(metrics.Looks{
		Budget: func(class session.Class) metrics.Standing {
			return metrics.Standing{Limit: 200, Left: 180, Paused: 1500 * time.Millisecond}
		},
		Key:      func() metrics.Key { return metrics.Key{Verdict: 1, Worked: time.Unix(1795324795, 5e8)} },
		Replicas: func() int { return 3 },
		Breaker:  func() string { return "half_open" },
	})
	m.Began()("/v1/clients/:clientId/token", http.MethodGet, http.StatusOK, "")
	return m
}

// get returns what /metrics answers to who prefers the format.
func get(t *testing.T, m *metrics.Metrics, format string) []byte {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	request.Header.Set("Accept", format)
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("/metrics answers %d, want 200: %s", answer.Code, answer.Body)
	}
	return answer.Body.Bytes()
}

// ours returns the lines of /metrics that are about the product's own series.
func ours(t *testing.T, m *metrics.Metrics) []byte {
	t.Helper()
	var lines bytes.Buffer
	for line := range strings.Lines(string(get(t, m, "text/plain"))) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), "cstproxy_") {
			lines.WriteString(line)
		}
	}
	return lines.Bytes()
}

// values returns the product's own series by name, buckets left out.
func values(t *testing.T, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(string(ours(t, m))) {
		at := strings.LastIndexByte(line, ' ')
		if line[0] == '#' || strings.Contains(line, "_bucket{") {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			t.Fatalf("series %s: %v", line, err)
		}
		all[strings.TrimPrefix(line[:at], "cstproxy_")] = value
	}
	return all
}

// wantChanges reports every series that act moved otherwise than want says. Those not in want must stand still.
func wantChanges(t *testing.T, m *metrics.Metrics, act func(), want map[string]float64) {
	t.Helper()
	before := values(t, m)
	act()
	changed := values(t, m)
	for series, value := range before {
		if changed[series] -= value; math.IsNaN(changed[series]) {
			changed[series] = 0 // no limit, and no limit still
		}
	}
	maps.DeleteFunc(changed, func(_ string, value float64) bool { return value == 0 })
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Errorf("series moved (-want +got):\n%s", diff)
	}
}

func TestScrapeHoldsEverySeriesFromTheStart(t *testing.T) {
	t.Parallel()
	var got []byte
	synctest.Test(t, func(t *testing.T) { got = ours(t, started()) })
	got = bytes.ReplaceAll(got, []byte(runtime.Version()), []byte("GOVERSION"))
	golden := filepath.Join("testdata", "metrics.golden")
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("/metrics (-want +got), -update writes it anew:\n%s", diff)
	}
}

func TestScrapeHoldsTheRuntimeToo(t *testing.T) {
	t.Parallel()
	if got := get(t, started(), "text/plain"); !bytes.Contains(got, []byte("\ngo_goroutines ")) {
		t.Errorf("no go_goroutines in /metrics:\n%s", got)
	}
}

func TestScraperMayAskForOpenMetrics(t *testing.T) {
	t.Parallel()
	got := get(t, started(), "application/openmetrics-text; version=1.0.0")
	if !bytes.HasSuffix(got, []byte("# EOF\n")) {
		t.Errorf("/metrics is not OpenMetrics:\n%s", got)
	}
}

func TestSeriesAreNamedAsPrometheusAdvises(t *testing.T) {
	t.Parallel()
	problems, err := promlint.New(bytes.NewReader(get(t, started(), "text/plain"))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestScrapeNamesNoClientAndNoToken(t *testing.T) {
	t.Parallel()
	m := started()
	portal := m.Mints(m.PortalAttempts(newPortal(0)))
	store := m.Store(metrics.TierRedis, m.Store(metrics.TierMemory, &sessiontest.Store{}))
	token, err := portal.Mint(t.Context(), "cm0r6nkek00ej10dwwx8wdjmf", session.Absent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Commit(t.Context(), token, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), token.Client); err != nil {
		t.Fatal(err)
	}
	m.Granted(session.Grant{Token: token, Source: session.SourceMint, Reason: session.Absent}, time.Hour)
	m.Refused(string(token.Client))
	got := string(get(t, m, "text/plain"))
	for _, text := range []string{string(token.Client), token.ID.String(), token.Secret.Reveal()} {
		if strings.Contains(got, text) {
			t.Errorf("%q is in /metrics", text)
		}
	}
}

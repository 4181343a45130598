package metrics_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestGranted(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		grant session.Grant
		left  time.Duration
		want  map[string]float64
	}{
		"from the cache": {
			session.Grant{Source: session.SourceCache}, time.Hour,
			map[string]float64{`tokens_served_total{source="cache"}`: 1, "token_remaining_seconds_count": 1, "token_remaining_seconds_sum": 3600},
		},
		"by a refresh": {
			session.Grant{Source: session.SourceRefresh}, 24 * time.Hour,
			map[string]float64{`tokens_served_total{source="refresh"}`: 1, "token_remaining_seconds_count": 1, "token_remaining_seconds_sum": 86400},
		},
		"by a mint that another caller began": {
			session.Grant{Source: session.SourceMint, Shared: session.ScopeProcess}, time.Hour,
			map[string]float64{
				`tokens_served_total{source="mint"}`: 1, "token_remaining_seconds_count": 1, "token_remaining_seconds_sum": 3600,
				`requests_collapsed_total{scope="process"}`: 1,
			},
		},
		"with a moment left": {
			session.Grant{Source: session.SourceCache}, ms,
			map[string]float64{`tokens_served_total{source="cache"}`: 1, "token_remaining_seconds_count": 1, "token_remaining_seconds_sum": .001},
		},
		"with nothing left": {
			session.Grant{Source: session.SourceCache}, 0,
			map[string]float64{
				`tokens_served_total{source="cache"}`: 1, "token_remaining_seconds_count": 1, "expired_tokens_served_total": 1,
			},
		},
		"a moment too late": {
			session.Grant{Source: session.SourceCache}, -ms,
			map[string]float64{
				`tokens_served_total{source="cache"}`: 1, "token_remaining_seconds_count": 1, "token_remaining_seconds_sum": -.001,
				"expired_tokens_served_total": 1,
			},
		},
		"from a source nobody declared": {
			session.Grant{Source: "hearsay"}, time.Hour,
			map[string]float64{"token_remaining_seconds_count": 1, "token_remaining_seconds_sum": 3600},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := metrics.New(parts())
			wantChanges(t, m, func() { m.Granted(c.grant, c.left) }, c.want)
		})
	}
}

func TestHandedIsTimedByItsSource(t *testing.T) {
	t.Parallel()
	for source, want := range map[session.Source]map[string]float64{
		session.SourceCache: {`token_duration_seconds_count{source="cache"}`: 1, `token_duration_seconds_sum{source="cache"}`: 1.5},
		session.SourceMint:  {`token_duration_seconds_count{source="mint"}`: 1, `token_duration_seconds_sum{source="mint"}`: 1.5},
		"hearsay":           {},
	} {
		t.Run(string(source), func(t *testing.T) {
			t.Parallel()
			m := metrics.New(parts())
			wantChanges(t, m, func() { m.Handed(source, 1500*time.Millisecond, "") }, want)
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codes []string
		code  string
		want  string
	}{
		"a code listed counts as itself":               {parts().Codes, "portal_timeout", "portal_timeout"},
		"internal counts as itself":                    {parts().Codes, "internal", "internal"},
		"a code not listed counts as internal":         {parts().Codes, "cm0r6nkek00ej10dwwx8wdjmf", "internal"},
		"no code counts as internal":                   {parts().Codes, "", "internal"},
		"without a list everything counts as internal": {nil, "portal_timeout", "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := metrics.New(metrics.Parts{Codes: c.codes})
			wantChanges(t, m, func() { m.Refused(c.code) }, map[string]float64{`token_errors_total{code="` + c.want + `"}`: 1})
		})
	}
}

func TestRequestIsTimedUntilItEnds(t *testing.T) {
	t.Parallel()
	const token = "/v1/clients/:clientId/token"
	for name, c := range map[string]struct {
		answer metrics.Answer
		want   string
	}{
		"answered as foreseen":       {metrics.Answer{token, http.MethodGet, 503}, `{code="503",method="GET",route="` + token + `"}`},
		"with a status not foreseen": {metrics.Answer{token, http.MethodGet, 418}, `{code="other",method="other",route="other"}`},
		"of a method not foreseen":   {metrics.Answer{token, "BREW", 503}, `{code="other",method="other",route="other"}`},
		"on a route not foreseen":    {metrics.Answer{"/v1/alice", http.MethodGet, 503}, `{code="other",method="other",route="other"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := metrics.New(parts())
				request := func() {
					ended := m.Began()
					time.Sleep(1500 * time.Millisecond)
					ended(c.answer.Route, c.answer.Method, c.answer.Status, "")
				}
				wantChanges(t, m, request, map[string]float64{
					"http_request_duration_seconds_count" + c.want: 1, "http_request_duration_seconds_sum" + c.want: 1.5,
				})
			})
		})
	}
}

func TestRequestIsInFlightUntilItEnds(t *testing.T) {
	t.Parallel()
	m := started()
	var ended func(route, method string, status int, trace string)
	wantChanges(t, m, func() { ended = m.Began() }, map[string]float64{"http_requests_in_flight": 1})
	ended("/", http.MethodGet, http.StatusOK, "")
	if got := values(t, m)["http_requests_in_flight"]; got != 0 {
		t.Errorf("%g requests in flight after the last ended, want 0", got)
	}
}

func TestRoutesWithoutEndMakeNoSeries(t *testing.T) {
	t.Parallel()
	m := metrics.New(parts())
	const routes = 5000
	before := len(values(t, m))
	for i := range routes {
		m.Began()(fmt.Sprintf("/%d", i), http.MethodGet, http.StatusOK, "")
	}
	after := values(t, m)
	if len(after) != before {
		t.Errorf("%d series, want %d as at the start", len(after), before)
	}
	if got := after[`http_request_duration_seconds_count{code="other",method="other",route="other"}`]; got != routes {
		t.Errorf("%g requests counted, want %d", got, routes)
	}
}

func TestGrantedAllocatesNothing(t *testing.T) {
	m := metrics.New(parts())
	grant := session.Grant{Source: session.SourceCache, Shared: session.ScopeProcess}
	handOut := func() {
		m.Granted(grant, time.Hour)
		m.Handed(grant.Source, time.Second, "")
	}
	if got := testing.AllocsPerRun(100, handOut); got != 0 {
		t.Errorf("to count a token handed out allocates %g times, want 0", got)
	}
}

func BenchmarkGranted(b *testing.B) {
	m := metrics.New(parts())
	grant := session.Grant{Source: session.SourceCache}
	b.ReportAllocs()
	for b.Loop() {
		m.Granted(grant, time.Hour)
	}
}

func BenchmarkGrantedInParallel(b *testing.B) {
	m := metrics.New(parts())
	grant := session.Grant{Source: session.SourceCache}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Granted(grant, time.Hour)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	m := metrics.New(parts())
	b.ReportAllocs()
	for b.Loop() {
		m.Began()("/v1/clients/:clientId/token", http.MethodGet, http.StatusOK, "")
	}
}

func TestShedDroppedAndAudited(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(m *metrics.Metrics)
		want map[string]float64
	}{
		"a mint turned away":        {func(m *metrics.Metrics) { m.Shed("mint") }, map[string]float64{`requests_shed_total{work="mint"}`: 1}},
		"work that is not listed":   {func(m *metrics.Metrics) { m.Shed("alice") }, map[string]float64{}},
		"a connection dropped":      {func(m *metrics.Metrics) { m.Dropped("data") }, map[string]float64{`connections_dropped_total{port="data"}`: 1}},
		"a port that is not listed": {func(m *metrics.Metrics) { m.Dropped("8080") }, map[string]float64{}},
		"a line of audit":           {func(m *metrics.Metrics) { m.Audited(nil) }, map[string]float64{`audit_lines_total{outcome="written"}`: 1}},
		"a line that is lost":       {func(m *metrics.Metrics) { m.Audited(io.ErrShortWrite) }, map[string]float64{`audit_lines_total{outcome="failed"}`: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := started()
			wantChanges(t, m, func() { c.do(m) }, c.want)
		})
	}
}

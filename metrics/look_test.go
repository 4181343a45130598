package metrics_test

import (
	"math"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestUntilThereIsSomethingToLookAtNothingIsLimitedOrKnown(t *testing.T) {
	t.Parallel()
	got := values(t, metrics.New(parts()))
	for series, want := range map[string]float64{
		`budget_limit{class="mint"}`: math.Inf(1), `budget_left{class="probe"}`: math.Inf(1), `budget_paused_seconds{class="mint"}`: 0,
		"portal_key_valid": -1, "portal_key_last_success_timestamp_seconds": 0, "fleet_replicas": 1,
		`redis_breaker{state="closed"}`: 0, `redis_breaker{state="half_open"}`: 0, `redis_breaker{state="open"}`: 0,
	} {
		if value, ok := got[series]; !ok || value != want {
			t.Errorf("%s is %g, there: %t; want %g", series, value, ok, want)
		}
	}
}

func TestEachScrapeLooksAnew(t *testing.T) {
	t.Parallel()
	m := metrics.New(parts())
	budget, key, replicas, breaker := metrics.Standing{Limit: 200, Left: 150}, metrics.Key{Verdict: 1, Worked: time.Unix(1000, 0)}, 3, "closed"
	m.Look(metrics.Looks{
		Budget: func(class session.Class) metrics.Standing {
			if class == session.ClassProbe {
				return metrics.Standing{Limit: 100, Left: 100}
			}
			return budget
		},
		Key: func() metrics.Key { return key }, Replicas: func() int { return replicas }, Breaker: func() string { return breaker },
	})
	wantChanges(t, m, func() { budget.Left, budget.Paused = 100, 2500*time.Millisecond },
		map[string]float64{`budget_left{class="mint"}`: -50, `budget_paused_seconds{class="mint"}`: 2.5})
	wantChanges(t, m, func() { key.Verdict = 0 }, map[string]float64{"portal_key_valid": -1})
	wantChanges(t, m, func() { key = metrics.Key{Verdict: -1, Worked: time.Unix(1060, 0)} },
		map[string]float64{"portal_key_valid": -1, "portal_key_last_success_timestamp_seconds": 60})
	wantChanges(t, m, func() { replicas = 2 }, map[string]float64{"fleet_replicas": -1})
	wantChanges(t, m, func() { breaker = "open" }, map[string]float64{`redis_breaker{state="closed"}`: -1, `redis_breaker{state="open"}`: 1})
	wantChanges(t, m, func() { breaker = "ajar" }, map[string]float64{`redis_breaker{state="open"}`: -1})
}

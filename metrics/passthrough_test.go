package metrics_test

import (
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
)

func TestWhatIsPassedOnIsCountedAndTimed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(m *metrics.Metrics)
		want map[string]float64
	}{
		"with an answer": {
			func(m *metrics.Metrics) { m.Passed(metrics.Pass{"client", "inject", "ok"}, 1500*time.Millisecond, "") },
			map[string]float64{
				`passthrough_requests_total{family="client",mode="inject",outcome="ok"}`: 1,
				`passthrough_duration_seconds_count{family="client"}`:                    1, `passthrough_duration_seconds_sum{family="client"}`: 1.5,
			},
		},
		"sent once more":    {func(m *metrics.Metrics) { m.Repeated("client") }, map[string]float64{`passthrough_retries_total{family="client"}`: 1}},
		"of another sort":   {func(m *metrics.Metrics) { m.Passed(metrics.Pass{"client", "key", "ok"}, time.Second, "") }, map[string]float64{}},
		"of another family": {func(m *metrics.Metrics) { m.Repeated("alice") }, map[string]float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := metrics.New(parts())
			wantChanges(t, m, func() { c.do(m) }, c.want)
		})
	}
}

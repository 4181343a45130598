package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// What became of a file that changed.
const (
	used    = "used"
	refused = "refused" // the last good content stays in use
)

// reloads counts what becomes of files that change.
type reloads struct {
	total    *prometheus.CounterVec
	good, at *prometheus.GaugeVec
}

func newReloads(in registrar) reloads {
	return reloads{
		total: in.counter("cstproxy_reloads_total", "Files that changed while the proxy ran.", "file", "outcome"),
		good: in.gauge("cstproxy_last_reload_successful",
			"1 if what a file holds is in use, 0 if what it held before still is.", "file"),
		at: in.gauge("cstproxy_last_reload_success_timestamp_seconds",
			"When what a file holds was last put into use.", "file"),
	}
}

// Reloads returns what counts each change of a file: nil is one that is in use, as what it holds now is. Names are of a
// closed set.
func (m *Metrics) Reloads(file string) func(err error) {
	taken, kept := m.reloads.total.WithLabelValues(file, used), m.reloads.total.WithLabelValues(file, refused)
	good, at := m.reloads.good.WithLabelValues(file), m.reloads.at.WithLabelValues(file)
	succeeded := func() {
		good.Set(1)
		at.SetToCurrentTime()
	}
	succeeded()
	return func(err error) {
		if err != nil {
			kept.Inc()
			good.Set(0)
			return
		}
		taken.Inc()
		succeeded()
	}
}

package metrics

// What became of a file that changed.
const (
	used    = "used"
	refused = "refused" // the last good content stays in use
)

// Reloads returns what counts each change of a file: nil is one that is in use. Names are of a closed set.
func (m *Metrics) Reloads(file string) func(err error) {
	taken, kept := m.reloads.WithLabelValues(file, used), m.reloads.WithLabelValues(file, refused)
	return func(err error) {
		if err != nil {
			kept.Inc()
			return
		}
		taken.Inc()
	}
}

package metrics

// limits counts what was kept within bounds, and on record.
type limits struct{ shed, dropped, audited, spans counters[string] }

// What becomes of a line of audit.
const (
	written = "written"
	lost    = "failed"
)

func newLimits(in registrar, parts Parts) limits {
	return limits{
		shed: known(in.counter("cstproxy_requests_shed_total",
			"Requests turned away for want of room, by what they were for.", "work"), parts.Sheds...),
		dropped: known(in.counter("cstproxy_connections_dropped_total",
			"Connections dropped because there was one too many.", "port"), parts.Ports...),
		audited: known(in.counter("cstproxy_audit_lines_total",
			"Lines of audit, by what became of them.", "outcome"), written, lost),
		spans: known(in.counter("cstproxy_spans_dropped_total",
			"Spans that the collector of traces never gets.", "reason"), parts.Drops...),
	}
}

// Shed counts a request turned away for want of room.
func (m *Metrics) Shed(work string) { m.limits.shed.inc(work) }

// Dropped counts a connection dropped because there was one too many.
func (m *Metrics) Dropped(port string) { m.limits.dropped.inc(port) }

// SpansDropped counts spans that the collector of traces never gets.
func (m *Metrics) SpansDropped(why string, spans int) {
	if child, ok := m.limits.spans[why]; ok {
		child.Add(float64(spans))
	}
}

// Audited counts a line of audit, by whether it was written.
func (m *Metrics) Audited(err error) {
	if err != nil {
		m.limits.audited.inc(lost)
		return
	}
	m.limits.audited.inc(written)
}

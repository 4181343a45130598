package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// budget counts those who ask for a turn.
type budget struct {
	waiting map[session.Class]prometheus.Gauge
	refused counters[session.Class]
}

func newBudget(in registrar) budget {
	waiting := in.gauge("cstproxy_budget_waiting", "Requests of this replica that wait for their turn at Portal.", "class")
	b := budget{
		waiting: map[session.Class]prometheus.Gauge{},
		refused: known(in.counter("cstproxy_budget_refusals_total",
			"Requests to Portal that were not made, since no turn would have come in time or the key is refused.", "class"), session.Classes()...),
	}
	for _, class := range session.Classes() {
		b.waiting[class] = waiting.WithLabelValues(string(class))
	}
	return b
}

// Budget counts who waits for a turn of next, and who gets none.
func (m *Metrics) Budget(next session.Budget) session.Budget {
	return countedBudget{Budget: next, budget: m.budget}
}

type countedBudget struct {
	session.Budget
	budget budget
}

// Wait implements [session.Budget].
func (b countedBudget) Wait(ctx context.Context, class session.Class, patience time.Duration) error {
	if waiting, ok := b.budget.waiting[class]; ok {
		waiting.Inc()
		defer waiting.Dec()
	}
	err := b.Budget.Wait(ctx, class, patience)
	if errors.Is(err, session.ErrPortalRateLimited) || errors.Is(err, session.ErrPortalUnauthorized) {
		b.budget.refused.inc(class)
	}
	return err
}

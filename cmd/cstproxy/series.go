package main

import (
	"context"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/metrics/spans"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// newMetrics returns a Metrics that knows every label there is.
func newMetrics(trace func(context.Context) string) *metrics.Metrics {
	return metrics.New(metrics.Parts{
		Version: build().Version, Revision: build().Revision, Codes: proxy.Codes(), Answers: answers(), Sheds: proxy.Sheds(),
		Ports: portNames(), SealOperations: cache.SealOperations(), Drops: spans.Drops(), Passes: passes(), Trace: trace,
	})
}

// answers are those of the data API, as they are counted.
func answers() []metrics.Answer {
	all := proxy.Answers()
	counted := make([]metrics.Answer, 0, len(all))
	for _, a := range all {
		counted = append(counted, metrics.Answer(a))
	}
	return counted
}

// looks is what a scrape looks at.
func (a *application) looks(guard *portal.Guard) metrics.Looks {
	return metrics.Looks{
		Budget: func(class session.Class) metrics.Standing {
			return metrics.Standing(a.store.budget.Standing(class, time.Now()))
		},
		Key: func() metrics.Key {
			key := guard.Key()
			return metrics.Key{Verdict: int8(key.Verdict), Worked: key.Worked}
		},
		Replicas: a.store.replicas,
		Breaker:  a.store.breaker,
	}
}

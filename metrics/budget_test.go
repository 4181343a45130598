package metrics_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// budget is a Budget that answers once it is told to, with err.
type budget struct {
	session.Budget
	answer chan error
}

func (b budget) Wait(context.Context, session.Class, time.Duration) error { return <-b.answer }

func TestWhoWaitsForATurnIsCountedUntilItComes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		class session.Class
		err   error
		want  map[string]float64
	}{
		"it comes":                   {session.ClassMint, nil, map[string]float64{}},
		"it would come too late":     {session.ClassMint, &session.RetryError{After: time.Minute, Err: session.ErrPortalRateLimited}, map[string]float64{`budget_refusals_total{class="mint"}`: 1}},
		"none comes to a probe":      {session.ClassProbe, session.ErrPortalRateLimited, map[string]float64{`budget_refusals_total{class="probe"}`: 1}},
		"none, since the key is bad": {session.ClassMint, session.ErrPortalUnauthorized, map[string]float64{`budget_refusals_total{class="mint"}`: 1}},
		"the caller left":            {session.ClassMint, context.Canceled, map[string]float64{}},
		"a class nobody declared":    {"alice", session.ErrPortalRateLimited, map[string]float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := metrics.New(parts())
			b := budget{answer: make(chan error)}
			ended := make(chan error)
			wantChanges(t, m, func() {
				go func() { ended <- m.Budget(b).Wait(t.Context(), c.class, time.Minute) }()
				series := `budget_waiting{class="` + string(c.class) + `"}`
				for waiting, ok := 0., true; ok && waiting != 1; {
					waiting, ok = values(t, m)[series], c.class != "alice"
				}
				b.answer <- c.err
				if err := <-ended; !errors.Is(err, c.err) {
					t.Errorf("it returns %v, want %v", err, c.err)
				}
			}, c.want)
		})
	}
}

func (b budget) Spare(context.Context, session.Class) error { return <-b.answer }

// Nobody is turned away where none is spare, so an alert for that must not hear of it.
func TestTurnThatIsNotSpareIsNoRefusal(t *testing.T) {
	t.Parallel()
	m, b := metrics.New(parts()), budget{answer: make(chan error, 1)}
	wantChanges(t, m, func() {
		b.answer <- session.ErrPortalRateLimited
		if err := m.Budget(b).Spare(t.Context(), session.ClassMint); !errors.Is(err, session.ErrPortalRateLimited) {
			t.Errorf("it returns %v, want ErrPortalRateLimited", err)
		}
	}, map[string]float64{})
}

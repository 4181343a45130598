package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// leaser is a Leaser whose every answer is err.
type leaser struct {
	session.Leaser
	err error
}

func (l leaser) Acquire(context.Context, session.ClientID, string) (session.Lease, error) {
	return session.Lease{Fence: 1}, l.err
}
func (l leaser) Renew(context.Context, session.Lease) error   { return l.err }
func (l leaser) LetGo(context.Context, session.Lease) error   { return l.err }
func (l leaser) Abandon(context.Context, session.Lease) error { return l.err }

func TestLeasesCountByWhatBecameOfThem(t *testing.T) {
	t.Parallel()
	lease := session.Lease{Client: client}
	acquire := func(ctx context.Context, l session.Leaser) error { _, err := l.Acquire(ctx, client, "us"); return err }
	renew := func(ctx context.Context, l session.Leaser) error { return l.Renew(ctx, lease) }
	letGo := func(ctx context.Context, l session.Leaser) error { return l.LetGo(ctx, lease) }
	abandon := func(ctx context.Context, l session.Leaser) error { return l.Abandon(ctx, lease) }
	for name, c := range map[string]struct {
		do   func(context.Context, session.Leaser) error
		err  error
		want string
	}{
		"one is taken":                   {acquire, nil, "taken"},
		"another replica has it":         {acquire, session.ErrLeaseBusy, "busy"},
		"nobody knows who has it":        {acquire, sessiontest.ErrStoreDown, "error"},
		"the caller left":                {acquire, fmt.Errorf("acquire: %w", context.Canceled), ""},
		"it lasts on":                    {renew, nil, ""},
		"it ran out":                     {renew, fmt.Errorf("renew: %w", session.ErrLeaseLost), "lost"},
		"nobody knows whether it lasts":  {renew, sessiontest.ErrStoreDown, "error"},
		"it is given back":               {letGo, nil, ""},
		"it is given back, and in doubt": {letGo, session.ErrLeaseDoubt, ""},
		"it can't be given back":         {letGo, sessiontest.ErrStoreDown, "error"},
		"it is abandoned":                {abandon, nil, ""},
		"nobody is told that it is":      {abandon, sessiontest.ErrStoreDown, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := metrics.New(parts())
			want := map[string]float64{}
			if c.want != "" {
				want[`leases_total{outcome="`+c.want+`"}`] = 1
			}
			wantChanges(t, m, func() {
				if err := c.do(t.Context(), m.Leases(leaser{err: c.err})); !errors.Is(err, c.err) {
					t.Errorf("it returns %v, want %v", err, c.err)
				}
			}, want)
		})
	}
}

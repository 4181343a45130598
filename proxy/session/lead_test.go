package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// hiccup is a Leaser that fails a few times before it works, though it may have carried out what failed.
type hiccup struct {
	*sessiontest.Store
	fails    int
	carries  bool
	acquired int
}

func (h *hiccup) Acquire(ctx context.Context, client session.ClientID, owner string) (session.Lease, error) {
	h.acquired++
	if h.acquired > h.fails {
		return h.Store.Acquire(ctx, client, owner)
	}
	if h.carries {
		_, _ = h.Store.Acquire(ctx, client, owner)
	}
	return session.Lease{}, sessiontest.ErrStoreDown
}

func TestMomentOfTroubleDoesNotCostTheLease(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails   int
		carries bool
		leased  bool
	}{
		"none":                                     {leased: true},
		"one that failed":                          {fails: 1, leased: true},
		"one whose answer was lost":                {fails: 1, carries: true, leased: true},
		"more than one: the store is not there":    {fails: 2},
		"more than one, though it was carried out": {fails: 2, carries: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(p *session.Parts) {
					p.Leaser = &hiccup{Store: p.Leaser.(*sessiontest.Store), fails: c.fails, carries: c.carries}
				})
				g := w.fetch(session.Need{})
				if leased := g.Token.Fence > 0; leased != c.leased || g.took > time.Second {
					t.Errorf("minted under fence %d after %s; want a lease: %t", g.Token.Fence, g.took, c.leased)
				}
				w.wantMints(session.Absent)
			})
		})
	}
}

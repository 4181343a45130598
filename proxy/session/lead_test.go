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
		"none":                            {leased: true},
		"four times":                      {fails: 4, leased: true},
		"four times, with answers lost":   {fails: 4, carries: true, leased: true},
		"so often that the store is down": {fails: 5},
		"so often, with answers lost":     {fails: 5, carries: true},
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

// stutter is a store of which commits fail a few times.
type stutter struct {
	*sessiontest.Store
	fails int
}

func (s *stutter) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	s.fails--
	if s.fails >= 0 {
		return session.Token{}, sessiontest.ErrStoreDown
	}
	return s.Store.Commit(ctx, token, seen)
}

// Whoever comes next finds the token, and does not mint another.
func TestMomentOfTroubleDoesNotCostTheToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(p *session.Parts) { p.Store = &stutter{Store: p.Store.(*sessiontest.Store), fails: 4} })
		token := w.fetch(session.Need{}).Token
		w.Broker = w.replica()
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		w.wantMints(session.Absent)
	})
}

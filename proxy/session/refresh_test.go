package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// sparing is a budget of probes that has turns for those who wait, and none that is spare.
type sparing struct{ unhurried, hurried int }

func (s *sparing) turn(ctx context.Context) error {
	if session.IsUnhurried(ctx) {
		s.unhurried++
		return session.ErrNoneSpare
	}
	s.hurried++
	return nil
}

func TestARefreshInTheBackgroundLeavesTurnsToOthersUntilItPresses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age                time.Duration
		need               session.Need
		unhurried, hurried int
	}{
		"not due":                               {age: 30*time.Minute - time.Millisecond},
		"due":                                   {age: 30 * time.Minute, unhurried: 1},
		"a moment before it presses":            {age: 12*hour - time.Millisecond, unhurried: 1},
		"pressing":                              {age: 12 * hour, hurried: 1},
		"due, and a caller needs it to be long": {age: 30 * time.Minute, need: explicit(day), hurried: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				budget := &sparing{}
				w := newWorld(t, onProbe(budget.turn))
				token := w.aged(c.age)
				if g := w.fetch(c.need); g.err != nil || g.Token.ID != token.ID {
					t.Fatalf("granted %s, %v; want %s", g.Token.ID, g.err, token.ID)
				}
				w.settled().wantMints(session.Absent)
				if budget.unhurried != c.unhurried || budget.hurried != c.hurried {
					t.Errorf("%+v, want %d unhurried and %d hurried", *budget, c.unhurried, c.hurried)
				}
			})
		})
	}
}

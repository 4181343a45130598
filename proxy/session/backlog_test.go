package session_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const (
	// again is how often those who wait for a turn are thought of.
	again = 5 * time.Second
	// tooLate is for how long they may wait.
	tooLate = hour
)

// spare is a Portal of whose probes none leaves that is unhurried unless turns are spare. It notes whom those were for, and
// counts the others.
type spare struct {
	*sessiontest.Portal

	mu       sync.Mutex
	turns    int
	left     []session.ClientID
	refusals int
}

func (s *spare) Probe(ctx context.Context, token session.Token) error {
	if err := s.turn(ctx, token.Client); err != nil {
		return err
	}
	return s.Portal.Probe(ctx, token)
}

func (s *spare) turn(ctx context.Context, client session.ClientID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session.IsUnhurried(ctx) {
		if s.turns == 0 {
			s.refusals++
			return session.ErrNoneSpare
		}
		s.turns--
	}
	s.left = append(s.left, client)
	return nil
}

func (s *spare) free(turns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns = turns
}

// wantLeft wants that the probes left were for these, in this order.
func (s *spare) wantLeft(t *testing.T, want ...session.ClientID) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.left, want) {
		t.Errorf("probes left for %v, want %v", s.left, want)
	}
}

func (s *spare) refused() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals
}

// spareless is a world in which no turn is spare.
func spareless(t *testing.T) (*world, *spare) {
	t.Helper()
	portal := &spare{}
	return newWorld(t, func(p *session.Parts) {
		portal.Portal = p.Portal.(*sessiontest.Portal)
		p.Portal = portal
	}), portal
}

// waiting has the clients minted for and, when their refresh is due, fetch one after the other, with a second between them.
func (w *world) waiting(clients ...session.ClientID) {
	w.t.Helper()
	for _, client := range clients {
		w.grant(client)
	}
	time.Sleep(hour)
	for i, client := range clients {
		if i > 0 {
			time.Sleep(time.Second)
		}
		w.grant(client)
		synctest.Wait()
	}
}

func TestRefreshesThatNoTurnIsSpareForWaitForOneInTheirOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, portal := spareless(t)
		w.waiting(alice, bob, "carol", "dave")
		time.Sleep(30 * time.Minute)
		portal.wantLeft(t)
		portal.free(3)
		w.grant("erin") // is new, and takes no turn of theirs
		time.Sleep(again)
		portal.wantLeft(t, alice, bob, "carol")
		portal.free(3)
		time.Sleep(again)
		portal.wantLeft(t, alice, bob, "carol", "dave")
		if got := w.stored().ActiveAt; time.Since(got) > 2*again {
			t.Errorf("alice's token was active at %s, want when it was refreshed", got)
		}
		w.settled().wantMints(session.Absent, session.Absent, session.Absent, session.Absent, session.Absent)
	})
}

func TestWhoWaitsAfterAllWereServedIsServedToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, portal := spareless(t)
		for round := range 3 {
			portal.free(0)
			w.waiting(alice)
			portal.free(1)
			time.Sleep(again)
			portal.wantLeft(t, slices.Repeat([]session.ClientID{alice}, round+1)...)
		}
	})
}

// Who comes while others wait takes no turn before them, though one is spare.
func TestRefreshDoesNotOvertakeThoseThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, portal := spareless(t)
		w.waiting(alice, bob)
		portal.free(1)
		w.grant(bob)
		portal.wantLeft(t)
		time.Sleep(again)
		portal.wantLeft(t, alice)
	})
}

// One that presses, or that a caller needs, does not wait behind them.
func TestPressingRefreshDoesNotWaitBehindOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, portal := spareless(t)
		w.grant(bob)
		time.Sleep(11 * hour)
		w.waiting(alice)
		w.grant(bob)
		portal.wantLeft(t, bob)
		w.fetch(explicit(day))
		portal.wantLeft(t, bob, alice)
		portal.free(5)
		time.Sleep(again)
		portal.wantLeft(t, bob, alice) // it needs none any more
	})
}

func TestRefreshThatWaitedTooLongIsLeftOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		free time.Duration
		want []session.ClientID
	}{
		"the last moment": {tooLate - again, []session.ClientID{alice}},
		"too late":        {tooLate + again, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, portal := spareless(t)
				w.waiting(alice)
				time.Sleep(c.free - time.Millisecond)
				portal.free(1)
				time.Sleep(hour)
				portal.wantLeft(t, c.want...)
				if c.want != nil {
					return
				}
				w.grant(alice)
				portal.wantLeft(t, alice)
			})
		})
	}
}

func TestFullBudgetIsNotHammeredAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, portal := spareless(t)
		w.waiting(alice, bob)
		before := portal.refused()
		const minutes = 10
		for range 60 * minutes {
			w.grant(alice)
			w.grant(bob)
			w.grant("carol")
			time.Sleep(time.Second)
		}
		if got, most := portal.refused()-before, minutes*int(time.Minute/again); got > most || got < most-1 {
			t.Errorf("asked for a turn %d times in %d minutes, want %d", got, minutes, most)
		}
	})
}

func TestNoMoreWaitThanThereIsRoomFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 10_000
		w, portal := spareless(t)
		clients := make([]session.ClientID, most+5)
		for i := range clients {
			clients[i] = session.ClientID(fmt.Sprint("client-", i))
			w.grant(clients[i])
		}
		time.Sleep(hour)
		for _, client := range clients {
			w.grant(client)
			if client == clients[0] {
				synctest.Wait()
			}
		}
		portal.free(2 * most)
		time.Sleep(again)
		portal.wantLeft(t, clients[:most]...)
	})
}

// A client that logged out meanwhile, or has another token by now, costs nothing.
func TestRefreshThatWaitedIsOfATokenThatIsStillThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(*world)
		mints     []session.Reason
	}{
		"logged out": {func(w *world) { _ = w.Forget(w.t.Context(), alice) }, []session.Reason{session.Absent}},
		"rejected": {func(w *world) { w.fetch(session.Need{Rejected: w.stored().ID}) },
			[]session.Reason{session.Absent, session.Rejected}},
		"used": {func(w *world) { w.useOf(alice) }, []session.Reason{session.Absent}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, portal := spareless(t)
				w.waiting(alice)
				c.meanwhile(w)
				refused := portal.refused()
				portal.free(5)
				time.Sleep(2 * hour)
				portal.wantLeft(t)
				w.settled().wantMints(c.mints...)
				if portal.refused() != refused {
					t.Error("a turn was asked for")
				}
			})
		})
	}
}

// While Portal is in trouble those who wait are no more trouble.
func TestThoseWhoWaitForATurnLeavePortalAloneInTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const clients, seconds = 100, 60
		var asked atomic.Int64
		var none atomic.Bool
		w := newWorld(t, onProbe(func(context.Context) error {
			if none.Load() {
				return session.ErrNoneSpare
			}
			asked.Add(1)
			return session.ErrPortalUnavailable
		}))
		var all []session.ClientID
		for i := range clients {
			all = append(all, session.ClientID(fmt.Sprint("client-", i)))
		}
		none.Store(true)
		w.waiting(all...)
		none.Store(false)
		time.Sleep(seconds * time.Second)
		synctest.Wait()
		if got, most := asked.Load(), 3+seconds/int64(again/time.Second); got == 0 || got > most {
			t.Errorf("Portal was asked %d times in %d s, want %d at the most", got, seconds, most)
		}
	})
}

func TestCloseEndsTheWaitForATurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, portal := spareless(t)
		w.waiting(alice, bob)
		time.Sleep(time.Second)
		if took := w.closing(time.Minute); took != 0 {
			t.Errorf("closed after %s", took)
		}
		refused := portal.refused()
		portal.free(5)
		w.grant(alice)
		time.Sleep(again)
		portal.wantLeft(t)
		if portal.refused() != refused {
			t.Error("a turn was asked for after the end")
		}
	})
}

package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func within(limits session.Limits) func(*session.Parts) {
	return func(p *session.Parts) { p.Limits = limits }
}

// crowded is a world in which alice has a token of that age, and Portal takes three seconds for whatever it is asked.
func crowded(t *testing.T, limits session.Limits, age time.Duration) *world {
	t.Helper()
	w := newWorld(t, within(limits))
	w.aged(age)
	w.portal.Delay = 3 * time.Second
	return w
}

// begin lets callers ask for tokens of as many cold clients, and returns once all wait or have been told. ended waits
// for them, and returns how many were turned away.
func (w *world) begin(name string, clients, callersEach int) (ended func() (turnedAway int)) {
	errs := make([]error, clients*callersEach)
	var group sync.WaitGroup
	for i := range errs {
		client := session.ClientID(fmt.Sprintf("%s-%d", name, i%clients))
		group.Go(func() { _, errs[i] = w.Grant(w.t.Context(), session.Ask{Client: client}) })
	}
	w.settled()
	return func() (turnedAway int) {
		group.Wait()
		for _, err := range errs {
			switch {
			case errors.Is(err, session.ErrOverloaded):
				turnedAway++
			case err != nil:
				w.t.Errorf("a caller of %s got %v", name, err)
			}
		}
		return turnedAway
	}
}

// tried says what became of one caller of each kind.
type tried struct{ hit, refresh, mint, register bool }

// try lets one caller of each kind come at once, and returns who was let in. Who is turned away must be so at once.
// alice's token is short, and usable by who does not insist.
func (w *world) try(t *testing.T) tried {
	t.Helper()
	began := time.Now()
	letIn := func(ask func(ctx context.Context) error) bool {
		leaving, leave := context.WithTimeout(t.Context(), time.Millisecond)
		defer leave()
		err := ask(leaving)
		if errors.Is(err, session.ErrOverloaded) && time.Since(began) > 4*time.Millisecond {
			t.Errorf("turned away after %s", time.Since(began))
		}
		return !errors.Is(err, session.ErrOverloaded)
	}
	grant := func(ask session.Ask) func(context.Context) error {
		return func(ctx context.Context) error { _, err := w.Grant(ctx, ask); return err }
	}
	return tried{
		register: letIn(func(ctx context.Context) error { _, err := w.Register(ctx, session.Registration{}); return err }),
		mint:     letIn(grant(session.Ask{Client: "another"})),
		refresh:  letIn(grant(session.Ask{Client: alice, Need: session.Need{Explicit: true, Life: hour}})),
		hit:      letIn(grant(session.Ask{Client: alice, Need: session.Need{Explicit: true, Life: time.Minute}})),
	}
}

func TestWhatIsDearestIsTurnedAwayFirst(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limits  session.Limits
		clients int
		callers int // of each client
		want    tried
	}{
		"nothing is under way":                       {session.Limits{Flights: 16}, 0, 1, tried{true, true, true, true}},
		"flights to half the places, less one":       {session.Limits{Flights: 16}, 7, 1, tried{true, true, true, true}},
		"flights to half the places":                 {session.Limits{Flights: 16}, 8, 1, tried{true, true, true, false}},
		"flights to three quarters, less one":        {session.Limits{Flights: 16}, 11, 1, tried{true, true, true, false}},
		"flights to three quarters":                  {session.Limits{Flights: 16}, 12, 1, tried{true, true, false, false}},
		"more callers of few clients than flights":   {session.Limits{Flights: 16}, 2, 500, tried{true, true, true, true}},
		"waiting callers to half the places":         {session.Limits{Waiting: 16}, 1, 8, tried{true, true, true, false}},
		"waiting callers to three quarters":          {session.Limits{Waiting: 16}, 2, 6, tried{true, true, false, false}},
		"one place, taken":                           {session.Limits{Flights: 1}, 1, 1, tried{hit: true}},
		"no limit":                                   {session.Limits{}, 1000, 2, tried{true, true, true, true}},
		"room for flights, and none for who waits":   {session.Limits{Flights: 100, Waiting: 1}, 1, 1, tried{hit: true}},
		"room for who waits, and none for a flight":  {session.Limits{Flights: 1, Waiting: 100}, 1, 1, tried{hit: true}},
		"more flights than places, which was turned": {session.Limits{Flights: 16}, 40, 1, tried{true, true, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := crowded(t, tt.limits, short)
				ended := w.begin("cold", tt.clients, tt.callers)
				if got := w.try(t); got != tt.want {
					t.Errorf("let in %+v, want %+v", got, tt.want)
				}
				ended()
			})
		})
	}
}

func TestAsManyAreTurnedAwayAsThereIsNoRoomFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limits           session.Limits
		clients, callers int
		want             int
	}{
		"a flight each":                  {session.Limits{Flights: 100}, 1000, 1, 925},
		"a place each":                   {session.Limits{Waiting: 100}, 1000, 1, 925},
		"who joins needs no flight":      {session.Limits{Flights: 20, Waiting: 2000}, 15, 100, 0},
		"who joins needs a place":        {session.Limits{Flights: 20, Waiting: 1000}, 15, 100, 750},
		"a stampede within the defaults": {session.Limits{Flights: 500, Waiting: 4000}, 15, 100, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := crowded(t, tt.limits, 0)
				if got := w.begin("cold", tt.clients, tt.callers)(); got != tt.want {
					t.Errorf("%d of %d callers were turned away, want %d", got, tt.clients*tt.callers, tt.want)
				}
			})
		})
	}
}

func TestThereIsRoomAgainWhenTheCrowdIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := crowded(t, session.Limits{Flights: 8, Waiting: 8}, 0)
		for range 9 {
			if _, err := w.Register(t.Context(), session.Registration{}); err != nil {
				t.Errorf("one registration after the other: %v", err)
			}
		}
		for round := range 3 {
			if turnedAway := w.begin(fmt.Sprintf("round-%d", round), 100, 2)(); turnedAway != 200-6 {
				t.Errorf("%d of 200 callers were turned away, want all but 6", turnedAway)
			}
			w.settled()
		}
		time.Sleep(short)
		if got, want := w.try(t), (tried{true, true, true, true}); got != want {
			t.Errorf("let in %+v afterwards, want %+v", got, want)
		}
	})
}

// A caller who leaves gives the place back; the flight goes on and keeps its own.
func TestWhoLeavesMakesRoomForAnotherCallerButNotForAFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := crowded(t, session.Limits{Flights: 1, Waiting: 1}, 0)
		leaving, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := w.Grant(leaving, session.Ask{Client: bob}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first caller got %v", err)
		}
		if _, err := w.Grant(t.Context(), session.Ask{Client: "another"}); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("another client's caller got %v, want no room for the flight", err)
		}
		if _, err := w.Grant(t.Context(), session.Ask{Client: bob}); err != nil {
			t.Errorf("a caller who joins the flight got %v", err)
		}
	})
}

func TestATokenThatIsUsableIsServedToWhoIsTurnedAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := crowded(t, session.Limits{Flights: 1}, short)
		ended := w.begin("cold", 1, 1)
		w.fetch(session.Need{}).want(t, session.SourceCache, w.stored().ID, 0)
		if turnedAway := ended(); turnedAway != 0 {
			t.Error("the caller who was first was turned away")
		}
	})
}

// A refresh in the background takes no place from who waits, and is made up for by a later fetch.
func TestWhatCanWaitIsLeftForLaterInACrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := crowded(t, session.Limits{Flights: 4}, due)
		ended := w.begin("cold", 2, 1)
		w.fetch(session.Need{})
		ended()
		w.settled().wantProbes(0)
		w.fetch(session.Need{})
		time.Sleep(4 * time.Second)
		w.wantProbes(1)
	})
}

func TestAnOverloadSaysWhatWasTurnedAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := crowded(t, session.Limits{Flights: 1}, short)
		ended := w.begin("cold", 1, 1)
		_, register := w.Register(t.Context(), session.Registration{Key: "key"})
		_, mint := w.Grant(t.Context(), session.Ask{Client: "another"})
		_, refresh := w.Grant(t.Context(), session.Ask{Client: alice, Need: session.Need{Explicit: true, Life: hour}})
		for i, err := range []error{refresh, mint, register} {
			over, ok := errors.AsType[*session.OverloadError](err)
			if !ok || over.Work != session.Works()[i] {
				t.Errorf("got %v of %+v, want an OverloadError of %s", err, over, session.Works()[i])
			}
		}
		ended()
	})
}

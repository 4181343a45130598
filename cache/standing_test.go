package cache_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func wantStanding(t *testing.T, budget *cache.Budget, want cache.Standing) {
	t.Helper()
	if got := budget.Standing(session.ClassMint, time.Now()); got != want {
		t.Errorf("the budget stands at %+v, want %+v", got, want)
	}
}

func TestBudgetOfAReplicaAloneStandsAtWhatItTook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := newBudget(t, "", cache.Limit{Requests: 3, Per: time.Minute}, 1)
		wantStanding(t, budget, cache.Standing{Limit: 3, Left: 3})
		wantTurn(t, budget, impatient)
		time.Sleep(30 * time.Second)
		wantTurn(t, budget, impatient)
		wantStanding(t, budget, cache.Standing{Limit: 3, Left: 1})
		time.Sleep(31 * time.Second) // the window has a second more than the minute
		wantStanding(t, budget, cache.Standing{Limit: 3, Left: 2})
		wantTurn(t, budget, impatient)
		wantTurn(t, budget, impatient)
		wantRefused(t, budget)
		wantStanding(t, budget, cache.Standing{Limit: 3, Left: 0})
		budget.Pause(t.Context(), session.ClassMint, 10*time.Second)
		time.Sleep(4 * time.Second)
		wantStanding(t, budget, cache.Standing{Limit: 3, Left: 0, Paused: 6 * time.Second})
		time.Sleep(time.Hour)
		wantStanding(t, budget, cache.Standing{Limit: 3, Left: 3})
	})
}

func TestBudgetStandsInRequestsAMinute(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit cache.Limit
		want  cache.Standing
	}{
		"a limit a second": {cache.Limit{Requests: 10, Per: time.Second}, cache.Standing{Limit: 600, Left: 540}},
		"a limit a minute": {cache.Limit{Requests: 200, Per: time.Minute}, cache.Standing{Limit: 200, Left: 199}},
		"a limit an hour":  {cache.Limit{Requests: 120, Per: time.Hour}, cache.Standing{Limit: 2, Left: 119. / 60}},
		"no limit":         {cache.Limit{}, cache.Standing{Limit: math.Inf(1), Left: math.Inf(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				budget := newBudget(t, "", c.limit, 1)
				wantTurn(t, budget, impatient)
				wantStanding(t, budget, c.want)
			})
		})
	}
}

func TestReplicaThatTookNothingKnowsHowTheFleetsBudgetStands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limit := cache.Limit{Requests: 10, Per: time.Minute}
	busy, idle := newBudget(t, server.URL(), limit, 2), newBudget(t, server.URL(), limit, 2)
	for range 3 {
		wantTurn(t, busy, impatient)
	}
	wantStanding(t, busy, cache.Standing{Limit: 10, Left: 7})
	wantStanding(t, idle, cache.Standing{Limit: 10, Left: 10}) // nobody told it yet
	idle.Tell(t.Context())
	wantStanding(t, idle, cache.Standing{Limit: 10, Left: 7})

	wantTurn(t, idle, impatient)
	wantStanding(t, idle, cache.Standing{Limit: 10, Left: 6})
	if got := idle.Standing(session.ClassMint, time.Now().Add(2*time.Minute)).Left; got != 10 {
		t.Errorf("%g are left once all that is known is of long ago, want 10", got)
	}

	busy.Pause(t.Context(), session.ClassMint, time.Minute)
	idle.Tell(t.Context())
	if got := idle.Standing(session.ClassMint, time.Now()).Paused; got < 50*time.Second || got > time.Minute {
		t.Errorf("paused for %s, want a minute as Portal told the other replica", got)
	}
	wantRefused(t, idle)
	if got := idle.Standing(session.ClassMint, time.Now()); got.Left != 6 {
		t.Errorf("%g are left, want 6: who is refused takes none", got.Left)
	}
}

// A scrape must not depend on Redis.
func TestStandingAsksNobody(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.URL(), cache.Limit{Requests: 10, Per: time.Minute}, 1)
	wantTurn(t, budget, impatient)
	if asked := counted(func() { budget.Standing(session.ClassMint, time.Now()) }, server); len(asked) != 0 {
		t.Errorf("Redis was asked: %v", asked)
	}
}

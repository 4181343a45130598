package cache_test

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// wantSpare wants a spare turn, or an honest refusal.
func wantSpare(t *testing.T, budget *cache.Budget, want bool) {
	t.Helper()
	err := budget.Spare(t.Context(), session.ClassMint)
	switch {
	case want && err != nil:
		t.Errorf("Spare: %v, want a turn", err)
	case !want && (!errors.Is(err, session.ErrPortalRateLimited) || session.RetryAfter(err) <= 0):
		t.Errorf("Spare: %v, want ErrPortalRateLimited with a wait", err)
	}
}

// A quarter of the turns is left to those who wait for one, whoever took the others.
func TestSpareTurnsLeaveAQuarterToThoseWhoWait(t *testing.T) {
	t.Parallel()
	limit := cache.Limit{Requests: 8, Per: time.Minute}
	for name, fleet := range map[string]func(*testing.T) [2]*cache.Budget{
		"a replica on its own": func(t *testing.T) [2]*cache.Budget {
			budget := newBudget(t, "", limit, 1)
			return [2]*cache.Budget{budget, budget}
		},
		"two over Redis": func(t *testing.T) [2]*cache.Budget {
			server := redistest.Start(t)
			return [2]*cache.Budget{newBudget(t, server.URL(), limit, 2), newBudget(t, server.URL(), limit, 2)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both := fleet(t)
			one, other := both[0], both[1]
			for range 3 {
				wantTurn(t, one, impatient)
				wantSpare(t, other, true)
			}
			wantSpare(t, one, false)
			wantSpare(t, other, false)
			wantTurn(t, other, impatient)
			wantTurn(t, one, impatient)
			wantRefused(t, one)
			wantSpare(t, one, false)
		})
	}
}

func TestSpareTurnComesBackWithTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := newBudget(t, "", cache.Limit{Requests: 4, Per: time.Minute}, 1)
		for range 3 {
			wantSpare(t, budget, true)
			time.Sleep(10 * time.Second)
		}
		err := budget.Spare(t.Context(), session.ClassMint)
		if wait := session.RetryAfter(err); wait != 31*time.Second {
			t.Fatalf("Spare: %v, in %s, want in 31s", err, wait)
		}
		time.Sleep(31 * time.Second)
		wantSpare(t, budget, true)
		wantSpare(t, budget, false)
	})
}

// What is refused takes no turn from anybody.
func TestSpareTurnThatIsRefusedIsNotCounted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.URL(), cache.Limit{Requests: 4, Per: time.Minute}, 1)
	for range 3 {
		wantTurn(t, budget, impatient)
	}
	for range 20 {
		wantSpare(t, budget, false)
	}
	if n, _ := server.Do("ZCARD", turnsKey).(int64); n != 3 {
		t.Errorf("%d turns are counted, want 3", n)
	}
	wantTurn(t, budget, impatient)
}

func TestLimitOfOneHasNoSpareTurn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit cache.Limit
		want  bool
	}{
		"a limit of one": {cache.Limit{Requests: 1, Per: time.Minute}, false},
		"a limit of two": {cache.Limit{Requests: 2, Per: time.Minute}, true},
		"no limit":       {cache.Limit{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantSpare(t, newBudget(t, "", c.limit, 1), c.want)
			wantSpare(t, newBudget(t, redistest.Start(t).URL(), c.limit, 1), c.want)
		})
	}
}

func TestNoTurnIsSpareInAPause(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one, other := newBudget(t, server.URL(), cache.Limit{}, 2), newBudget(t, server.URL(), cache.Limit{}, 2)
	one.Pause(t.Context(), session.ClassMint, time.Minute)
	wantSpare(t, one, false)
	wantSpare(t, other, false)
}

// While Redis is gone, what is spare is a share of three quarters.
func TestWithoutRedisAReplicaSparesOfItsShare(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.URL(), cache.Limit{Requests: 16, Per: time.Minute}, 2)
	wantTurn(t, budget, impatient)
	server.Kill()
	// One is taken; of the other eleven that are spare five are this replica's, of the other fifteen seven.
	for range 5 {
		wantSpare(t, budget, true)
	}
	wantSpare(t, budget, false)
	for range 2 {
		wantTurn(t, budget, impatient)
	}
	wantRefused(t, budget)
}

// Of the turns to probe a tenth is left.
func TestSpareTurnsToProbeLeaveATenth(t *testing.T) {
	t.Parallel()
	for requests, want := range map[int]int{1: 0, 2: 1, 10: 9, 40: 36} {
		budget := cache.NewBudget(cache.BudgetParts{
			Limits: map[session.Class]cache.Limit{session.ClassProbe: {Requests: requests, Per: time.Minute}}, Log: slog.New(slog.DiscardHandler),
		})
		spare := 0
		for range requests {
			if budget.Spare(t.Context(), session.ClassProbe) == nil {
				spare++
			}
		}
		if spare != want {
			t.Errorf("%d of %d turns were spare, want %d", spare, requests, want)
		}
	}
}

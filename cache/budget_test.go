package cache_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	patient   = time.Minute
	impatient = time.Duration(0)
	turnsKey  = "p:{budget-mint}:turns"
)

// newBudget returns the budget of one of so many replicas, for mints; target is "" for a replica on its own.
func newBudget(t *testing.T, target string, limit cache.Limit, replicas int) *cache.Budget {
	t.Helper()
	return loggingBudget(t, target, limit, replicas, slog.New(slog.DiscardHandler))
}

// records counts what is logged.
type records struct{ atomic.Int64 }

func (r *records) Enabled(context.Context, slog.Level) bool { return true }

func (r *records) Handle(context.Context, slog.Record) error { r.Add(1); return nil }

func (r *records) WithAttrs([]slog.Attr) slog.Handler { return r }

func (r *records) WithGroup(string) slog.Handler { return r }

func loggingBudget(t *testing.T, target string, limit cache.Limit, replicas int, log *slog.Logger) *cache.Budget {
	t.Helper()
	parts := cache.BudgetParts{
		Prefix: "p", Replicas: func() int { return replicas }, Log: log,
		Limits: map[session.Class]cache.Limit{session.ClassMint: limit, session.ClassProbe: {}},
	}
	if target != "" {
		client := connect(t, target)
		await(t, "Redis to be reached", func() bool { return client.Ping(t.Context()).Err() == nil })
		parts.Client = client
	}
	return cache.NewBudget(parts)
}

// wantRefused wants no turn for a caller without patience, and an honest wait.
func wantRefused(t *testing.T, budget *cache.Budget) time.Duration {
	t.Helper()
	err := budget.Wait(t.Context(), session.ClassMint, impatient)
	var retry *session.RetryError
	if !errors.Is(err, session.ErrPortalRateLimited) || !errors.As(err, &retry) || retry.After <= 0 {
		t.Errorf("Wait: %v, want ErrPortalRateLimited with a wait", err)
		return 0
	}
	return retry.After
}

func wantTurn(t *testing.T, budget *cache.Budget, patience time.Duration) {
	t.Helper()
	if err := budget.Wait(t.Context(), session.ClassMint, patience); err != nil {
		t.Errorf("Wait: %v, want a turn", err)
	}
}

func TestFleetKeepsTheBudgetInEveryWindow(t *testing.T) {
	t.Parallel()
	const (
		per     = time.Second
		limit   = 20
		callers = 70
		// late is by how much a busy machine may be late in letting a caller go that has its turn.
		late = 400 * time.Millisecond
	)
	server := redistest.Start(t)
	var alone records
	fleet := make([]*cache.Budget, 3)
	for i := range fleet {
		fleet[i] = loggingBudget(t, server.URL(), cache.Limit{Requests: limit, Per: per}, len(fleet), slog.New(&alone))
	}
	var mu sync.Mutex
	var left []time.Time
	turns := map[string]int64{} // name -> ms
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			if err := fleet[i%len(fleet)].Wait(t.Context(), session.ClassMint, patient); err != nil {
				t.Errorf("a patient caller: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			left = append(left, time.Now())
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); group.Wait() }()
	await(t, "all callers to leave", func() bool {
		// What Redis reserved is exact, and purged as it passes.
		given, _ := server.Do("ZRANGE", turnsKey, 0, -1, "WITHSCORES").([]any)
		for _, turn := range given {
			turn := turn.([]any)
			turns[turn[0].(string)] = int64(turn[1].(float64))
		}
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	reserved := make([]int64, 0, len(turns))
	for _, turn := range turns {
		reserved = append(reserved, turn)
	}
	slices.Sort(reserved)
	for i := range max(len(reserved)-limit, 0) {
		if span := reserved[i+limit] - reserved[i]; span < per.Milliseconds() {
			t.Errorf("%d turns were reserved within %d ms", limit+1, span)
		}
	}
	if alone.Load() > 0 {
		t.Skip("this machine is too busy for Redis to answer in time; replicas counted alone for a while")
	}
	slices.SortFunc(left, time.Time.Compare)
	for i := range max(len(left)-limit, 0) {
		if span := left[i+limit].Sub(left[i]); span < per-late {
			t.Errorf("%d callers left within %s", limit+1, span)
		}
	}
	if len(reserved) < callers-limit || len(left) != callers {
		t.Errorf("%d turns were seen, %d callers left, of %d", len(reserved), len(left), callers)
	}
}

func TestTurnsAreFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limit := cache.Limit{Requests: 1, Per: 200 * time.Millisecond}
	one, two := newBudget(t, server.URL(), limit, 2), newBudget(t, server.URL(), limit, 2)
	order := make(chan int, 6)
	var group sync.WaitGroup
	for i := range cap(order) {
		group.Go(func() {
			budget := one
			if i%2 == 1 {
				budget = two
			}
			wantTurn(t, budget, patient)
			order <- i
		})
		await(t, "its turn to be reserved", func() bool { return reservedSince(server) > i })
	}
	group.Wait()
	close(order)
	for want := range cap(order) {
		if got := <-order; got != want {
			t.Errorf("caller %d left in the place of caller %d", got, want)
		}
	}
}

// reservedSince returns how many turns were ever reserved.
func reservedSince(server *redistest.Server) int {
	text, _ := server.Do("INFO", "commandstats").(string)
	for _, line := range callsPattern.FindAllStringSubmatch(text, -1) {
		if line[1] == "zadd" {
			n, _ := strconv.Atoi(line[2])
			return n
		}
	}
	return 0
}

func TestCallerWhosePatienceIsExceededIsRefusedAtOnceAndTakesNoTurn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limit := cache.Limit{Requests: 2, Per: hour}
	for name, target := range map[string]string{"in a fleet": server.URL(), "alone": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			budget := newBudget(t, target, limit, 1)
			wantTurn(t, budget, impatient)
			wantTurn(t, budget, impatient)
			first := wantRefused(t, budget)
			if first > hour+2*time.Minute || first < hour-5*time.Minute {
				t.Errorf("told to wait %s, want about an hour", first)
			}
			for range 10 {
				if again := wantRefused(t, budget); again > first {
					t.Errorf("told to wait %s, then %s: who was refused took a turn", first, again)
				}
			}
			if err := budget.Wait(t.Context(), session.ClassMint, time.Minute); !errors.Is(err, session.ErrPortalRateLimited) {
				t.Errorf("Wait with a minute's patience: %v", err)
			}
			if err := budget.Wait(t.Context(), session.ClassProbe, impatient); err != nil {
				t.Errorf("Wait of another class: %v", err)
			}
		})
	}
}

func TestPauseOfOneReplicaStopsAll(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		asked       time.Duration
		times       int
		least, most time.Duration
	}{
		"for as long as Portal said":            {asked: time.Minute, times: 1, least: 40 * time.Second, most: time.Minute},
		"a longer one that Portal said counts":  {asked: 10 * time.Minute, times: 2, least: 9 * time.Minute, most: 10 * time.Minute},
		"for a second, if it did not say":       {times: 1, least: time.Millisecond, most: time.Second},
		"once for all answers of the same time": {times: 5, least: time.Millisecond, most: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			here, there := newBudget(t, server.URL(), cache.Limit{}, 2), newBudget(t, server.URL(), cache.Limit{}, 2)
			wantTurn(t, there, impatient)
			for range c.times {
				here.Pause(t.Context(), session.ClassMint, c.asked)
			}
			for _, budget := range []*cache.Budget{here, there} {
				if got := wantRefused(t, budget); got < c.least || got > c.most {
					t.Errorf("told to wait %s, want %s to %s", got, c.least, c.most)
				}
				if err := budget.Wait(t.Context(), session.ClassProbe, impatient); err != nil {
					t.Errorf("Wait of another class: %v", err)
				}
			}
		})
	}
}

func TestPausesOfTheFleetGrow(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	fleet := []*cache.Budget{newBudget(t, server.URL(), cache.Limit{}, 2), newBudget(t, server.URL(), cache.Limit{}, 2)}
	for i, seconds := range []int64{1, 2, 4, 4, 4} {
		fleet[i%2].Pause(t.Context(), session.ClassMint, 0)
		if ms := server.Do("PTTL", "p:{budget-mint}:pause").(int64); ms > seconds*1000 || ms <= seconds*500 {
			t.Errorf("pause %d lasts %d ms, want %d s", i+1, ms, seconds)
		}
		server.Do("DEL", "p:{budget-mint}:pause") // as if it were over
	}
}

func TestWhoWaitsThroughAPauseTakesAnotherTurn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limit := cache.Limit{Requests: 1, Per: 300 * time.Millisecond}
	budget, other := newBudget(t, server.URL(), limit, 2), newBudget(t, server.URL(), limit, 2)
	wantTurn(t, budget, impatient)
	const waiting = 3
	var mu sync.Mutex
	var left []time.Time
	var group sync.WaitGroup
	for range waiting {
		group.Go(func() {
			wantTurn(t, budget, patient)
			mu.Lock()
			defer mu.Unlock()
			left = append(left, time.Now())
		})
	}
	await(t, "all to wait", func() bool { return reservedSince(server) > waiting })
	paused := time.Now()
	other.Pause(t.Context(), session.ClassMint, 1500*time.Millisecond)
	group.Wait()
	slices.SortFunc(left, time.Time.Compare)
	const late = 150 * time.Millisecond
	for i, at := range left {
		// The first may have had its turn before the pause was known.
		if i > 0 && at.Sub(paused) < time.Second {
			t.Errorf("caller %d left %s after a pause of 1.5 s began", i, at.Sub(paused))
		}
		if i > 0 && at.Sub(left[i-1]) < limit.Per-late {
			t.Errorf("caller %d left %s after the one before", i, at.Sub(left[i-1]))
		}
	}
}

func TestCallerWhoLeavesGetsNoTurn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, target := range map[string]string{"in a fleet": server.URL(), "alone": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			budget := newBudget(t, target, cache.Limit{Requests: 1, Per: 10 * time.Second}, 1)
			wantTurn(t, budget, impatient)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := budget.Wait(ctx, session.ClassMint, patient); err == nil {
				t.Error("a caller whose time was over got a turn")
			}
		})
	}
}

func TestWithoutRedisEachReplicaTakesItsShare(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		requests, replicas, taken int
		want                      int
	}{
		"of three":                         {requests: 20, replicas: 3, want: 6},
		"on its own":                       {requests: 20, replicas: 1, want: 20},
		"of none known":                    {requests: 20, replicas: 0, want: 20},
		"of more than there are requests":  {requests: 2, replicas: 5, want: 1},
		"of what was left when Redis went": {requests: 20, replicas: 4, taken: 3, want: 4},
		"of nothing left":                  {requests: 20, replicas: 4, taken: 20, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			budget := newBudget(t, server.URL(), cache.Limit{Requests: c.requests, Per: hour}, c.replicas)
			for range c.taken {
				wantTurn(t, budget, impatient)
			}
			server.Kill()
			for range c.want {
				wantTurn(t, budget, impatient)
			}
			wantRefused(t, budget)
		})
	}
}

func TestTurnThatWasRefusedIsNotCountedWhenRedisIsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limit := cache.Limit{Requests: 4, Per: hour}
	here, there := newBudget(t, server.URL(), limit, 2), newBudget(t, server.URL(), limit, 2)
	for range limit.Requests {
		wantTurn(t, there, impatient)
	}
	for range 10 {
		wantRefused(t, here)
	}
	server.Kill()
	if wait := wantRefused(t, here); wait > hour+hour/60 || wait < hour-time.Minute {
		t.Errorf("told to wait %s, want it until the window is over in which the fleet took all", wait)
	}
}

func TestPauseHoldsWhileRedisIsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.URL(), cache.Limit{Requests: 20, Per: hour}, 1)
	server.Kill()
	budget.Pause(t.Context(), session.ClassMint, time.Minute)
	if got := wantRefused(t, budget); got > time.Minute {
		t.Errorf("told to wait %s, want a minute at most", got)
	}
}

func TestNoLimitIsNone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, target := range map[string]string{"in a fleet": server.URL(), "alone": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			budget := newBudget(t, target, cache.Limit{}, 3)
			for range 200 {
				wantTurn(t, budget, impatient)
			}
		})
	}
}

// TestBudgetHoldsThoughRedisLosesIt has a fleet take all turns of a minute, with Redis there, without it, and with one that
// knows nothing any more. Whatever happens, no replica has it give more.
func TestBudgetHoldsThoughRedisLosesIt(t *testing.T) {
	t.Parallel()
	limit := cache.Limit{Requests: 12, Per: time.Minute}
	for name, lose := range map[string]func(server *redistest.Server, fleet []*cache.Budget){
		"wiped": func(server *redistest.Server, _ []*cache.Budget) { server.Do("FLUSHALL") },
		"wiped, and each replica's monitor looked": func(server *redistest.Server, fleet []*cache.Budget) {
			server.Do("FLUSHALL")
			for _, budget := range fleet {
				budget.Tell(t.Context())
			}
		},
		"away, and back with nothing": func(server *redistest.Server, fleet []*cache.Budget) {
			for _, budget := range fleet {
				budget.Tell(t.Context()) // as the monitor does: so each knows what the fleet took
			}
			server.Kill()
			for _, budget := range fleet {
				wantTurn(t, budget, impatient)
			}
			server.Restart()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			fleet := []*cache.Budget{newBudget(t, server.URL(), limit, 3), newBudget(t, server.URL(), limit, 3), newBudget(t, server.URL(), limit, 3)}
			for i := range 6 {
				wantTurn(t, fleet[i%3], impatient)
			}
			before := 6
			lose(server, fleet)
			if strings.HasPrefix(name, "away") {
				before += len(fleet)
			}
			// Who has turns that are not known tells of them, and all wait until the others have told of theirs.
			await(t, "Redis to be reached", func() bool { return fleet[0].Wait(t.Context(), session.ClassProbe, impatient) == nil })
			for _, budget := range fleet {
				wantRefused(t, budget)
				budget.Tell(t.Context())
			}
			server.Do("DEL", "p:{budget-mint}:pause")
			given := 0
			for i := range 3 * limit.Requests {
				if fleet[i%3].Wait(t.Context(), session.ClassMint, impatient) == nil {
					given++
				}
			}
			if got := before + given; got != limit.Requests {
				t.Errorf("%d turns were given within a minute, want %d", got, limit.Requests)
			}
		})
	}
}

func TestWhoIsBarredForTheKeysSakeIsToldSoOnEveryReplica(t *testing.T) {
	t.Parallel()
	for name, replicas := range map[string]func(*testing.T) []*cache.Budget{
		"in a fleet": func(t *testing.T) []*cache.Budget {
			server := redistest.Start(t)
			limit := cache.Limit{Requests: 5, Per: hour}
			return []*cache.Budget{newBudget(t, server.URL(), limit, 2), newBudget(t, server.URL(), limit, 2)}
		},
		"alone": func(t *testing.T) []*cache.Budget { return []*cache.Budget{newBudget(t, "", cache.Limit{}, 1)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fleet := replicas(t)
			wantTurn(t, fleet[len(fleet)-1], impatient)
			fleet[0].Bar(t.Context(), session.ClassMint)
			for _, budget := range fleet {
				err := budget.Wait(t.Context(), session.ClassMint, impatient)
				if !errors.Is(err, session.ErrPortalUnauthorized) || session.RetryAfter(err) <= 0 {
					t.Errorf("Wait: %v; want ErrPortalUnauthorized, with a wait", err)
				}
				if err := budget.Wait(t.Context(), session.ClassProbe, impatient); err != nil {
					t.Errorf("Wait of another class: %v", err)
				}
			}
			fleet[0].Pause(t.Context(), session.ClassMint, time.Minute)
			for _, budget := range fleet {
				wantRefused(t, budget)
			}
		})
	}
}

func TestReplicaThatTookNoTurnKnowsThatRedisLostThem(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limit := cache.Limit{Requests: 12, Per: time.Minute}
	busy, idle := newBudget(t, server.URL(), limit, 2), newBudget(t, server.URL(), limit, 2)
	for range limit.Requests {
		wantTurn(t, busy, impatient)
	}
	idle.Tell(t.Context()) // its monitor looked: it knows that the fleet took all
	wantRefused(t, idle)
	server.Do("FLUSHALL")
	given := 0
	for range limit.Requests {
		if idle.Wait(t.Context(), session.ClassMint, impatient) == nil {
			given++
		}
	}
	if given > 0 {
		t.Errorf("%d turns too many in the minute", given)
	}
}

func TestPauseThatRedisDidNotHearOfOrLostIsToldAgain(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]func(*redistest.Server, func()){
		"redis failed in that moment": func(s *redistest.Server, pause func()) { s.Kill(); pause(); s.Restart() },
		"redis was wiped since":       func(s *redistest.Server, pause func()) { pause(); s.Do("FLUSHALL") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			b := newBudget(t, server.URL(), cache.Limit{Requests: 20, Per: time.Minute}, 1)
			step(server, func() { b.Pause(t.Context(), session.ClassMint, time.Minute) })
			await(t, "Redis", func() bool { return b.Wait(t.Context(), session.ClassProbe, impatient) == nil })
			b.Tell(t.Context())
			wantRefused(t, b)
		})
	}
}

func TestTurnGivenUpInAPauseIsNotTold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	limit := cache.Limit{Requests: 1, Per: 600 * time.Millisecond}
	here, there := newBudget(t, server.URL(), limit, 2), newBudget(t, server.URL(), limit, 2)
	wantTurn(t, here, impatient)
	done := make(chan error, 1)
	go func() { done <- here.Wait(t.Context(), session.ClassMint, 900*time.Millisecond) }()
	await(t, "it to wait", func() bool { return server.Do("ZCARD", turnsKey).(int64) == 2 })
	there.Pause(t.Context(), session.ClassMint, 10*time.Second)
	if err := <-done; err == nil {
		t.Fatal("got a turn in a pause")
	}
	server.Do("DEL", "p:{budget-mint}:pause") // it is over
	here.Tell(t.Context())                    // the monitor's look
	wantTurn(t, here, impatient)
}

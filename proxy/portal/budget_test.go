package portal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// newBudget returns a Budget with the same limit for all, by the clock of package time.
func newBudget(next session.Portal, limit cache.Limit) *portal.Paced {
	return portal.NewPaced(next, cache.NewBudget(cache.BudgetParts{
		Limits: map[session.Class]cache.Limit{session.ClassMint: limit, session.ClassProbe: limit}, Log: slog.New(slog.DiscardHandler),
	}))
}

// perMinute lets one request leave at once and the next after a minute and the slack of a second.
var perMinute = cache.Limit{Requests: 1, Per: time.Minute}

const nextTurn = 61 * time.Second

// visitor is one caller of a Budget.
type visitor struct {
	// after is how long after the one before it comes.
	after time.Duration
	// deadline and leaves are how long after its coming its time is over, and it goes away; 0 is never.
	deadline, leaves time.Duration
	operation        portaltest.Operation
}

// visit is how that went.
type visit struct {
	visitor
	came, returned time.Time
	left           time.Time // for Portal; zero if it never did
	err            error
}

// visits lets the visitors come to a Budget with the limit, one after the other. It must run in a bubble.
func visits(limit cache.Limit, visitors []visitor) []visit {
	next := &scripted{}
	budget := newBudget(next, limit)
	all := make([]visit, len(visitors))
	var group sync.WaitGroup
	for i, v := range visitors {
		time.Sleep(v.after)
		group.Go(func() { all[i] = v.visit(budget, fmt.Sprint(i)) })
		synctest.Wait() // it stands in line now, or is through
	}
	group.Wait()
	for _, d := range next.departures() {
		var i int
		switch asked := d.asked.(type) {
		case wish:
			_, _ = fmt.Sscan(string(asked.client), &i)
		case session.Registration:
			_, _ = fmt.Sscan(asked.Key, &i)
		}
		all[i].left = d.at
	}
	return all
}

func (v visitor) visit(p session.Portal, name string) visit {
	done := visit{visitor: v, came: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if v.deadline != 0 {
		ctx, cancel = context.WithTimeout(ctx, v.deadline)
		defer cancel()
	}
	if v.leaves != 0 {
		defer time.AfterFunc(v.leaves, cancel).Stop()
	}
	if v.operation == portaltest.Mint {
		_, done.err = p.Mint(ctx, session.ClientID(name), session.Absent)
	} else {
		_, done.err = p.Register(ctx, session.Registration{Key: name})
	}
	done.returned = time.Now()
	return done
}

// draw returns a limit, and visitors who come in crowds and in drips.
func draw(t *rapid.T) (cache.Limit, []visitor) {
	ms := func(least, most int, label string) time.Duration {
		return time.Duration(rapid.IntRange(least, most).Draw(t, label)) * time.Millisecond
	}
	limit := cache.Limit{Requests: rapid.IntRange(1, 5).Draw(t, "requests"), Per: ms(60, 60_000, "per")}
	per := int(limit.Per.Milliseconds())
	leavers := rapid.Bool().Draw(t, "some leave")
	visitors := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) visitor {
		v := visitor{operation: rapid.SampledFrom([]portaltest.Operation{portaltest.Mint, portaltest.Register}).Draw(t, "operation")}
		if rapid.Bool().Draw(t, "comes later") {
			v.after = ms(0, per, "after")
		}
		if rapid.Bool().Draw(t, "has a deadline") {
			v.deadline = ms(1, 5*per, "deadline")
		}
		if leavers && rapid.Bool().Draw(t, "leaves") {
			v.leaves = ms(1, per, "leaves")
		}
		return v
	}), 1, 40).Draw(t, "visitors")
	return limit, visitors
}

func TestNoStretchOfTimeHoldsMoreRequestsThanTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		limit, visitors := draw(r)
		var all []visit
		synctest.Test(t, func(*testing.T) { all = visits(limit, visitors) })
		var departures []time.Time
		patient := true
		for i, v := range all {
			v.check(r, i, limit)
			patient = patient && v.leaves == 0
			if v.left.IsZero() {
				continue
			}
			if n := len(departures); n > 0 && v.left.Before(departures[n-1]) {
				r.Errorf("visitor %d left before one who came earlier", i)
			}
			departures = append(departures, v.left)
		}
		for i := range max(0, len(departures)-limit.Requests) {
			first, last := departures[i], departures[i+limit.Requests]
			if gap := last.Sub(first); gap <= limit.Per {
				r.Errorf("%d requests left within %s, only %d may within %s", limit.Requests+1, gap, limit.Requests, limit.Per)
			}
		}
		if patient {
			checkNoIdleTurn(r, limit, slices.DeleteFunc(all, func(v visit) bool { return v.left.IsZero() }))
		}
	})
}

// check wants the visit to have ended in one of the three ways.
func (v visit) check(r *rapid.T, i int, limit cache.Limit) {
	wait := session.RetryAfter(v.err)
	switch {
	case v.err == nil:
		if !v.left.Equal(v.returned) {
			r.Errorf("visitor %d came back at %s and left at %s", i, v.returned, v.left)
		}
		if v.deadline != 0 && v.left.Sub(v.came) > v.deadline/2 {
			r.Errorf("visitor %d left after %s of %s", i, v.left.Sub(v.came), v.deadline)
		}
	case errors.Is(v.err, session.ErrPortalRateLimited):
		if !v.left.IsZero() || !v.returned.Equal(v.came) {
			r.Errorf("visitor %d was refused after %s", i, v.returned.Sub(v.came))
		}
		if wait <= v.deadline/2 {
			r.Errorf("visitor %d was refused for %s, with %s to spare", i, wait, v.deadline)
		}
	case errors.Is(v.err, context.Canceled):
		if !v.left.IsZero() || v.leaves == 0 || v.returned.Sub(v.came) != v.leaves {
			r.Errorf("visitor %d went away after %s instead of %s", i, v.returned.Sub(v.came), v.leaves)
		}
	default:
		r.Errorf("visitor %d: %v", i, v.err)
	}
}

// checkNoIdleTurn wants nobody to have waited while fewer than the limit had left: all gone, none of them went away.
func checkNoIdleTurn(r *rapid.T, limit cache.Limit, gone []visit) {
	for i, v := range gone {
		if v.left.Equal(v.came) {
			continue
		}
		if i < limit.Requests {
			r.Errorf("the %d. to leave waited for %s", i+1, v.left.Sub(v.came))
			continue
		}
		if gap, most := v.left.Sub(gone[i-limit.Requests].left), limit.Per+limit.Per/60; gap > most {
			r.Errorf("the %d. to leave waited until %s after the one whose turn it took, %s would have done", i+1, gap, most)
		}
	}
}

// inProcess asks the simulated Portal without a network, but as late as one may make it.
type inProcess struct {
	session.Portal
	sim *portaltest.Portal
}

func (p inProcess) Mint(ctx context.Context, client session.ClientID, _ session.Reason) (session.Token, error) {
	time.Sleep(rand.N(time.Second))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, portal.V1.Clients+"/"+string(client)+portal.V1.Session, strings.NewReader("{}"))
	r.Header.Set("Authorization", "Bearer "+portaltest.DefaultKey)
	w := httptest.NewRecorder()
	p.sim.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return session.Token{}, session.ErrPortalBadResponse
	}
	return held, nil
}

func TestPortalsOwnLimitIsNeverMet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit, callers = 200, 1000
		sim := portaltest.New(portaltest.Options{AnyClient: true, RateLimit: limit})
		budget := newBudget(inProcess{sim: sim}, cache.Limit{Requests: limit, Per: time.Minute})
		began := time.Now()
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if _, err := budget.Mint(ctx, alice, session.Absent); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if s := sim.Stats(); s.Mints != callers || s.RateLimited != 0 {
			t.Errorf("Portal did %+v", s)
		}
		if took := time.Since(began); took > callers/limit*time.Minute {
			t.Errorf("took %s: the limit wasn't used up", took)
		}
	})
}

func TestMintsAndRegistrationsShareTheirTurns(t *testing.T) {
	t.Parallel()
	for _, first := range []portaltest.Operation{portaltest.Mint, portaltest.Register} {
		for _, second := range []portaltest.Operation{portaltest.Mint, portaltest.Register} {
			t.Run(fmt.Sprintf("%s, then %s", first, second), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					all := visits(perMinute, []visitor{{operation: first}, {operation: second, deadline: time.Hour}})
					if waited := all[1].left.Sub(all[1].came); all[1].err != nil || waited != nextTurn {
						t.Errorf("the second left after %s, %v", waited, all[1].err)
					}
				})
			})
		}
	}
}

func TestProbesHaveTurnsOfTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &scripted{}
		budget := newBudget(next, perMinute)
		for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Probe} {
			_, err := operations[operation](t.Context(), budget, held)
			wantError(t, err, nil)
		}
		for operation, ask := range operations {
			_, err := ask(t.Context(), budget, held)
			wantError(t, err, session.ErrPortalRateLimited)
			if wait := session.RetryAfter(err); wait != nextTurn {
				t.Errorf("%s: to come back in %s", operation, wait)
			}
		}
		if n := len(next.departures()); n != 2 {
			t.Errorf("%d requests left", n)
		}
	})
}

func TestProbeNeverWaits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		limit := cache.Limit{Requests: rapid.IntRange(1, 5).Draw(r, "requests"), Per: time.Minute}
		gaps := rapid.SliceOfN(rapid.IntRange(0, 40), 1, 60).Draw(r, "seconds between probes")
		var departures []time.Time
		var faults []string
		synctest.Test(t, func(t *testing.T) {
			next := &scripted{}
			budget := newBudget(next, limit)
			for i, gap := range gaps {
				time.Sleep(time.Duration(gap) * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				came := time.Now()
				err := budget.Probe(ctx, held)
				cancel()
				if waited := time.Since(came); waited != 0 {
					faults = append(faults, fmt.Sprintf("probe %d waited for %s", i, waited))
				}
				if refused := errors.Is(err, session.ErrPortalRateLimited); refused != (session.RetryAfter(err) > 0) || refused != (err != nil) {
					faults = append(faults, fmt.Sprintf("probe %d: %v", i, err))
				}
			}
			for _, d := range next.departures() {
				departures = append(departures, d.at)
			}
		})
		for i := range max(0, len(departures)-limit.Requests) {
			if gap := departures[i+limit.Requests].Sub(departures[i]); gap <= limit.Per {
				faults = append(faults, fmt.Sprintf("%d probes left within %s", limit.Requests+1, gap))
			}
		}
		if len(faults) > 0 {
			r.Error(strings.Join(faults, "\n"))
		}
	})
}

func TestTurnIsWaitedForIfHalfOfTheTimeRemains(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		deadline time.Duration
		waits    bool
	}{
		"much more remains":    {time.Hour, true},
		"a moment more":        {2*nextTurn + 2, true},
		"just half":            {2 * nextTurn, true},
		"a moment less":        {2*nextTurn - 2, false},
		"the turn is just in":  {nextTurn, false},
		"it would come late":   {time.Second, false},
		"the deadline is over": {-time.Second, false},
	} {
		for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Register} {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					all := visits(perMinute, []visitor{{operation: operation}, {operation: operation, deadline: tc.deadline}})
					v := all[1]
					if tc.waits {
						wantError(t, v.err, nil)
						if waited := v.left.Sub(v.came); waited != nextTurn {
							t.Errorf("left after %s", waited)
						}
						return
					}
					wantError(t, v.err, session.ErrPortalRateLimited)
					if waited, wait := v.returned.Sub(v.came), session.RetryAfter(v.err); waited != 0 || wait != nextTurn || !v.left.IsZero() {
						t.Errorf("refused after %s, for %s", waited, wait)
					}
				})
			})
		}
	}
}

func TestWhoComesBackWhenToldLeavesAtOnce(t *testing.T) {
	t.Parallel()
	for operation, ask := range operations {
		for name, wait := range map[string]time.Duration{
			"after as long as it was told": 0, "a second sooner": -time.Second,
		} {
			t.Run(fmt.Sprintf("%s to %s", name, operation), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					next := &scripted{}
					budget := newBudget(next, cache.Limit{Requests: 3, Per: time.Minute})
					hasty := func() error {
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						_, err := ask(ctx, budget, held)
						return err
					}
					for range 3 {
						wantError(t, hasty(), nil)
						time.Sleep(7 * time.Second)
					}
					err := hasty()
					wantError(t, err, session.ErrPortalRateLimited)
					time.Sleep(session.RetryAfter(err) + wait)
					came := time.Now()
					if err = hasty(); wait < 0 {
						wantError(t, err, session.ErrPortalRateLimited)
						return
					}
					wantError(t, err, nil)
					if waited := time.Since(came); waited != 0 {
						t.Errorf("waited for %s", waited)
					}
				})
			})
		}
	}
}

func TestWhoIsRefusedTakesNoTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		visitors := []visitor{{operation: portaltest.Mint}}
		for range 100 {
			visitors = append(visitors, visitor{operation: portaltest.Mint, deadline: time.Second})
		}
		visitors = append(visitors, visitor{operation: portaltest.Mint, deadline: time.Hour})
		all := visits(perMinute, visitors)
		for _, v := range all[1:101] {
			wantError(t, v.err, session.ErrPortalRateLimited)
			if wait := session.RetryAfter(v.err); wait != nextTurn {
				t.Errorf("to come back in %s", wait)
			}
		}
		if last := all[101]; last.err != nil || last.left.Sub(last.came) != nextTurn {
			t.Errorf("the last left after %s, %v", last.left.Sub(last.came), last.err)
		}
	})
}

func TestFirstToComeIsFirstToLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		visitors := slices.Repeat([]visitor{
			{operation: portaltest.Mint, deadline: time.Hour, after: time.Millisecond},
			{operation: portaltest.Register, deadline: 2 * time.Hour, after: time.Millisecond},
		}, 10)
		all := visits(cache.Limit{Requests: 2, Per: time.Minute}, visitors)
		for i, v := range all[1:] {
			if v.err != nil || v.left.Before(all[i].left) {
				t.Errorf("%d left at %s, the one before it at %s: %v", i+1, v.left, all[i].left, v.err)
			}
		}
	})
}

func TestCallerWhoLeavesTheLineDoesSoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := visits(perMinute, []visitor{
			{operation: portaltest.Mint},
			{operation: portaltest.Mint, deadline: time.Hour, leaves: time.Second},
			{operation: portaltest.Mint, deadline: time.Hour},
		})
		leaver, patient := all[1], all[2]
		wantError(t, leaver.err, context.Canceled)
		if waited := leaver.returned.Sub(leaver.came); waited != time.Second || !leaver.left.IsZero() {
			t.Errorf("the leaver was gone after %s, asking at %s", waited, leaver.left)
		}
		wantError(t, patient.err, nil)
		if waited := patient.left.Sub(patient.came); waited < nextTurn || waited > 2*nextTurn {
			t.Errorf("the other left after %s", waited)
		}
	})
}

func TestNoLimitIsNone(t *testing.T) {
	t.Parallel()
	for operation, ask := range operations {
		t.Run(string(operation), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := &scripted{}
				budget := newBudget(next, cache.Limit{})
				began := time.Now()
				for range 1000 {
					_, err := ask(t.Context(), budget, held)
					wantError(t, err, nil)
				}
				late, cancel := context.WithDeadline(t.Context(), began.Add(-time.Second))
				defer cancel()
				_, err := ask(late, budget, held) // is for the next one to judge
				wantError(t, err, nil)
				if took := time.Since(began); took != 0 {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// Whose time is over is not told that the budget is spent while it is not.
func TestFreeTurnIsNotRefused(t *testing.T) {
	t.Parallel()
	for operation, ask := range operations {
		for name, left := range map[string]time.Duration{"a moment before the deadline": 1, "at the deadline": 0, "after it": -time.Second} {
			t.Run(name+" to "+string(operation), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(left))
					defer cancel()
					_, err := ask(ctx, newBudget(&scripted{}, perMinute), held)
					wantError(t, err, nil)
				})
			})
		}
	}
}

func TestFailuresTakeTheirTurnsToo(t *testing.T) {
	t.Parallel()
	for operation, ask := range operations {
		t.Run(string(operation), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				budget := newBudget(&scripted{fails: always(session.ErrPortalTimeout)}, perMinute)
				_, err := ask(t.Context(), budget, held)
				wantError(t, err, session.ErrPortalTimeout)
				_, err = ask(t.Context(), budget, held)
				wantError(t, err, session.ErrPortalRateLimited)
			})
		})
	}
}

func TestRetryPaysForItself(t *testing.T) {
	t.Parallel()
	for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Probe} {
		t.Run(string(operation), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := &scripted{fails: always(session.ErrPortalUnavailable)}
				retry := seasoned(newBudget(next, cache.Limit{Requests: 3, Per: time.Minute}))
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				for _, want := range []error{session.ErrPortalUnavailable, session.ErrPortalRateLimited} {
					_, err := operations[operation](ctx, retry, held)
					wantError(t, err, want)
				}
				if n := len(next.departures()); n != 3 {
					t.Errorf("%d requests left", n)
				}
			})
		})
	}
}

// A mint that nobody waits for takes what is spare, and does not wait for more; those who wait get the rest.
func TestMintAheadLeavesAQuarterOfTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &scripted{}
		budget := newBudget(next, cache.Limit{Requests: 4, Per: time.Minute})
		mint := func(reason session.Reason) error {
			_, err := budget.Mint(t.Context(), alice, reason)
			return err
		}
		for range 3 {
			if err := mint(session.Ahead); err != nil {
				t.Errorf("a spare turn: %v", err)
			}
		}
		if err := mint(session.Ahead); !errors.Is(err, session.ErrPortalRateLimited) {
			t.Errorf("the last turn: %v, want ErrPortalRateLimited", err)
		}
		if err := mint(session.IdleExpired); err != nil {
			t.Errorf("who waits: %v", err)
		}
		if n := len(next.departures()); n != 4 {
			t.Errorf("%d requests left, want 4", n)
		}
	})
}

// Nor does a probe that nobody waits for; one that a caller waits for gets the last turn.
func TestUnhurriedProbeLeavesATurnToThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &scripted{}
		budget := newBudget(next, cache.Limit{Requests: 4, Per: time.Minute})
		unhurried := session.Unhurried(t.Context())
		for range 3 {
			wantError(t, budget.Probe(unhurried, held), nil)
		}
		wantError(t, budget.Probe(unhurried, held), session.ErrNoneSpare)
		wantError(t, budget.Probe(t.Context(), held), nil)
		wantError(t, budget.Probe(t.Context(), held), session.ErrPortalRateLimited)
		if n := len(next.departures()); n != 4 {
			t.Errorf("%d requests left, want 4", n)
		}
	})
}

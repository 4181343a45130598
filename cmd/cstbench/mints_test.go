package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

var (
	mintsForm   = flag.String("mints", "short", "the `FORM` of TestMintCost: short, or full, which takes minutes and leaves its figures in -results")
	mintResults = flag.String("results", "", "the `FOLDER` where TestMintCost leaves the figures of its full form")
)

// course is a run to be made.
type course struct {
	pattern  string
	habit    habit
	clients  int
	days     int
	replicas int
	// ahead is CSTPROXY_MINT_AHEAD.
	ahead time.Duration
	// fleet makes the fleet; nil is one that shares a store in memory.
	fleet func(testing.TB, course) *fleet
	store string
}

// mintSeed makes a trace what it is.
const mintSeed = 20261122

func (c course) name() string {
	name := fmt.Sprintf("%s, %d clients for %d days, %d replicas on %s", c.pattern, c.clients, c.days, c.replicas, c.store)
	if c.ahead > 0 {
		name += ", ahead " + c.ahead.String()
	}
	return name
}

func (c course) life() session.Lifetime {
	life := shippedLife()
	life.MintAhead = c.ahead
	return life
}

// asked is a fetch to be made.
type askedFetch struct {
	on     *replica
	client session.ClientID
}

// play has the fleet asked as the trace has it, and returns what others would have minted.
func (c course) play(ctx context.Context, f *fleet) tally {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	book := newBook(ruleOf(f.life), c.clients, c.days)
	trace := newTrace(c.habit, mintSeed, c.clients)
	ids := make([]session.ClientID, c.clients)
	for i := range ids {
		ids[i] = session.ClientID(fmt.Sprintf("c%024d", i))
	}
	idle := make(chan askedFetch)
	for day := range c.days {
		for n, e := range trace.day(day) {
			book.add(e)
			f.sleep(time.Duration(e.at) * time.Second)
			next := askedFetch{f.replicas[(n+int(e.at))%len(f.replicas)], ids[e.client]}
			select {
			case idle <- next:
			default:
				go f.serve(ctx, next, idle)
			}
		}
	}
	f.sleep(f.now() + time.Hour)
	return book.close()
}

// serve makes a fetch, and others when it is done, until ctx ends: a goroutine for each would take longer.
func (f *fleet) serve(ctx context.Context, next askedFetch, idle <-chan askedFetch) {
	for {
		f.fetch(ctx, next.on, next.client)
		select {
		case next = <-idle:
		case <-ctx.Done():
			return
		}
	}
}

func (f *fleet) now() time.Duration { return time.Since(f.books.began) }

// sleep lets time pass until then.
func (f *fleet) sleep(then time.Duration) {
	if left := then - f.now(); left > 0 {
		time.Sleep(left)
		if f.passed != nil {
			f.passed()
		}
	}
}

// run makes the run, in a bubble in which time passes as fast as it can be simulated.
func (c course) run(t *testing.T) (r mintRun) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := c.newFleet(t)
		seen := c.play(t.Context(), f)
		f.end(t.Context())
		synctest.Wait()
		r = c.figures(f, seen)
		if f.books.failed != nil {
			t.Error(f.books.failed)
		}
		if stats := f.portal.counts(); int64(stats.Mints) != r.All.Proxy || stats.Unauthorized > 0 {
			t.Errorf("Portal minted %d, and %d were counted; it refused %d", stats.Mints, r.All.Proxy, stats.Unauthorized)
		}
		if served := f.books.fetches.Load(); served != seen.Fetches {
			t.Errorf("%d of %d fetches were served", served, seen.Fetches)
		}
	})
	return r
}

func (c course) newFleet(tb testing.TB) *fleet {
	tb.Helper()
	if c.fleet != nil {
		return c.fleet(tb, c)
	}
	return inMemory(newPlain(), c)
}

// inMemory is a fleet that shares a store in memory.
func inMemory(portal simulated, c course) *fleet {
	return newFleet(c.life(), portal, linked(c.life(), c.replicas, 4*c.clients))
}

func (c course) figures(f *fleet, seen tally) mintRun {
	stats, b := f.portal.counts(), f.books
	r := mintRun{
		Pattern: c.pattern, Clients: c.clients, Days: c.days, Replicas: c.replicas, Store: c.store, AheadHours: c.ahead.Hours(),
		Fetches: seen.Fetches, UserDays: seen.UserDays, UserWeeks: seen.UserWeeks, All: seen.all, Weeks: seen.weeks,
		Reasons: map[string]int64{}, Probes: int64(stats.Probes), Over: int64(stats.RateLimited),
		Expired: b.expired.Load(), Deferred: b.deferred.Load(),
	}
	for reason, count := range b.mints {
		r.Reasons[string(reason)] = count
		r.All.Proxy += count
	}
	for _, count := range b.hourly[:min(len(b.hourly), c.days/7*7*24)] {
		r.Weeks.Proxy += count
	}
	r.Waits = countWaits(b.waits, seen.Fetches, 0, math.MaxInt64)
	if _, ok := c.habit.(launch); ok {
		r.Renewal = b.renewal()
	}
	return r
}

// countWaits counts how long those of so many fetches took that began in that time.
func countWaits(waits []wait, fetches int64, from, to time.Duration) waitCounts {
	c := waitCounts{AtOnce: fetches}
	for _, w := range waits {
		if w.at < from || w.at >= to {
			continue
		}
		c.AtOnce--
		c.LongestSeconds = max(c.LongestSeconds, w.long.Seconds())
		switch {
		case w.long <= time.Second:
			c.Second++
		case w.long <= 10*time.Second:
			c.Ten++
		case w.long <= time.Minute:
			c.Minute++
		default:
			c.Longer++
		}
	}
	return c
}

// The day in the middle of which the windows of a launch begin to close.
const (
	launched      = (dawn + launchHour*secondsOfHour) * time.Second
	renewalBegins = launched + (7*24-12)*time.Hour
	renewalEnds   = renewalBegins + 24*time.Hour
)

func (b *books) renewal() *renewal {
	from, to := int(renewalBegins/time.Hour), int(renewalEnds/time.Hour)
	r := &renewal{Mints: make([]int64, to-from), Fetches: b.renewals.Load()}
	for i := range r.Mints {
		if from+i < len(b.hourly) {
			r.Mints[i] = b.hourly[from+i]
		}
	}
	r.Waits = countWaits(b.waits, r.Fetches, renewalBegins, renewalEnds)
	return r
}

// courses are the runs of a form.
func courses() []course {
	if *mintsForm != "full" {
		return []course{
			{pattern: "daily", habit: daily{}, clients: 100, days: 9, replicas: 3, store: "memory"},
			{pattern: "weekly", habit: weekly{}, clients: 100, days: 9, replicas: 3, store: "memory"},
			{pattern: "bursty", habit: bursty{}, clients: 100, days: 9, replicas: 3, store: "memory"},
			{pattern: "launch", habit: launch{}, clients: 100, days: 9, replicas: 3, store: "memory"},
			{pattern: "launch", habit: launch{}, clients: 100, days: 9, replicas: 3, ahead: mintAhead, store: "memory"},
		}
	}
	return []course{
		{pattern: "daily", habit: daily{}, clients: 100_000, days: 30, replicas: 3, store: "memory"},
		{pattern: "weekly", habit: weekly{}, clients: 100_000, days: 30, replicas: 3, store: "memory"},
		{pattern: "bursty", habit: bursty{}, clients: 100_000, days: 30, replicas: 3, store: "memory"},
		{pattern: "launch", habit: launch{}, clients: 20_000, days: 30, replicas: 3, store: "memory"},
		{pattern: "launch", habit: launch{}, clients: 20_000, days: 30, replicas: 3, ahead: mintAhead, store: "memory"},
		{pattern: "daily", habit: daily{}, clients: 10_000, days: 30, replicas: 1, store: "memory"},
		{pattern: "daily", habit: daily{}, clients: 10_000, days: 30, replicas: 1, ahead: mintAhead, store: "memory"},
	}
}

// mintAhead is what a launch of 20,000 needs: see BENCHMARKS.md.
var mintAhead = 24 * time.Hour

func TestMintCost(t *testing.T) { //nolint:tparallel // what waits for all runs is no run
	t.Parallel()
	if *mintsForm == "full" {
		debug.SetGCPercent(400)
	}
	all := courses()
	runs := make([]mintRun, len(all))
	t.Run("runs", func(t *testing.T) {
		for i, c := range all {
			t.Run(c.name(), func(t *testing.T) {
				t.Parallel()
				runs[i] = c.run(t)
				hold(t, runs[i])
			})
		}
	})
	if *mintResults != "" && !t.Failed() {
		if err := save(*mintResults, areaMints, mintFigures{Machine: describeMachine(t.Context()), Runs: runs}); err != nil {
			t.Fatal(err)
		}
	}
}

// hold reports what must hold of every run and does not. How many mints a large one costs is for the report to judge.
func hold(t *testing.T, r mintRun) {
	t.Helper()
	if r.Pattern == "daily" && r.AheadHours == 0 && *mintsForm != "full" && r.overOptimum() > mostMints {
		t.Errorf("%d mints of daily users are more than %.2f times the optimum, which is %d", r.All.Proxy, mostMints, r.All.Optimum)
	}
	t.Logf("%s: %d mints are %.4f of the optimum; %v; %.2f probes a user-day", r.title(), r.All.Proxy, r.overOptimum(), r.Reasons, float64(r.Probes)/float64(r.UserDays))
	if r.Expired > 0 || r.Over > 0 {
		t.Errorf("%d expired tokens were handed out, and Portal refused %d requests as too many", r.Expired, r.Over)
	}
}

package main

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// yardsticks are what others would have minted for one client, as far as its fetches are known.
type yardsticks struct {
	// begun: it was fetched at all.
	begun bool
	// last is its latest fetch; best and cached are when the token was minted that the clairvoyant, and a cache for 24 h,
	// had for it then.
	last, best, cached int32
	day                int32
}

// tally is what others would have minted for all, and when it was asked for.
type tally struct {
	Fetches, UserDays, UserWeeks int64
	// all are the mints of all days, weeks those of whole weeks alone.
	all, weeks mintCounts
}

// rule is how long a token serves, in seconds.
type rule struct{ idle, window int32 }

func ruleOf(life session.Lifetime) rule {
	return rule{int32((life.IdleTTL - life.SafetyMargin) / time.Second), int32((life.RefreshWindow - life.SafetyMargin) / time.Second)}
}

// book is the tally of a trace, and what it knows of each client.
type book struct {
	tally
	rule    rule
	clients []yardsticks
	// active :: client -> a bit for each week in which it was fetched
	active []uint64
	whole  int32
}

func newBook(rule rule, clients, days int) *book {
	return &book{rule: rule, clients: make([]yardsticks, clients), active: make([]uint64, clients), whole: int32(days / 7 * 7 * secondsOfDay)}
}

// add takes in the next fetch of all.
func (b *book) add(e event) {
	y := &b.clients[e.client]
	b.Fetches++
	counts := []*mintCounts{&b.all, &b.weeks}
	if e.at >= b.whole {
		counts = counts[:1]
	}
	cached := !y.begun || e.at-y.cached >= b.rule.idle
	best := !y.begun || e.at-y.last >= b.rule.idle || e.at-y.best >= b.rule.window
	for _, c := range counts {
		c.Login += one(e.login)
		c.Cached += one(cached)
		c.Optimum += one(best)
	}
	if cached {
		y.cached = e.at
	}
	if best {
		y.best = e.at
	}
	if day := e.at / secondsOfDay; !y.begun || day != y.day {
		y.day = day
		b.UserDays++
	}
	if e.at < b.whole {
		b.active[e.client] |= 1 << (e.at / (7 * secondsOfDay))
	}
	y.begun, y.last = true, e.at
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

func (b *book) close() tally {
	for _, weeks := range b.active {
		b.UserWeeks += int64(bits.OnesCount64(weeks))
	}
	return b.tally
}

// fewest tries every way to mint at some of the fetches, and returns the fewest mints that serve all of them: each token is
// kept alive at every fetch while it can be.
func fewest(rule rule, fetches []int32) int64 {
	least := int64(len(fetches))
	for chosen := range uint64(1) << len(fetches) {
		if count := int64(bits.OnesCount64(chosen)); count < least && serves(rule, fetches, chosen) {
			least = count
		}
	}
	return least
}

// serves reports whether tokens that are minted at the chosen fetches serve all.
func serves(rule rule, fetches []int32, chosen uint64) bool {
	var alive []int32 // when each was minted
	for i, at := range fetches {
		if i > 0 && at-fetches[i-1] >= rule.idle {
			alive = nil
		}
		alive = slices.DeleteFunc(alive, func(minted int32) bool { return at-minted >= rule.window })
		if chosen&(1<<i) != 0 {
			alive = append(alive, at)
		}
		if len(alive) == 0 {
			return false
		}
	}
	return true
}

func TestNobodyMintsLessThanTheOptimum(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 2))
	rule := rule{idle: 10, window: 35}
	for range 2000 {
		fetches := make([]int32, 1+dice.IntN(11))
		book := newBook(rule, 1, 7)
		for i := range fetches {
			if i > 0 {
				fetches[i] = fetches[i-1] + int32(dice.IntN(1+dice.IntN(14)))
			}
			book.add(event{at: fetches[i]})
		}
		if want := fewest(rule, fetches); book.all.Optimum != want {
			t.Fatalf("the optimum for fetches at %v is %d mints, and %d do", fetches, book.all.Optimum, want)
		}
	}
}

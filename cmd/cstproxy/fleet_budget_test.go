package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestFleetKeepsWithinItsBudget has cold clients ask for as long as they get none. In its short form a second stands for
// the minute; there the time that a request is on its way, which Portal's count includes, is no longer nothing, so that
// the stretch of time that is looked at is a little shorter than what the budget is for.
func TestFleetKeepsWithinItsBudget(t *testing.T) {
	retellFleet(t, func() (f *fleet, wrong []string) {
		rate, lasts := longOr("60/m", "10/s"), longOr(80*time.Second, 5*time.Second)
		stretch, most, least := longOr(time.Minute, 900*time.Millisecond), longOr(60, 10), longOr(70, 40)
		f = startFleet(t, 3, portaltest.Options{}, onRedis(redistest.Start(t)), "CSTPROXY_MINT_RATE="+rate)
		clients := clientIDs("cold", longOr(150, 80))

		tally := &tally{}
		var group sync.WaitGroup
		end := time.Now().Add(lasts)
		for i, client := range clients {
			group.Go(func() { f.askUntilServed(i, client, end, tally) })
		}
		group.Wait()

		arrivals := f.portal.Arrivals(portaltest.Mint)
		if got := busiest(arrivals, stretch); got > most {
			wrong = append(wrong, fmt.Sprintf("Portal was asked %d times within %s, want at most %d", got, stretch, most))
		}
		if got := f.portal.Stats().Mints; got < least {
			wrong = append(wrong, fmt.Sprintf("Portal minted %d tokens, want at least %d", got, least))
		}
		t.Logf("in %s Portal was asked %d times, at most %d times within %s; %d callers were served, %d refused",
			lasts, len(arrivals), busiest(arrivals, stretch), stretch, tally.served, tally.refused)
		return f, append(wrong, tally.wrong...)
	})
}

// tally counts what callers got. It is safe for concurrent use.
type tally struct {
	mu              sync.Mutex
	served, refused int
	wrong           []string
}

func (y *tally) note(got answer, err error) (served bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	wait, _ := strconv.Atoi(got.header.Get("Retry-After"))
	switch {
	case err == nil && got.status == http.StatusOK:
		y.served++
		return true
	case err == nil && got.status == http.StatusServiceUnavailable && wait > 0 && strings.Contains(string(got.body), `"portal_rate_limited"`):
		y.refused++
	default:
		y.wrong = append(y.wrong, fmt.Sprintf("a caller got %d with Retry-After %d: %s, %v", got.status, wait, got.body, err))
	}
	return false
}

// askUntilServed asks for the client's token again and again, until it is served or no new request may begin.
func (f *fleet) askUntilServed(i int, client string, end time.Time, tally *tally) {
	tick := time.NewTicker(longOr(time.Second, 200*time.Millisecond))
	defer tick.Stop()
	for ; time.Now().Before(end); <-tick.C {
		c := f.replica(i)
		if tally.note(c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token", "")) {
			return
		}
	}
}

// busiest returns the most of the moments, earliest first, that lie within one stretch of time.
func busiest(moments []time.Time, stretch time.Duration) int {
	most, first := 0, 0
	for i, moment := range moments {
		for moment.Sub(moments[first]) >= stretch {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// TestFleetKeepsWithinItsBudgetThoughRedisLosesIt has cold clients ask before Redis dies, while it is dead, and once it is
// back and knows of no request that left. It is told again where the machine stood still for so long that a replica could
// not tell Redis of its requests while the others waited for it.
func TestFleetKeepsWithinItsBudgetThoughRedisLosesIt(t *testing.T) {
	t.Parallel()
	retellFleet(t, func() (*fleet, []string) { return loseTheBudget(t) })
}

func loseTheBudget(t *testing.T) (*fleet, []string) {
	t.Helper()
	const rate, early = 30, 15
	redis := redistest.Start(t)
	f := startFleet(t, 3, portaltest.Options{}, onRedis(redis), fmt.Sprintf("CSTPROXY_MINT_RATE=%d/m", rate))
	await(t, "all replicas to know of each other", func() bool { return redis.Do("ZCARD", "cstproxy:{fleet}:replicas") == int64(3) })
	f.callers(clientIDs("early", early), 1)
	lasting(t, 1500*time.Millisecond) // so that each has heard how many requests left, and of how many replicas

	tally := &tally{}
	ask := func(prefix string, lasts time.Duration) {
		var group sync.WaitGroup
		end := time.Now().Add(lasts)
		for i, client := range clientIDs(prefix, 2*rate) {
			group.Go(func() { f.askUntilServed(i, client, end, tally) })
		}
		group.Wait()
	}
	redis.Kill()
	ask("meanwhile", 1500*time.Millisecond)
	alone := f.portal.Stats().Mints - early
	redis.Restart()
	ask("later", 6*time.Second)
	arrived := len(f.portal.Arrivals(portaltest.Mint))
	t.Logf("Portal was asked %d times before, %d while Redis was dead, %d in all; %d callers were refused", early, alone, arrived, tally.refused)
	if arrived > rate || alone == 0 {
		tally.wrong = append(tally.wrong, fmt.Sprintf(
			"Portal was asked %d times within a minute, %d of them while Redis was dead; want at most %d, and some then", arrived, alone, rate))
	}
	return f, tally.wrong
}

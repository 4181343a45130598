package cache

import (
	"sync"
	"time"
)

// turns hands out the moments at which requests leave this process: each at least per, and some slack, after the one
// that came so many requests before it. That bounds every stretch of time, which a bucket that refills does not.
type turns struct {
	per time.Duration

	mu sync.Mutex
	// given are the moments given, oldest first; no more than were ever allowed at once.
	given    []time.Time
	keep     int
	paused   time.Time
	strikes  int
	striking time.Time
	// What the fleet, and this process, had taken of a window when the fleet was last heard of.
	heardAt   time.Time
	fleet, us int
}

// slackOf is added for what lies between a request's leaving and its arrival, which is when Portal counts.
func slackOf(per time.Duration) time.Duration { return per / 60 }

func newTurns(requests int, per time.Duration) *turns { return &turns{per: per, keep: requests} }

// reserve takes the next turn at requests a window if it comes within patience, and returns how long that is from now;
// else it takes nothing, and returns how long it would have been.
func (t *turns) reserve(now time.Time, requests int, patience time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	turn := now
	if t.paused.After(turn) {
		turn = t.paused
	}
	if requests > 0 && len(t.given) >= requests {
		if free := t.given[len(t.given)-requests].Add(t.per + slackOf(t.per)); free.After(turn) {
			turn = free
		}
	}
	wait := turn.Sub(now)
	if wait <= patience {
		t.add(turn)
	}
	return wait
}

// note records a turn that was given elsewhere.
func (t *turns) note(turn time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(turn)
}

func (t *turns) add(turn time.Time) {
	if t.keep == 0 {
		return
	}
	if len(t.given) == t.keep {
		t.given = append(t.given[:0], t.given[1:]...)
	}
	t.given = append(t.given, turn)
}

// heard notes how many turns of the current window the fleet has taken, this process included.
func (t *turns) heard(now time.Time, fleet int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heardAt, t.fleet, t.us = now, fleet, 0
	for _, turn := range t.given {
		if turn.After(now.Add(-t.per - slackOf(t.per))) {
			t.us++
		}
	}
}

// share returns how many requests of a window are this process's own while the fleet is out of sight: an equal part of
// what was left, and once that window is over, of everything. It rounds down: what is left over belongs to nobody; but
// it is never nothing, which would be no limit.
func (t *turns) share(now time.Time, requests, replicas int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case requests == 0:
		return 0
	case !t.heardAt.IsZero() && now.Before(t.heardAt.Add(t.per+slackOf(t.per))):
		return max(t.us+max(requests-t.fleet, 0)/max(replicas, 1), 1)
	}
	return max(requests/max(replicas, 1), 1)
}

// pause stops the turns for wait, or for longer each time if wait is 0, and returns for how long.
func (t *turns) pause(now time.Time, wait time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait == 0 {
		if t.paused.After(now) {
			return 0 // the answer to a request that left before the pause
		}
		if now.After(t.striking) {
			t.strikes = 0
		}
		wait = min(firstPause<<min(t.strikes, 20), longestPause)
		t.strikes++
		t.striking = now.Add(3*wait + time.Second)
	}
	if end := now.Add(wait); end.After(t.paused) {
		t.paused = end
	}
	return wait
}

// pausedFor returns how long no turn is given.
func (t *turns) pausedFor(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(t.paused.Sub(now), 0)
}

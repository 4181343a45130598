package cache

import (
	"slices"
	"sync"
	"time"
)

// turns hands out the moments at which requests leave this process: each at least per, and some slack, after the one
// that came so many requests before it. That bounds every stretch of time, which a bucket that refills does not.
type turns struct {
	per time.Duration

	mu sync.Mutex
	// given are the turns given, oldest first; no more than were ever allowed at once.
	given    []turn
	keep     int
	paused   time.Time
	reason   string
	strikes  int
	striking time.Time
	// What the fleet, and this process, had taken of a window when the fleet was last heard of; held is what it said then,
	// fleet the most of late.
	heardAt         time.Time
	theirs          turn
	fleet, held, us int
	most            time.Time
	// seen is the end of the fleet's pause when that was last heard of.
	seen time.Time
}

// turn is a moment at which a request leaves. Its name tells it from all others of the fleet.
type turn struct {
	at   time.Time
	name string
}

// slackOf is added for what lies between a request's leaving and its arrival, which is when Portal counts.
func slackOf(per time.Duration) time.Duration { return per / 60 }

func newTurns(requests int, per time.Duration) *turns { return &turns{per: per, keep: requests} }

// window is how far back turns count.
func (t *turns) window() time.Duration { return t.per + slackOf(t.per) }

// wish is who asks for a turn, for how long they would wait for it, and of how many requests a window.
type wish struct {
	name     string
	patience time.Duration
	requests int
}

// reserve takes the next turn if it comes within the patience, and returns how long that is from now; else it takes nothing,
// and returns how long it would have been.
func (t *turns) reserve(now time.Time, wish wish) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := now
	if t.paused.After(at) {
		at = t.paused
	}
	if wish.requests > 0 && len(t.given) >= wish.requests {
		if free := t.given[len(t.given)-wish.requests].at.Add(t.window()); free.After(at) {
			at = free
		}
	}
	wait := at.Sub(now)
	t.drop(wish.name)
	if wait <= wish.patience {
		t.add(turn{at, wish.name})
	}
	return wait
}

// note records a turn that was given elsewhere.
func (t *turns) note(given turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(given)
}

// add adds a turn, in the place of the one that had its name.
func (t *turns) add(given turn) {
	if t.keep == 0 {
		return
	}
	t.drop(given.name)
	if len(t.given) == t.keep {
		t.given = append(t.given[:0], t.given[1:]...)
	}
	t.given = append(t.given, given)
}

// drop drops the turn of that name: who had it asks for another.
func (t *turns) drop(name string) {
	t.given = slices.DeleteFunc(t.given, func(old turn) bool { return old.name == name })
}

// refused notes that the one named was refused another turn.
func (t *turns) refused(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(name)
}

// counting returns the turns that still count at now, oldest first.
func (t *turns) counting(now time.Time) []turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(t.given), func(given turn) bool { return !given.at.After(now.Add(-t.window())) })
}

// all returns counting's turns, and the latest of the fleet that is known.
func (t *turns) all(now time.Time) []turn {
	own := t.counting(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.theirs.name != "" && t.theirs.at.After(now.Add(-t.window())) {
		own = append(own, t.theirs)
	}
	return own
}

// latest returns the latest turn that is known but for the one named, of this process or else of the fleet, if it is sure to
// count still at now; else one without a name.
func (t *turns) latest(now time.Time, but string) turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	sure := now.Add(-t.per)
	for _, given := range slices.Backward(t.given) {
		if given.name != but && given.at.After(sure) {
			return given
		}
	}
	if t.theirs.name != but && t.theirs.at.After(sure) {
		return t.theirs
	}
	return turn{}
}

// saw notes the latest turn of the fleet.
func (t *turns) saw(given turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.theirs = given
}

// heard notes how many turns of the current window the fleet has taken, this process included.
func (t *turns) heard(now time.Time, fleet int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fleet >= t.fleet || now.Sub(t.most) > 2*tellTime {
		t.fleet, t.most = fleet, now // fewer count once all had the time to tell a Redis that lost some
	}
	t.heardAt, t.held, t.us = now, fleet, 0
	for _, given := range t.given {
		if given.at.After(now.Add(-t.window())) {
			t.us++
		}
	}
}

// reserveAlone is reserve while the fleet is out of sight, of which so many replicas share the requests of a window. This
// one's are an equal part of what was left, and once that window is over, of everything. It rounds down: what is left over
// belongs to nobody. But of everything it is never nothing.
func (t *turns) reserveAlone(now time.Time, replicas int, wish wish) time.Duration {
	t.mu.Lock()
	heard, left := t.heardAt.Add(t.window()), t.us+max(wish.requests-t.fleet, 0)/max(replicas, 1)
	inSight := !t.heardAt.IsZero() && now.Before(heard)
	t.mu.Unlock()
	switch {
	case wish.requests == 0:
	case inSight && left == 0:
		return max(heard.Sub(now), wish.patience+1)
	case inSight:
		wish.requests = left
	default:
		wish.requests = max(wish.requests/max(replicas, 1), 1)
	}
	return t.reserve(now, wish)
}

// pause stops the turns for wait, or for longer each time if wait is 0, and returns for how long.
func (t *turns) pause(now time.Time, p pause) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := p.wait
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
		t.paused, t.reason = end, p.reason
	}
	return wait
}

// offer returns how a turn is offered that was just looked for.
func (t *turns) offer(wait time.Duration) offer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return offer{wait: wait, barred: wait > 0 && t.reason == keyRefused && t.paused.After(time.Now())}
}

// pauseLeft returns what is left of the pause.
func (t *turns) pauseLeft(now time.Time) pause {
	t.mu.Lock()
	defer t.mu.Unlock()
	return pause{wait: max(t.paused.Sub(now), 0), reason: t.reason}
}

// pausedFor returns how long no turn is given.
func (t *turns) pausedFor(now time.Time) time.Duration { return t.pauseLeft(now).wait }

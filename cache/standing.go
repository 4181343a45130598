package cache

import (
	"math"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Standing is how the fleet's budget for a class of requests stands, as this replica last knew.
type Standing struct {
	// Limit is how many requests the fleet may send in a minute, Left how many of them are not taken, both +Inf without a
	// limit. A pause takes none.
	Limit, Left float64
	// Paused is how long no turn is given.
	Paused time.Duration
}

// Standing returns how the budget of the class stands at now. It asks nobody: what the window held when the fleet was last
// heard of ages, and what this replica took since counts.
func (b *Budget) Standing(class session.Class, now time.Time) Standing {
	limit, turns := b.parts.Limits[class], b.alone[class]
	s := Standing{Limit: math.Inf(1), Left: math.Inf(1), Paused: turns.pauseKnown(now)}
	if limit.Requests > 0 {
		perMinute := float64(time.Minute) / float64(limit.Per)
		s.Limit = float64(limit.Requests) * perMinute
		s.Left = float64(max(limit.Requests-turns.taken(now), 0)) * perMinute
	}
	return s
}

// taken returns how many turns of the window that ends at now are known to be taken, by this process or others.
func (t *turns) taken(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := 0
	if now.Before(t.heardAt.Add(t.window())) {
		taken = max(t.held-t.us, 0)
	}
	for _, given := range t.given {
		if given.at.After(now.Add(-t.window())) {
			taken++
		}
	}
	return taken
}

// sawPause notes when the fleet's pause ends.
func (t *turns) sawPause(end time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = end
}

// pauseKnown returns what is left of this process's pause, or of the fleet's when that was last heard of.
func (t *turns) pauseKnown(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(t.paused.Sub(now), t.seen.Sub(now), 0)
}

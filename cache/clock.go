package cache

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// sameTime is how far apart two clocks may be that agree: more than a reading is on its way.
const sameTime = time.Second

// ClockParts is what a [Clock] is made of. Every field is required.
type ClockParts struct {
	// Local is this machine's clock. Its times carry the monotonic reading, so that a step of the wall clock changes nothing.
	Local    func() time.Time
	Lifetime session.Lifetime
	Log      *slog.Logger
}

// Clock keeps the time of a clock that is read once in a while, such as Redis's: whatever this machine's own says, it goes
// by the latest reading. A clock that is read may step, though, and then nobody knows whether it was right before or is
// now: until it agrees with what it said before, or whatever was dated before is over, the time lies between the two.
// Before the first reading a Clock is the local one.
type Clock struct {
	parts ClockParts
	// known is nil before the first reading.
	known atomic.Pointer[readings]
}

// readings are the latest reading, and the latest that agreed with the ones before it; since is when they began to differ.
type readings struct {
	steady, latest reading
	since          time.Time
}

// reading is what a clock said at a moment of the local one.
type reading struct{ local, said time.Time }

func (r reading) at(local time.Time) time.Time { return r.said.Add(local.Sub(r.local)) }

// NewClock returns a Clock made of parts.
func NewClock(parts ClockParts) *Clock { return &Clock{parts: parts} }

// Now returns the latest that it may be: lives are judged by it.
func (c *Clock) Now() time.Time {
	_, latest := c.bounds()
	return latest
}

// Sent returns the earliest that it may be: requests are dated by it.
func (c *Clock) Sent() time.Time {
	earliest, _ := c.bounds()
	return earliest
}

func (c *Clock) bounds() (earliest, latest time.Time) {
	local, known := c.parts.Local(), c.known.Load()
	if known == nil {
		return local, local
	}
	return inOrder(known.steady.at(local), known.latest.at(local))
}

func inOrder(a, b time.Time) (earlier, later time.Time) {
	if a.After(b) {
		return b, a
	}
	return a, b
}

// read takes a reading. What it took to come makes the clock late, never early: the safe side for the date of a request
// that leaves after it.
func (c *Clock) read(r reading) { c.known.Store(c.next(c.known.Load(), r)) }

// ahead returns how far the local wall clock is ahead.
func ahead(r reading) time.Duration { return r.local.Round(0).Sub(r.said) }

// doubtful reports whether a clock that stepped so far puts the time in doubt. More than a quarter of the idle time is
// past keeping to a safe side: there would be no token left to hand out.
func (p ClockParts) doubtful(step time.Duration) bool {
	return step.Abs() > sameTime && step.Abs() <= p.Lifetime.IdleTTL/4
}

// next returns what is known after reading r.
func (c *Clock) next(old *readings, r reading) *readings {
	agreed := &readings{steady: r, latest: r, since: r.local}
	if old == nil {
		return agreed
	}
	step := r.said.Sub(old.steady.at(r.local))
	if !c.parts.doubtful(step) {
		return agreed
	}
	since := old.since
	if old.steady == old.latest {
		since = r.local
		c.parts.Log.Warn("Redis's clock stepped: lives end by the later time, and begin by the earlier", "seconds", step.Seconds())
	}
	if r.local.Sub(since) > c.parts.Lifetime.RefreshWindow {
		return agreed
	}
	return &readings{steady: old.steady, latest: r, since: since}
}

// LocalClock is the clock of a replica on its own. Where the wall clock stepped since it was made, the time lies between
// what it says now and what it would say.
type LocalClock struct {
	parts ClockParts
	began time.Time
}

// NewLocalClock returns a LocalClock made of parts.
func NewLocalClock(parts ClockParts) *LocalClock {
	return &LocalClock{parts: parts, began: parts.Local()}
}

// Now returns the latest that it may be.
func (c *LocalClock) Now() time.Time {
	_, latest := c.bounds()
	return latest
}

// Sent returns the earliest that it may be.
func (c *LocalClock) Sent() time.Time {
	earliest, _ := c.bounds()
	return earliest
}

func (c *LocalClock) bounds() (earliest, latest time.Time) {
	local := c.parts.Local()
	return c.between(local.Round(0), c.began.Round(0).Add(local.Sub(c.began)))
}

// between returns the bounds of a time that is wall, and would be steady had the wall clock not been set.
func (c *LocalClock) between(wall, steady time.Time) (earliest, latest time.Time) {
	if !c.parts.doubtful(wall.Sub(steady)) {
		return wall, wall
	}
	return inOrder(wall, steady)
}

package session

import (
	"fmt"
	"time"
)

// Lifetime is Portal's rule for how long a token lives, and the policy for handing it out.
type Lifetime struct {
	// IdleTTL is how long Portal keeps an unused token (24 h, stated by Portal).
	IdleTTL time.Duration
	// RefreshWindow is how long after the mint use still extends a token (7 days, stated by Portal).
	RefreshWindow time.Duration
	// SafetyMargin is kept off the end of every life, against clock skew and the caller's own latency.
	SafetyMargin time.Duration
	// MinTTL is the least life handed out to a caller who asks for none in particular.
	MinTTL time.Duration
	// Refresh says how a fetch extends a life.
	Refresh RefreshMode
	// MintAhead is the last part of the window in which a fetch may have the next token minted, each client's from a moment
	// of its own on; 0 is never.
	MintAhead time.Duration
}

// RefreshMode says how a fetch slides a token's expiry.
type RefreshMode string

// The ways in which a fetch slides the expiry.
const (
	// RefreshProbe sends one authenticated request to Portal.
	RefreshProbe RefreshMode = "probe"
	// RefreshAssume takes the fetch itself for activity and asks Portal nothing.
	RefreshAssume RefreshMode = "assume"
	// RefreshObserve lets only reported or proxied activity slide the expiry; a fetch probes only for an explicit need.
	RefreshObserve RefreshMode = "observe"
)

// Action is what a fetch does with the token that it found. The zero Action mints, as the zero Token asks for it.
type Action uint8

// The actions, from the dearest to the cheapest.
const (
	Mint           Action = iota // Portal makes a new token.
	Refresh                      // Portal is asked to extend this one before it is served.
	Slide                        // The fetch counts as activity: note it, then serve.
	ServeAndExtend               // Serve at once, refresh in the background.
	Serve
)

// String returns what a fetch does, in the words of the data API: mint, refresh or serve.
func (a Action) String() string {
	switch a {
	case Mint:
		return "mint"
	case Refresh:
		return "refresh"
	}
	return "serve"
}

// Reason says why a token is minted; there are no others.
type Reason string

// The reasons to mint.
const (
	Absent       Reason = "absent"        // there is none
	IdleExpired  Reason = "idle_expired"  // it went IdleTTL without use
	WindowClosed Reason = "window_closed" // its window is over, or too near for what the caller needs
	Rejected     Reason = "rejected"      // Portal is known to refuse it
	Ahead        Reason = "ahead"         // its window is about to close, and what it costs is spare
)

// Reasons lists every Reason, for those who count by it.
func Reasons() []Reason { return []Reason{Absent, IdleExpired, WindowClosed, Rejected, Ahead} }

// Need is what a caller asks of a token. The zero Need is content with [Lifetime.MinTTL].
type Need struct {
	// Life is the least life left, counted only if Explicit. It is at most IdleTTL.
	Life     time.Duration
	Explicit bool
	// Rejected names a token that the caller saw Portal refuse; zero if none.
	Rejected TokenID
}

// Check returns [ErrInvalidRequest] for a need that no token ever meets.
func (l Lifetime) Check(need Need) error {
	if need.Explicit && (need.Life < 0 || need.Life > l.IdleTTL) {
		return fmt.Errorf("%w: minTtl is %s, want 0 to %s, the longest that a token can have left", ErrInvalidRequest, need.Life, l.IdleTTL)
	}
	return nil
}

// Decision is the outcome of [Lifetime.Decide]. Reason is set for [Mint], and [Ahead] where the next token is to be minted
// besides, in the background.
type Decision struct {
	Action Action
	Reason Reason
}

// RefreshableUntil returns the moment from which use no longer extends t. It is never handed out past it either:
// Portal does not say whether a token lives out its last idle time.
func (l Lifetime) RefreshableUntil(t Token) time.Time { return t.MintedAt.Add(l.RefreshWindow) }

// ExpiresAt returns the moment from which Portal may refuse t.
func (l Lifetime) ExpiresAt(t Token) time.Time {
	idle, window := t.ActiveAt.Add(l.IdleTTL), l.RefreshableUntil(t)
	if idle.Before(window) {
		return idle
	}
	return window
}

// Live reports whether t may be handed out at now, by its dates.
func (l Lifetime) Live(t Token, now time.Time) bool {
	return !t.IsZero() && now.Before(l.ExpiresAt(t).Add(-l.SafetyMargin))
}

// Usable reports whether t may be handed out at now without asking Portal first.
func (l Lifetime) Usable(t Token, now time.Time) bool { return l.Live(t, now) && !l.doubtful(t, now) }

// Decide says what a fetch at now does with t. It is pure, and it is the only place where the rule stands.
func (l Lifetime) Decide(t Token, now time.Time, need Need) Decision {
	if reason := l.lost(t, now, need); reason != "" {
		return Decision{Mint, reason}
	}
	decision := Decision{Action: l.extend(t, now, need)}
	if decision.Action > Refresh && l.ahead(t, now) {
		decision.Reason = Ahead // one that is refreshed first may turn out to be dead
	}
	return decision
}

// lost returns why no refresh can make t serve the need, or "" if t serves it or can be made to.
func (l Lifetime) lost(t Token, now time.Time, need Need) Reason {
	switch {
	case t.IsZero():
		return Absent
	case t.ID == need.Rejected:
		return Rejected
	case !l.Live(t, now) && l.ExpiresAt(t).Before(l.RefreshableUntil(t)):
		return IdleExpired
	case !l.Live(t, now), l.RefreshableUntil(t).Sub(now) < l.life(need):
		return WindowClosed
	}
	return ""
}

// extend says how to serve a live t whose window is wide enough for the need.
func (l Lifetime) extend(t Token, now time.Time, need Need) Action {
	switch {
	case l.doubtful(t, now), t.unsettled() && now.Sub(t.ActiveAt) >= askAgain:
		return Refresh
	case !l.ExpiresAt(t).Before(l.RefreshableUntil(t)):
		return Serve // it lives as long as it ever can
	case l.Refresh == RefreshAssume:
		return l.assume(t, now, need)
	}
	left := l.ExpiresAt(t).Sub(now)
	short := left < l.life(need)
	switch {
	case short && (l.Refresh == RefreshProbe || need.Explicit):
		return Refresh
	case l.Refresh == RefreshProbe && now.Sub(t.ActiveAt) >= l.IdleTTL/visits:
		return ServeAndExtend
	}
	return Serve
}

// Of the idle time that part after which a fetch has Portal asked to extend the token, in the background: once a visit, so
// that a user who comes back within the idle time of the last one is known to be there. Who waits longer before the first
// request loses tokens of users who came every day: to ask in the second half alone took twice the mints.
const visits = 48

const (
	// pressing is the part after which it does not wait for a turn to be spare: less than half of the time is left then, in
	// which the next fetch may come too late.
	pressing = 2
	// late is the part for which it waits at the most.
	late = 24
)

// mayWait reports whether a refresh of t in the background may be left to a time when turns are spare.
func (l Lifetime) mayWait(t Token, now time.Time) bool {
	return now.Sub(t.ActiveAt) < l.IdleTTL/pressing
}

// mayBeLate is how long after a fetch its refresh may come that waited for a turn. Nothing refreshes a token that nobody asks
// for: one that was asked for no later than that counts as asked for.
func (l Lifetime) mayBeLate() time.Duration { return l.IdleTTL / late }

// assume takes the fetch for activity, which is worth a write once in a while, or if the need asks for it.
func (l Lifetime) assume(t Token, now time.Time, need Need) Action {
	if l.ExpiresAt(t).Sub(now) >= l.life(need) && now.Sub(t.ActiveAt) < l.SlideStep() {
		return Serve
	}
	if t.unsettled() {
		return Refresh // that a dead token is fetched does not settle it
	}
	return Slide
}

// doubtful reports whether only Portal can say that t is alive: it may have been killed by another mint, or was dated
// by a clock that runs ahead of this one, so that its dates say nothing.
func (l Lifetime) doubtful(t Token, now time.Time) bool { return t.Suspect || l.datedAhead(t, now) }

func (l Lifetime) datedAhead(t Token, now time.Time) bool {
	return t.ActiveAt.After(now.Add(l.SafetyMargin))
}

// askAgain is how often Portal is asked for a token that may be killed any moment: a handful of times in all, and soon
// enough for who holds it.
const askAgain = 2 * time.Second

// unsettled reports whether a mint that was cut off may have killed t since Portal last accepted it.
func (t Token) unsettled() bool { return t.ActiveAt.Before(t.Doubt) }

// life returns the least life left that meets the need.
func (l Lifetime) life(need Need) time.Duration {
	if need.Explicit {
		return need.Life
	}
	return l.MinTTL
}

// SlideStep returns the least move of ActiveAt worth a write where activity comes in without a request to Portal.
// What it forgoes makes a token look older than it is, never younger.
func (l Lifetime) SlideStep() time.Duration { return min(time.Minute, l.IdleTTL/10) }

// useStep is a little less than [Lifetime.SlideStep], by more than a request takes to Portal: what is known of a token that is
// used all the time is then never older than that at Portal.
func (l Lifetime) useStep() time.Duration { return l.SlideStep() * 19 / 20 }

// Meets reports whether t, just made or extended by Portal, serves the need: it can't be made any longer than this,
// so the need is measured from ActiveAt, not from now.
func (l Lifetime) Meets(t Token, need Need) bool {
	return l.ExpiresAt(t).Sub(t.ActiveAt) >= l.life(need)
}

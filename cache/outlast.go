package cache

import (
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// keptUntil returns until when a record is kept. It outlasts its token by an idle time, so that whoever comes back a day later
// is known to have been idle, or to have met the end of the window, and not for somebody new. A token that has ended is never
// handed out, and nothing brings it back.
func keptUntil(life session.Lifetime, token session.Token) time.Time {
	return life.ExpiresAt(token).Add(life.IdleTTL)
}

// gone reports whether the store has nothing, or a token that has ended, by the earliest that it may be now.
func (t *Tier) gone(stored session.Token) bool {
	return stored.IsZero() || !t.parts.Sent().Before(t.parts.Lifetime.ExpiresAt(stored))
}

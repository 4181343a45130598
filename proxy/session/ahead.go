package session

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// ahead reports whether the token after t is due to be minted at now.
func (l Lifetime) ahead(t Token, now time.Time) bool {
	if l.MintAhead == 0 || now.Before(l.lastUse(t).Add(-l.MintAhead)) {
		return false
	}
	return !now.Before(l.AheadAt(t))
}

// AheadAt returns the moment from which a fetch of t may have the next token minted. It is the client's own, by its id
// alone, so that clients whose windows end together are spread evenly over MintAhead, and all replicas agree on it.
func (l Lifetime) AheadAt(t Token) time.Time {
	var id [maxClientID]byte // a conversion would be allocated
	sum := sha256.Sum256(id[:copy(id[:], t.Client)])
	part := float64(binary.BigEndian.Uint64(sum[:])>>11+1) / (1 << 53) // above 0, at most 1
	return stored(l.lastUse(t).Add(-time.Duration(part * float64(l.MintAhead))))
}

// lastUse returns the moment from which the window is too near for who asks for nothing in particular.
func (l Lifetime) lastUse(t Token) time.Time {
	return l.RefreshableUntil(t).Add(-max(l.SafetyMargin, l.MinTTL))
}

const (
	// mostAhead is how many next tokens a replica has minted at once. While Portal does not answer, each of them puts a token
	// in doubt that could be served without asking.
	mostAhead = 8
	// aheadAgain is how long none is after one failed, at the most: what nobody waits for can wait.
	aheadAgain = 10 * time.Second
	// failedAgain is how long none is for the client whose failed, so that a single one does not hold up all others.
	failedAgain = time.Minute
	// mostFailed bounds the clients remembered; one more forgets them all, which costs a request each.
	mostFailed = 1000
)

// ahead says when next tokens may be minted. It goes by a clock that does not step.
type ahead struct {
	places chan struct{}

	mu sync.Mutex
	// all is until when none is.
	all time.Time
	// failed :: client -> until when none is for it
	failed map[ClientID]time.Time
}

// holds reports whether none is to be minted for the client now.
func (a *ahead) holds(client ClientID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.places) == cap(a.places) || now.Before(a.all) || now.Before(a.failed[client])
}

// fall notes that one failed.
func (a *ahead) fall(client ClientID, now time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch after := RetryAfter(err); {
	case errors.Is(err, ErrPortalRateLimited) && after > 0:
		a.all = later(a.all, now.Add(min(after, aheadAgain))) // no turn comes sooner
		return
	case !errors.Is(err, ErrClientNotFound):
		a.all = later(a.all, now.Add(aheadAgain))
	}
	if a.failed == nil || len(a.failed) >= mostFailed {
		a.failed = map[ClientID]time.Time{}
	}
	a.failed[client] = now.Add(failedAgain)
}

// mintBehind has the token after this one minted in the background, and reports whether that is under way. It is the flight
// that who needs another token joins.
func (b *Broker) mintBehind(ctx context.Context, token Token) bool {
	if b.flying.busy() || b.ahead.holds(token.Client, time.Now()) {
		return false
	}
	b.mints.join(ctx, token.Client, func(ctx context.Context) (Grant, error) { return b.flyAhead(ctx, token), nil })
	return true
}

// flyAhead is the work of a flight that nobody waits for. That it fails is no failure of who joined: they look again.
func (b *Broker) flyAhead(ctx context.Context, token Token) Grant {
	select {
	case b.ahead.places <- struct{}{}:
		defer func() { <-b.ahead.places }()
	default:
		return Grant{}
	}
	grant, err := b.flyToMint(ctx, Ask{Client: token.Client, ahead: true})
	if err != nil {
		b.ahead.fall(token.Client, time.Now(), err)
		b.parts.Log.DebugContext(ctx, "token not minted ahead", "client", token.Client, "error", err)
		b.extendBehind(ctx, token) // if it is due, which it may be too
	}
	return grant
}

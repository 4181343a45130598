package portal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	// keyTrouble is how many clients in a row must be refused before it is the key that is bad. Portal does not say how
	// it answers for a client that it does not know: perhaps as for a bad key.
	keyTrouble = 3
	// unknownFor is how long a client that Portal does not know is remembered: long enough to make a hot loop cheap,
	// short enough for one that is registered in that moment.
	unknownFor = 10 * time.Second
	// mostUnknown bounds what is remembered.
	mostUnknown = 10_000
)

// GuardParts is what a [Guard] is made of. Every field is required.
type GuardParts struct {
	Next   session.Portal
	Budget session.Budget
	// Refused is called when Portal refuses the Portal API Key: it may have been replaced.
	Refused func()
	Now     func() time.Time
}

// Guard wraps a [session.Portal] so that what is sure to be refused is not asked: a client that Portal just did not
// know, and anything at all for a growing pause while it refuses the Portal API Key.
type Guard struct {
	parts GuardParts

	mu sync.Mutex
	// unknown :: client -> what Portal said, and until when it counts
	unknown map[session.ClientID]refused
	// inARow are the clients that were refused since the last that was not.
	inARow map[session.ClientID]bool
}

type refused struct {
	err   error
	until time.Time
}

// NewGuard returns a Guard made of parts.
func NewGuard(parts GuardParts) *Guard {
	return &Guard{parts: parts, unknown: map[session.ClientID]refused{}, inARow: map[session.ClientID]bool{}}
}

// Mint implements [session.Portal].
func (g *Guard) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	if err := g.remembered(client); err != nil {
		return session.Token{}, err
	}
	token, err := g.parts.Next.Mint(ctx, client, reason)
	g.learn(ctx, client, err)
	if errors.Is(err, session.ErrPortalRateLimited) && g.keyIsBad() {
		// It is not the budget that is spent: the pause is for the key.
		return session.Token{}, fmt.Errorf("%w: asked again in %s", session.ErrPortalUnauthorized, session.RetryAfter(err))
	}
	return token, err
}

// Probe implements [session.Portal].
func (g *Guard) Probe(ctx context.Context, token session.Token) error {
	return g.parts.Next.Probe(ctx, token)
}

// Register implements [session.Portal].
func (g *Guard) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	token, err := g.parts.Next.Register(ctx, registration)
	g.learn(ctx, "", err) // no client's id is empty
	return token, err
}

func (g *Guard) remembered(client session.ClientID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.unknown[client]
	left := known.until.Sub(g.parts.Now())
	switch {
	case !ok:
		return nil
	case left <= 0:
		delete(g.unknown, client)
		return nil
	}
	return &session.RetryError{After: left, Err: known.err}
}

func (g *Guard) learn(ctx context.Context, client session.ClientID, err error) {
	switch {
	case err == nil:
		g.accepted()
	case errors.Is(err, session.ErrClientNotFound):
		g.remember(client, err)
	case errors.Is(err, session.ErrPortalUnauthorized):
		g.remember(client, err)
		g.parts.Refused()
		if g.refusedInARow(client) >= keyTrouble {
			g.parts.Budget.Pause(ctx, session.ClassMint, 0)
		}
	}
}

func (g *Guard) accepted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.inARow)
}

func (g *Guard) keyIsBad() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.inARow) >= keyTrouble
}

func (g *Guard) refusedInARow(client session.ClientID) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.inARow) < keyTrouble {
		g.inARow[client] = true
	}
	return len(g.inARow)
}

func (g *Guard) remember(client session.ClientID, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.parts.Now()
	if len(g.unknown) >= mostUnknown {
		g.forgetOld(now)
	}
	if len(g.unknown) < mostUnknown {
		g.unknown[client] = refused{err: err, until: now.Add(unknownFor)}
	}
}

func (g *Guard) forgetOld(now time.Time) {
	for client, r := range g.unknown {
		if !r.until.After(now) {
			delete(g.unknown, client)
		}
	}
}

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
	// unknownFor is how long a client that Portal does not know is remembered: long enough to make a hot loop cheap,
	// short enough for one that is registered in that moment.
	unknownFor = 10 * time.Second
	// doubtFor is how long a client is remembered whose refusal may be the key's: short enough to be served again within
	// 5 s of the key's being well.
	doubtFor = 2 * time.Second
	// mostUnknown bounds what is remembered.
	mostUnknown = 10_000
)

// GuardParts is what a [Guard] is made of. Every field is required.
type GuardParts struct {
	Next session.Portal
	// CheckKey asks about the key in use.
	CheckKey KeyCheck
	Budget   session.Budget
	// Key returns the Portal API Key of the moment: the one that Next and CheckKey use.
	Key func() session.Secret
	// Refused is called when Portal refuses the Portal API Key, before anything is concluded from it: the key may have
	// been replaced. When it returns, Key returns the one to use from now on.
	Refused func()
	// Succeed is called when Portal is known to refuse the key, before the fleet's mints pause: another may take over, which
	// Key then returns.
	Succeed func(ctx context.Context, refused session.Secret)
}

// mostKeys bounds how many keys one after the other a request is tried with.
const mostKeys = 3

// Guard wraps a [session.Portal] so that what is sure to be refused is not asked: a client that Portal just did not
// know, and anything at all for a growing pause while it refuses the Portal API Key. Portal does not say how it answers
// for a client that it does not know: perhaps as for a bad key. So where it refuses a mint, and has not accepted the key
// since, the Guard asks about the key itself.
type Guard struct {
	parts GuardParts
	judge *judge

	mu sync.Mutex
	// unknown :: client -> what Portal said, and until when it counts
	unknown map[session.ClientID]refused
}

type refused struct {
	err   error
	until time.Time
}

// NewGuard returns a Guard made of parts.
func NewGuard(parts GuardParts) *Guard {
	return &Guard{parts: parts, judge: &judge{parts: parts}, unknown: map[session.ClientID]refused{}}
}

// Key returns what is known of the Portal API Key in use: a mint, a registration or a check tells, a probe does not.
func (g *Guard) Key() KeyStanding { return g.judge.standing() }

// Mint implements [session.Portal]. A mint that was refused with a key that is no longer in use is repeated at once.
func (g *Guard) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	if err := g.remembered(client); err != nil {
		return session.Token{}, err
	}
	if err := g.judge.admit(ctx); err != nil {
		return session.Token{}, err
	}
	var refusal *keyError
	for range mostKeys {
		token, err := g.mint(ctx, client, reason)
		if !errors.As(err, &refusal) {
			return token, g.learn(client, err)
		}
		if who := g.judge.blame(ctx, refusal); who != onOldKey {
			return session.Token{}, g.judged(client, refusal, who)
		}
	}
	return session.Token{}, g.judged(client, refusal, onOldKey)
}

func (g *Guard) mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	begun := g.judge.begin()
	token, err := g.parts.Next.Mint(ctx, client, reason)
	if err == nil {
		g.judge.acquit(begun)
	}
	return token, err
}

// Probe implements [session.Portal].
func (g *Guard) Probe(ctx context.Context, token session.Token) error {
	return g.parts.Next.Probe(ctx, token)
}

// Register implements [session.Portal]. A refusal is the key's, since there is no client yet: where another key took over,
// nothing was made, and it is repeated.
func (g *Guard) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	if err := g.judge.admit(ctx); err != nil {
		return session.Token{}, err
	}
	var refusal *keyError
	for range mostKeys {
		token, err := g.register(ctx, registration)
		if !errors.As(err, &refusal) || g.judge.inUse(refusal) {
			return token, err
		}
	}
	return session.Token{}, fmt.Errorf("register: %w", refusal)
}

func (g *Guard) register(ctx context.Context, registration session.Registration) (session.Token, error) {
	begun := g.judge.begin()
	token, err := g.parts.Next.Register(ctx, registration)
	if err == nil {
		g.judge.acquit(begun)
	}
	if refusal, ok := errors.AsType[*keyError](err); ok {
		g.judge.convict(ctx, refusal)
	}
	return token, err
}

// learn remembers what a mint tells about its client, and returns what to tell the caller.
func (g *Guard) learn(client session.ClientID, err error) error {
	if errors.Is(err, session.ErrClientNotFound) {
		g.remember(client, err, unknownFor)
	}
	return g.judge.named(err)
}

// judged tells a client that is refused from a key that is. Of the client of a bad key nothing is remembered: it is to
// be served as soon as the key is well.
func (g *Guard) judged(client session.ClientID, refusal *keyError, who blame) error {
	err := fmt.Errorf("mint: %w", refusal)
	switch who {
	case onClient:
		err = fmt.Errorf("mint: %w: it is refused, and the key is not", session.ErrClientNotFound)
		g.remember(client, err, unknownFor)
	case onNobody:
		g.remember(client, err, doubtFor)
	}
	return err
}

func (g *Guard) remembered(client session.ClientID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.unknown[client]
	left := time.Until(known.until)
	switch {
	case !ok:
		return nil
	case left <= 0:
		delete(g.unknown, client)
		return nil
	}
	return &session.RetryError{After: left, Err: known.err}
}

func (g *Guard) remember(client session.ClientID, err error, lasting time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if len(g.unknown) >= mostUnknown {
		g.forgetOld(now)
	}
	if len(g.unknown) < mostUnknown {
		g.unknown[client] = refused{err: err, until: now.Add(lasting)}
	}
}

func (g *Guard) forgetOld(now time.Time) {
	for client, r := range g.unknown {
		if !r.until.After(now) {
			delete(g.unknown, client)
		}
	}
}

package sessiontest

import (
	"context"
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Portal is a [session.Portal] that keeps Portal's rules: a token dies of idleness and at the end of its window.
// Lifetime and Now are required; set the faults before use or through [Portal.Fail].
type Portal struct {
	Lifetime session.Lifetime
	Now      func() time.Time
	// Delay is how long each request takes, by the clock of package time.
	Delay time.Duration
	// KillsOlder: a mint ends the client's older tokens. Portal does not say whether it does.
	KillsOlder bool

	mu sync.Mutex
	// tokens :: id -> what Portal itself knows of the token
	tokens map[session.TokenID]session.Token
	mints  []session.Reason
	probes int
	made   int
	err    error
}

// Fail makes every request return err; nil mends it.
func (p *Portal) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// Kill makes Portal refuse the token from now on.
func (p *Portal) Kill(id session.TokenID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tokens, id)
}

// Mints returns the reason of every mint so far.
func (p *Portal) Mints() []session.Reason {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]session.Reason(nil), p.mints...)
}

// Probes returns how many probes Portal answered or failed.
func (p *Portal) Probes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.probes
}

// Registered returns how many clients Portal made.
func (p *Portal) Registered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

// Accepts reports whether Portal would accept the token now. Asking extends nothing.
func (p *Portal) Accepts(token session.Token) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepts(token.ID)
}

func (p *Portal) accepts(id session.TokenID) bool {
	token, ok := p.tokens[id]
	return ok && p.Now().Before(p.Lifetime.ExpiresAt(token))
}

// Mint implements [session.Portal].
func (p *Portal) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	if err := p.wait(ctx); err != nil {
		return session.Token{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return session.Token{}, p.err
	}
	p.mints = append(p.mints, reason)
	if p.KillsOlder {
		maps.DeleteFunc(p.tokens, func(_ session.TokenID, token session.Token) bool { return token.Client == client })
	}
	return p.make(client), nil
}

// Probe implements [session.Portal].
func (p *Portal) Probe(ctx context.Context, token session.Token) error {
	if err := p.wait(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probes++
	if p.err != nil {
		return p.err
	}
	if !p.accepts(token.ID) {
		return session.ErrTokenRejected
	}
	own := p.tokens[token.ID]
	own.ActiveAt = p.Now()
	p.tokens[token.ID] = own
	return nil
}

// Register implements [session.Portal].
func (p *Portal) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	if err := p.wait(ctx); err != nil {
		return session.Token{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return session.Token{}, p.err
	}
	p.made++
	token := p.make(session.ClientID("c" + rand.Text()[:24]))
	token.AccountAbstracted = registration.AccountAbstracted
	return token, nil
}

// make makes a token and dates Portal's own copy of it.
func (p *Portal) make(client session.ClientID) session.Token {
	secret := session.NewSecret(rand.Text())
	token := session.Token{Client: client, Secret: secret, ID: session.IdentifyToken(secret)}
	own := token
	own.MintedAt, own.ActiveAt = p.Now(), p.Now()
	if p.tokens == nil {
		p.tokens = map[session.TokenID]session.Token{}
	}
	p.tokens[token.ID] = own
	return token
}

func (p *Portal) wait(ctx context.Context) error {
	if p.Delay == 0 {
		return nil
	}
	select {
	case <-time.After(p.Delay):
		return nil
	case <-ctx.Done():
		return session.ErrPortalTimeout
	}
}

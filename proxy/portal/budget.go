package portal

import (
	"context"
	"errors"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Paced wraps a [session.Portal] so that requests leave within the fleet's budget. A mint or a registration waits for its
// turn as long as half of the time that its caller has; a probe never waits, since its token is still live. A mint ahead
// and a probe that nobody waits for take a turn only if it is spare. Where Portal itself says that it was too much, the whole fleet pauses.
type Paced struct {
	next   session.Portal
	budget session.Budget
}

// NewPaced returns a Paced of next.
func NewPaced(next session.Portal, budget session.Budget) *Paced {
	return &Paced{next: next, budget: budget}
}

// patience is that of a caller without a deadline.
const patience = 10 * time.Second

// Mint implements [session.Portal].
func (p *Paced) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	if err := p.turn(ctx, reason); err != nil {
		return session.Token{}, err
	}
	token, err := p.next.Mint(ctx, client, reason)
	return token, p.heed(ctx, session.ClassMint, err)
}

// turn takes one for a mint.
func (p *Paced) turn(ctx context.Context, reason session.Reason) error {
	if reason == session.Ahead {
		return p.budget.Spare(ctx, session.ClassMint)
	}
	return p.budget.Wait(ctx, session.ClassMint, patienceOf(ctx))
}

// Register implements [session.Portal].
func (p *Paced) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	if err := p.budget.Wait(ctx, session.ClassMint, patienceOf(ctx)); err != nil {
		return session.Token{}, err
	}
	token, err := p.next.Register(ctx, registration)
	return token, p.heed(ctx, session.ClassMint, err)
}

// Probe implements [session.Portal].
func (p *Paced) Probe(ctx context.Context, token session.Token) error {
	if err := p.turnToProbe(ctx); err != nil {
		return err
	}
	return p.heed(ctx, session.ClassProbe, p.next.Probe(ctx, token))
}

func (p *Paced) turnToProbe(ctx context.Context) error {
	if !session.IsUnhurried(ctx) {
		return p.budget.Wait(ctx, session.ClassProbe, 0)
	}
	err := p.budget.Spare(ctx, session.ClassProbe)
	if errors.Is(err, session.ErrPortalRateLimited) {
		return session.ErrNoneSpare
	}
	return err
}

// KeyCheck wraps a check of the Portal API Key, which shares the turns of mints. It never waits for one: nothing but the
// blame depends on it.
func (p *Paced) KeyCheck(next KeyCheck) KeyCheck {
	return func(ctx context.Context) error {
		if err := p.budget.Wait(ctx, session.ClassMint, 0); err != nil {
			return err
		}
		return p.heed(ctx, session.ClassMint, next(ctx))
	}
}

// heed pauses the fleet if Portal said that it was too much.
func (p *Paced) heed(ctx context.Context, class session.Class, err error) error {
	if errors.Is(err, session.ErrPortalRateLimited) {
		p.budget.Pause(ctx, class, session.RetryAfter(err))
	}
	return err
}

// patienceOf leaves the other half to the request itself.
func patienceOf(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline) / 2
	}
	return patience
}

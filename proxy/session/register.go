package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

const (
	// keepRegistrations is how long a repeated registration finds the client that the first one made.
	keepRegistrations = 24 * time.Hour
	// busyPoll is how often a registration looks whether another one with its key is done.
	busyPoll = 50 * time.Millisecond
	// claimSlack is how much longer than the request to Portal a claim holds, so that it can't run out under it.
	claimSlack = 5 * time.Second
)

// Registration asks Portal for a new client.
type Registration struct {
	AccountAbstracted bool
	// Key makes repeats within 24 h return the same client; empty, each call makes another one.
	Key string
}

// Claim is a Registration's hold on its key.
type Claim struct {
	Registration
	// Owner tells this claim from every other one on the key.
	Owner string
	// Hold is how long the claim stands if its owner dies.
	Hold time.Duration
}

// Registry remembers which client a registration key made.
type Registry interface {
	// Claim returns the client that the key made, or none if the claim is now ours. [ErrRegistrationBusy]: it is
	// somebody else's. [ErrInvalidRequest]: the key was used for a registration that asked for something else.
	Claim(ctx context.Context, claim Claim) (ClientID, error)
	// Settle records the client that the claim made, for keep. It does nothing if the claim is not ours any more.
	Settle(ctx context.Context, claim Claim, client ClientID, keep time.Duration) error
	// Release gives the key back if the claim is still ours.
	Release(ctx context.Context, claim Claim) error
}

// Register has Portal make a client and keeps the token that comes with it. Errors are those of the Portal port and
// of the Registry, or [ErrOverloaded]. After [ErrPortalTimeout] it is not known whether Portal made a client.
func (b *Broker) Register(ctx context.Context, registration Registration) (Grant, error) {
	if err := b.waiting.enter(WorkRegister); err != nil {
		return Grant{}, err
	}
	defer b.waiting.leave()
	unique := registration
	if unique.Key == "" {
		unique.Key = rand.Text()
	}
	f, led := b.registrations.join(ctx, unique, func(ctx context.Context) (Grant, error) {
		if registration.Key == "" {
			return b.register(ctx, registration)
		}
		return b.registerOnce(ctx, registration)
	})
	grant, err := f.wait(ctx)
	if err != nil {
		return Grant{}, err
	}
	return b.handOut(grant, landing{led}), nil
}

func (b *Broker) register(ctx context.Context, registration Registration) (Grant, error) {
	sent := b.sent()
	asking, cancel := context.WithTimeout(ctx, b.parts.Deadline)
	defer cancel()
	token, err := b.parts.Portal.Register(asking, registration)
	if err != nil {
		return Grant{}, err
	}
	b.parts.Log.InfoContext(ctx, "registered", "client", token.Client, "token_id", token.ID)
	return b.keep(ctx, token, sent, 0)
}

// registerOnce registers under a claim on the key, or grants a token of the client that the key made before.
func (b *Broker) registerOnce(ctx context.Context, registration Registration) (Grant, error) {
	claim := Claim{Registration: registration, Owner: rand.Text(), Hold: b.parts.Deadline + claimSlack}
	client, err := b.claim(ctx, claim)
	if err != nil {
		return Grant{}, err
	}
	if client != "" {
		return b.Grant(ctx, Ask{Client: client})
	}
	grant, err := b.register(ctx, registration)
	// What became of the claim is written down even if Close just canceled the rest.
	lasting := context.WithoutCancel(ctx)
	if err != nil {
		b.release(lasting, claim)
		return Grant{}, err
	}
	if err := b.parts.Registry.Settle(lasting, claim, grant.Token.Client, keepRegistrations); err != nil {
		b.parts.Log.ErrorContext(ctx, "registration not remembered: a repeat would make a second client",
			"client", grant.Token.Client, "error", err)
	}
	return grant, nil
}

// claim takes the key, or waits until whoever holds it is done.
func (b *Broker) claim(ctx context.Context, claim Claim) (ClientID, error) {
	ctx, cancel := context.WithTimeout(ctx, b.parts.Deadline)
	defer cancel()
	for {
		client, err := b.parts.Registry.Claim(ctx, claim)
		switch {
		case err == nil, errors.Is(err, ErrInvalidRequest):
			return client, err
		case !errors.Is(err, ErrRegistrationBusy):
			return "", storeError(err)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %w", ErrPortalTimeout, err)
		case <-time.After(busyPoll):
		}
	}
}

func (b *Broker) release(ctx context.Context, claim Claim) {
	if err := b.parts.Registry.Release(ctx, claim); err != nil {
		b.parts.Log.WarnContext(ctx, "registration key not released", "error", err)
	}
}

package cache

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// MemoryParts is what a [Memory] is made of. Every field is required.
type MemoryParts struct {
	// Entries bounds the tokens kept, and the registrations; the least used go first.
	Entries  int
	Lifetime session.Lifetime
	// Late is how long a mint may be carried out that nobody waits for any more.
	Late time.Duration
	Now  func() time.Time
}

// Memory keeps tokens and registrations in the process. It is a [session.Store], a [session.Registry] and a
// [session.Leaser] for a replica on its own, and never returns an error of its own. [Memory.Close] ends its goroutines.
type Memory struct {
	parts         MemoryParts
	tokens        *otter.Cache[session.ClientID, session.Token]
	registrations *otter.Cache[string, registration]
	// open :: client -> until when a mint may be carried out that nobody waits for any more
	open *otter.Cache[session.ClientID, time.Time]
}

// registration is a key's record: pending with an owner, or done with a client.
type registration struct {
	asked   session.Registration
	owner   string
	client  session.ClientID
	expires time.Time
}

// NewMemory returns an empty Memory.
func NewMemory(parts MemoryParts) *Memory {
	left := func(until time.Time) time.Duration { return max(until.Sub(parts.Now()), 1) }
	return &Memory{
		parts: parts,
		tokens: otter.Must(&otter.Options[session.ClientID, session.Token]{
			MaximumSize: parts.Entries,
			ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[session.ClientID, session.Token]) time.Duration {
				return left(keptUntil(parts.Lifetime, e.Value))
			}),
		}),
		registrations: otter.Must(&otter.Options[string, registration]{
			MaximumSize: parts.Entries,
			ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, registration]) time.Duration {
				return left(e.Value.expires)
			}),
		}),
		open: otter.Must(&otter.Options[session.ClientID, time.Time]{
			MaximumSize: parts.Entries,
			ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[session.ClientID, time.Time]) time.Duration {
				return left(e.Value)
			}),
		}),
	}
}

// Close ends the goroutines. The Memory must not be used any more.
func (m *Memory) Close() error {
	m.tokens.StopAllGoroutines()
	m.registrations.StopAllGoroutines()
	m.open.StopAllGoroutines()
	return nil
}

// Ping always succeeds.
func (m *Memory) Ping(context.Context) error { return nil }

// Load implements [session.Store].
func (m *Memory) Load(_ context.Context, client session.ClientID) (session.Token, error) {
	token, ok := m.tokens.GetIfPresent(client)
	if !ok || !m.parts.Now().Before(keptUntil(m.parts.Lifetime, token)) {
		return session.Token{}, nil
	}
	return token, nil
}

// Recall implements [session.Remembering].
func (m *Memory) Recall(
	_ context.Context, client session.ClientID, good func(session.Token, time.Time) bool,
) (session.Token, time.Time, bool) {
	token, found := m.tokens.GetIfPresent(client)
	now := m.parts.Now()
	return token, now, found && good(token, now)
}

// Look implements [session.Store].
func (m *Memory) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return m.Load(ctx, client)
}

// Commit implements [session.Store].
func (m *Memory) Commit(_ context.Context, token session.Token, seen uint64) (session.Token, error) {
	kept, _ := m.tokens.Compute(token.Client, func(old session.Token, found bool) (session.Token, otter.ComputeOp) {
		if !found || m.expired(old) {
			old = session.Token{}
		}
		return session.Kept(old, token, seen, token.Fence), otter.WriteOp
	})
	return kept, nil
}

// Slide implements [session.Store].
func (m *Memory) Slide(_ context.Context, move session.Move) (session.Match, error) {
	return m.compare(move.Client, move.ID, func(token session.Token) (session.Token, otter.ComputeOp) {
		return move.Of(token), otter.WriteOp
	}), nil
}

// Forget implements [session.Store].
func (m *Memory) Forget(_ context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	return m.compare(client, id, func(session.Token) (session.Token, otter.ComputeOp) {
		return session.Token{}, otter.InvalidateOp
	}), nil
}

// compare changes the client's token, in one step, if it is the one named.
func (m *Memory) compare(client session.ClientID, id session.TokenID, change func(session.Token) (session.Token, otter.ComputeOp)) session.Match {
	match := session.MatchNone
	m.tokens.Compute(client, func(token session.Token, found bool) (session.Token, otter.ComputeOp) {
		if !found {
			return token, otter.CancelOp
		}
		match = m.match(token, id)
		if match != session.MatchSame {
			return token, otter.CancelOp
		}
		return change(token)
	})
	return match
}

func (m *Memory) match(token session.Token, id session.TokenID) session.Match {
	switch {
	case m.expired(token):
		return session.MatchNone
	case !id.IsZero() && token.ID != id:
		return session.MatchOther
	}
	return session.MatchSame
}

// expired asks the token's own dates: what is kept outlasts it.
func (m *Memory) expired(token session.Token) bool {
	return !m.parts.Now().Before(m.parts.Lifetime.ExpiresAt(token))
}

// Claim implements [session.Registry].
func (m *Memory) Claim(_ context.Context, claim session.Claim) (client session.ClientID, err error) {
	now := m.parts.Now()
	m.registrations.Compute(claim.Key, func(old registration, found bool) (registration, otter.ComputeOp) {
		if !found || !now.Before(old.expires) {
			return registration{asked: claim.Registration, owner: claim.Owner, expires: now.Add(claim.Hold)}, otter.WriteOp
		}
		client, err = old.answer(claim)
		return old, otter.CancelOp
	})
	return client, err
}

func (r registration) answer(claim session.Claim) (session.ClientID, error) {
	switch {
	case r.asked != claim.Registration:
		return "", errKeyReused
	case r.client != "" || r.owner == claim.Owner:
		return r.client, nil
	}
	return "", session.ErrRegistrationBusy
}

// Settle implements [session.Registry].
func (m *Memory) Settle(_ context.Context, claim session.Claim, client session.ClientID, keep time.Duration) error {
	m.registrations.Compute(claim.Key, func(old registration, found bool) (registration, otter.ComputeOp) {
		if found && old.owner != claim.Owner {
			return old, otter.CancelOp
		}
		expires := m.parts.Now().Add(keep)
		return registration{asked: claim.Registration, owner: claim.Owner, client: client, expires: expires}, otter.WriteOp
	})
	return nil
}

// Release implements [session.Registry].
func (m *Memory) Release(_ context.Context, claim session.Claim) error {
	m.registrations.Compute(claim.Key, func(old registration, found bool) (registration, otter.ComputeOp) {
		if found && old.owner == claim.Owner && old.client == "" {
			return old, otter.InvalidateOp
		}
		return old, otter.CancelOp
	})
	return nil
}

// Acquire implements [session.Leaser] for a replica on its own: nobody else mints.
func (m *Memory) Acquire(_ context.Context, client session.ClientID, owner string) (session.Lease, error) {
	old, _ := m.tokens.GetIfPresent(client)
	until, _ := m.open.GetIfPresent(client)
	return session.Lease{
		Client: client, Owner: owner, Fence: old.Fence + 1, Seen: old.Fence, Hold: time.Hour, Doubt: m.parts.Now().Before(until),
	}, nil
}

// Renew implements [session.Leaser].
func (m *Memory) Renew(context.Context, session.Lease) error { return nil }

// LetGo implements [session.Leaser].
func (m *Memory) LetGo(context.Context, session.Lease) error { return nil }

// Abandon implements [session.Leaser].
func (m *Memory) Abandon(_ context.Context, lease session.Lease) error {
	m.open.Set(lease.Client, m.parts.Now().Add(m.parts.Late))
	return nil
}

// Watch implements [session.Leaser]; nothing changes but by this replica.
func (m *Memory) Watch(session.ClientID) (changed <-chan struct{}, stop func()) {
	return nil, func() {}
}

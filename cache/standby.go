package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// pause is how long a store that failed is left alone: a request asks it several times, and should wait once.
const pause = 150 * time.Millisecond

// errPaused stands for the failure a moment ago.
var errPaused = errors.New("the store failed a moment ago")

// StandbyParts is what a [Standby] is made of. Every field is required.
type StandbyParts struct {
	Store  session.Store
	Memory *Memory
	Now    func() time.Time
}

// Standby is a [session.Store] in front of another: while that one fails, it answers from what it saw pass. While
// that one works, it alone decides.
type Standby struct {
	parts StandbyParts
	// retryAt is the Unix time in ns until which the store is left alone.
	retryAt atomic.Int64
	// unsaved :: session.ClientID -> session.TokenID, minted while the store failed and not in it yet
	unsaved sync.Map
}

// NewStandby returns a Standby made of parts.
func NewStandby(parts StandbyParts) *Standby { return &Standby{parts: parts} }

// Load implements [session.Store]. It fails only if the store does and the client's token did not pass.
func (s *Standby) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	var token session.Token
	err := s.try(func() (err error) { token, err = s.parts.Store.Load(ctx, client); return err })
	if err == nil {
		return s.reconcile(ctx, client, token), nil
	}
	if errors.Is(err, session.ErrRecordUnreadable) {
		return session.Token{}, err
	}
	kept, _ := s.parts.Memory.Load(ctx, client)
	if kept.IsZero() {
		return session.Token{}, err
	}
	return kept, nil
}

// reconcile returns what the store said, and keeps it, a miss too. Only a newer token that the store could not be told
// of wins over it; it is told now.
func (s *Standby) reconcile(ctx context.Context, client session.ClientID, stored session.Token) session.Token {
	if id, ok := s.unsaved.Load(client); ok {
		kept, _ := s.parts.Memory.Load(ctx, client)
		if kept.ID == id && kept.MintedAt.After(stored.MintedAt) {
			_ = s.Save(ctx, kept)
			return kept
		}
		s.unsaved.Delete(client)
	}
	if stored.IsZero() {
		_, _ = s.parts.Memory.Forget(ctx, client, session.TokenID{})
		return stored
	}
	_ = s.parts.Memory.Save(ctx, stored)
	return stored
}

// Save implements [session.Store].
func (s *Standby) Save(ctx context.Context, token session.Token) error {
	_ = s.parts.Memory.Save(ctx, token)
	err := s.try(func() error { return s.parts.Store.Save(ctx, token) })
	if err != nil {
		s.unsaved.Store(token.Client, token.ID)
		return err
	}
	s.unsaved.Delete(token.Client)
	return nil
}

// Slide implements [session.Store]. While the store fails, the memory's word stands.
func (s *Standby) Slide(ctx context.Context, client session.ClientID, id session.TokenID, at time.Time) (match session.Match, err error) {
	kept, _ := s.parts.Memory.Slide(ctx, client, id, at)
	err = s.try(func() (err error) { match, err = s.parts.Store.Slide(ctx, client, id, at); return err })
	if err != nil && kept == session.MatchSame {
		return kept, nil
	}
	return match, err
}

// Forget implements [session.Store]. While the store fails the error stays: the token may be back when it returns.
func (s *Standby) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (match session.Match, err error) {
	_, _ = s.parts.Memory.Forget(ctx, client, id)
	err = s.try(func() (err error) { match, err = s.parts.Store.Forget(ctx, client, id); return err })
	return match, err
}

// try asks the store, unless it failed a moment ago.
func (s *Standby) try(ask func() error) error {
	if s.parts.Now().UnixNano() < s.retryAt.Load() {
		return errPaused
	}
	err := ask()
	if err != nil && !errors.Is(err, session.ErrRecordUnreadable) && !errors.Is(err, context.Canceled) {
		s.retryAt.Store(s.parts.Now().Add(pause).UnixNano())
	}
	return err
}

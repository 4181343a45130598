package sessiontest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// ErrStoreDown is what a [Store] returns while it is down.
var ErrStoreDown = errors.New("the store is down")

// Store is a [session.Store], a [session.Leaser] and a [session.Registry] in maps. The zero Store is empty and works.
type Store struct {
	mu sync.Mutex
	// tokens :: client -> token
	tokens map[session.ClientID]session.Token
	// forgotten are the clients whose token was forgotten, and not lost.
	forgotten map[session.ClientID]bool
	// registrations :: key -> what became of it
	registrations map[string]registration
	// leases :: client -> the lease that holds, by the clock of package time
	leases map[session.ClientID]held
	// fences :: client -> the latest fence
	fences map[session.ClientID]uint64
	// open :: client -> whose mint may be carried out yet
	open map[session.ClientID]open
	// watchers :: client -> those who wait for it
	watchers map[session.ClientID]map[chan struct{}]bool
	down     error
	loads    int
}

type registration struct {
	claim  session.Claim
	client session.ClientID
}

// Break makes every call return err; nil mends it.
func (s *Store) Break(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// Loads returns how often Load was called.
func (s *Store) Loads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

// Load implements [session.Store].
func (s *Store) Load(_ context.Context, client session.ClientID) (session.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	if s.down != nil {
		return session.Token{}, s.down
	}
	return s.tokens[client], nil
}

// Look implements [session.Store].
func (s *Store) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return s.Load(ctx, client)
}

// Commit implements [session.Store].
func (s *Store) Commit(_ context.Context, token session.Token, seen uint64) (session.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return session.Token{}, s.down
	}
	if token.Fence == 0 {
		s.nextFence(token.Client) // whoever mints under a lease at the same time is to know
	}
	kept := session.Kept(s.tokens[token.Client], token, seen, s.fences[token.Client])
	s.put(kept)
	s.tell(token.Client)
	return kept, nil
}

// Slide implements [session.Store].
func (s *Store) Slide(_ context.Context, move session.Move) (session.Match, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	match, err := s.match(move.Client, move.ID)
	if match == session.MatchSame {
		s.tokens[move.Client] = move.Of(s.tokens[move.Client])
	}
	return match, err
}

// Forget implements [session.Store].
func (s *Store) Forget(_ context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	match, err := s.match(client, id)
	if err == nil && match != session.MatchOther {
		delete(s.tokens, client)
		if s.forgotten == nil {
			s.forgotten = map[session.ClientID]bool{}
		}
		s.forgotten[client] = true
	}
	return match, err
}

// Lose loses everything, as a store does whose data was wiped.
func (s *Store) Lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens, s.forgotten, s.registrations, s.leases, s.fences, s.open = nil, nil, nil, nil, nil, nil
}

// Restore puts back a token that was lost, and returns what is kept for its client then: none if it was forgotten.
func (s *Store) Restore(_ context.Context, token session.Token) (session.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, there := s.tokens[token.Client]
	switch {
	case s.down != nil:
		return session.Token{}, s.down
	case there || s.forgotten[token.Client]:
		return kept, nil
	}
	s.put(token)
	return token, nil
}

func (s *Store) put(token session.Token) {
	if s.tokens == nil {
		s.tokens = map[session.ClientID]session.Token{}
	}
	s.tokens[token.Client] = token
	delete(s.forgotten, token.Client)
}

func (s *Store) match(client session.ClientID, id session.TokenID) (session.Match, error) {
	token := s.tokens[client]
	switch {
	case s.down != nil:
		return session.MatchNone, s.down
	case token.IsZero():
		return session.MatchNone, nil
	case !id.IsZero() && token.ID != id:
		return session.MatchOther, nil
	}
	return session.MatchSame, nil
}

// Claim implements [session.Registry]; a claim holds until it is settled or released.
func (s *Store) Claim(_ context.Context, claim session.Claim) (session.ClientID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return "", s.down
	}
	old, ok := s.registrations[claim.Key]
	switch {
	case !ok:
		if s.registrations == nil {
			s.registrations = map[string]registration{}
		}
		s.registrations[claim.Key] = registration{claim: claim}
		return "", nil
	case old.claim.Registration != claim.Registration:
		return "", session.ErrInvalidRequest
	case old.client != "" || old.claim.Owner == claim.Owner:
		return old.client, nil
	}
	return "", session.ErrRegistrationBusy
}

// Settle implements [session.Registry].
func (s *Store) Settle(_ context.Context, claim session.Claim, client session.ClientID, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if s.registrations[claim.Key].claim.Owner == claim.Owner {
		s.registrations[claim.Key] = registration{claim: claim, client: client}
	}
	return nil
}

// Release implements [session.Registry].
func (s *Store) Release(_ context.Context, claim session.Claim) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if old := s.registrations[claim.Key]; old.claim.Owner == claim.Owner && old.client == "" {
		delete(s.registrations, claim.Key)
	}
	return nil
}

package sessiontest

import (
	"context"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// LeaseHold is how long a lease of a [Store] lasts.
const LeaseHold = 3 * time.Second

type held struct {
	owner string
	until time.Time
}

// Acquire implements [session.Leaser].
func (s *Store) Acquire(_ context.Context, client session.ClientID, owner string) (session.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return session.Lease{}, s.down
	}
	if s.leases == nil {
		s.leases, s.fences = map[session.ClientID]held{}, map[session.ClientID]uint64{}
	}
	now, seen := time.Now(), s.tokens[client].Fence
	lease, taken := s.leases[client]
	taken = taken && now.Before(lease.until)
	if taken && lease.owner != owner {
		return session.Lease{}, session.ErrLeaseBusy
	}
	if !taken {
		s.fences[client] = max(s.fences[client], seen) + 1
	}
	s.leases[client] = held{owner: owner, until: now.Add(LeaseHold)}
	return session.Lease{Client: client, Owner: owner, Fence: s.fences[client], Seen: seen, Hold: LeaseHold}, nil
}

// Renew implements [session.Leaser].
func (s *Store) Renew(_ context.Context, lease session.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch holds := s.leases[lease.Client]; {
	case s.down != nil:
		return s.down
	case holds.owner != lease.Owner || !time.Now().Before(holds.until):
		return session.ErrLeaseLost
	}
	s.leases[lease.Client] = held{owner: lease.Owner, until: time.Now().Add(LeaseHold)}
	return nil
}

// LetGo implements [session.Leaser].
func (s *Store) LetGo(_ context.Context, lease session.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if s.leases[lease.Client].owner == lease.Owner {
		delete(s.leases, lease.Client)
		s.tell(lease.Client)
	}
	return nil
}

// Watch implements [session.Leaser].
func (s *Store) Watch(client session.ClientID) (changed <-chan struct{}, stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	watcher := make(chan struct{}, 1)
	if s.watchers == nil {
		s.watchers = map[session.ClientID]map[chan struct{}]bool{}
	}
	if s.watchers[client] == nil {
		s.watchers[client] = map[chan struct{}]bool{}
	}
	s.watchers[client][watcher] = true
	return watcher, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers[client], watcher)
	}
}

func (s *Store) tell(client session.ClientID) {
	for watcher := range s.watchers[client] {
		select {
		case watcher <- struct{}{}:
		default:
		}
	}
}

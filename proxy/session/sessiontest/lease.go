package sessiontest

import (
	"context"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// LeaseHold is how long a lease of a [Store] lasts.
const LeaseHold = 3 * time.Second

// Late is how long after the end of its lease a [Store] takes a mint for one that may be carried out yet.
const Late = 20 * time.Second

// open says whose mint may be carried out yet, and until when; no owner is more than one.
type open struct {
	owner string
	until time.Time
}

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
		s.leases = map[session.ClientID]held{}
	}
	now, seen := time.Now(), s.tokens[client].Fence
	lease, taken := s.leases[client]
	taken = taken && now.Before(lease.until)
	if taken && lease.owner != owner {
		return session.Lease{}, session.ErrLeaseBusy
	}
	if !taken {
		s.nextFence(client)
	}
	s.leases[client] = held{owner: owner, until: now.Add(LeaseHold)}
	before, doubt := s.open[client], false
	whose := open{owner: owner, until: now.Add(LeaseHold + Late)}
	if now.Before(before.until) && before.owner != owner {
		doubt, whose.owner = true, ""
	}
	s.noteOpen(client, whose)
	return session.Lease{Client: client, Owner: owner, Fence: s.fences[client], Seen: seen, Hold: LeaseHold, Doubt: doubt}, nil
}

// nextFence begins the client's fences with the time: higher than any from before the data was lost.
func (s *Store) nextFence(client session.ClientID) {
	if s.fences == nil {
		s.fences = map[session.ClientID]uint64{}
	}
	latest := s.fences[client]
	if latest == 0 {
		latest = uint64(time.Now().UnixMicro() / 10)
	}
	s.fences[client] = max(latest, s.tokens[client].Fence) + 1
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
	s.open[lease.Client] = open{owner: s.open[lease.Client].owner, until: time.Now().Add(LeaseHold + Late)}
	return nil
}

// LetGo implements [session.Leaser].
func (s *Store) LetGo(_ context.Context, lease session.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	ours, left := s.giveBack(lease), s.open[lease.Client]
	switch {
	case left.owner == lease.Owner:
		delete(s.open, lease.Client)
	case ours && time.Now().Before(left.until):
		return session.ErrLeaseDoubt
	}
	return nil
}

// Abandon implements [session.Leaser].
func (s *Store) Abandon(_ context.Context, lease session.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	s.noteOpen(lease.Client, open{until: time.Now().Add(Late)})
	s.giveBack(lease)
	return nil
}

func (s *Store) noteOpen(client session.ClientID, whose open) {
	if s.open == nil {
		s.open = map[session.ClientID]open{}
	}
	s.open[client] = whose
}

// giveBack reports whether the lease was still the owner's.
func (s *Store) giveBack(lease session.Lease) bool {
	if s.leases[lease.Client].owner != lease.Owner {
		return false
	}
	delete(s.leases, lease.Client)
	s.tell(lease.Client)
	return true
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

package session

import (
	"math"
	"sync/atomic"
)

// Work is what callers wait for.
type Work string

// The kinds of work, in the order in which a crowd is let in. A token that is served as it is waits for nothing, and is
// always let in.
const (
	WorkRefresh  Work = "refresh"
	WorkMint     Work = "mint"
	WorkRegister Work = "register"
)

// Works lists every Work, for those who count by it.
func Works() []Work { return []Work{WorkRefresh, WorkMint, WorkRegister} }

// Limits bound what a Broker does at once; a field that is zero sets no limit.
type Limits struct {
	// Waiting is the most callers who wait for a flight.
	Waiting int
	// Flights is the most flights, those included that wait for their turn at Portal, or whose callers have left.
	Flights int
}

// OverloadError turns away Work for which there is no room. It wraps [ErrOverloaded].
type OverloadError struct{ Work Work }

// Error returns the text of [ErrOverloaded]: how much is under way is not the caller's affair.
func (e *OverloadError) Error() string { return ErrOverloaded.Error() }

// Unwrap returns [ErrOverloaded].
func (e *OverloadError) Unwrap() error { return ErrOverloaded }

// room has places for work. What is dearer may fill less of it, so that it is turned away first. Nothing waits for a
// place: who gets none is told so at once, and it is there again as soon as another has left.
type room struct {
	places int64 // 0 is no limit
	taken  atomic.Int64
}

func newRoom(places int) *room { return &room{places: int64(places)} }

// enter takes a place; [OverloadError] if there is none for this work.
func (r *room) enter(work Work) error {
	for limit := r.limit(work); ; {
		taken := r.taken.Load()
		if taken >= limit {
			return &OverloadError{work}
		}
		if r.taken.CompareAndSwap(taken, taken+1) {
			return nil
		}
	}
}

func (r *room) leave() { r.taken.Add(-1) }

// busy reports whether what can as well be done later should be.
func (r *room) busy() bool { return r.taken.Load() >= r.limit(WorkRegister) }

// limit returns how far the work may fill the room.
func (r *room) limit(work Work) int64 {
	switch {
	case r.places == 0:
		return math.MaxInt64
	case work == WorkMint:
		return max(r.places*3/4, 1)
	case work == WorkRegister:
		return max(r.places/2, 1)
	}
	return r.places
}

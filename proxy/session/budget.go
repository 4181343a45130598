package session

import (
	"context"
	"errors"
	"time"
)

// Class is a kind of request that Portal counts by itself.
type Class string

// The classes.
const (
	ClassMint  Class = "mint"  // minting and registering: the Custodian API
	ClassProbe Class = "probe" // probing: the Clients API
)

// Classes lists every Class, for those who count by it.
func Classes() []Class { return []Class{ClassMint, ClassProbe} }

// ErrNoneSpare is what is asked of Portal and nobody waits for gets where no turn is spare.
var ErrNoneSpare = errors.New("no turn is spare")

type unhurriedKey struct{}

// Unhurried marks what nobody waits for, so that it is done only where a turn is spare.
func Unhurried(ctx context.Context) context.Context {
	return context.WithValue(ctx, unhurriedKey{}, true)
}

// IsUnhurried reports whether nobody waits for what Portal is asked: if no turn is spare for it, that is [ErrNoneSpare].
func IsUnhurried(ctx context.Context) bool { return ctx.Value(unhurriedKey{}) != nil }

// Budget is how many requests Portal allows the whole fleet.
type Budget interface {
	// Wait returns when a request of the class may leave, first come first served, or at once [ErrPortalRateLimited]
	// with the wait if that would be longer than patience.
	Wait(ctx context.Context, class Class, patience time.Duration) error
	// Spare takes a turn that is free at once if a part of all turns stays for those who wait for one, else it returns
	// what Wait does.
	Spare(ctx context.Context, class Class) error
	// Pause stops requests of the class for wait, since Portal said so; for longer each time if wait is 0.
	Pause(ctx context.Context, class Class, wait time.Duration)
	// Bar stops requests of the class for longer each time, since Portal refuses the key that they go with: who does not get
	// a turn meanwhile is told [ErrPortalUnauthorized].
	Bar(ctx context.Context, class Class)
}

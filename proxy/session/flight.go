package session

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
)

// flights runs one piece of work per key at a time and gives its result to everybody who asked meanwhile. The work
// belongs to the group, not to the caller who started it: it goes on when that caller leaves, and close waits for it.
type flights[K comparable, V any] struct {
	log  *slog.Logger
	wait sync.WaitGroup
	// room is where each flight takes a place for its work.
	room *room
	work Work
	// cut is closed when close runs out of patience.
	cut     chan struct{}
	cutOnce sync.Once

	mu     sync.Mutex
	closed bool
	// under :: key -> the flight under way
	under map[K]*flight[V]
}

// flight is one piece of work. value and err may be read once done is closed.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// wait returns what the flight brings, or ctx's error once the caller leaves.
func (f *flight[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

func newFlights[K comparable, V any](log *slog.Logger, room *room, work Work) *flights[K, V] {
	return &flights[K, V]{log: log, room: room, work: work, cut: make(chan struct{}), under: map[K]*flight[V]{}}
}

// join returns the flight under way for key, or starts work as one; led says which. ctx lends its values only. To join
// costs nothing; where there is no room for one more, the flight that is returned has ended with [OverloadError].
func (g *flights[K, V]) join(ctx context.Context, key K, work func(context.Context) (V, error)) (f *flight[V], led bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.under[key]; ok {
		return f, false
	}
	f = &flight[V]{done: make(chan struct{})}
	if f.err = g.admit(); f.err != nil {
		close(f.done)
		return f, true
	}
	g.under[key] = f
	g.wait.Add(1)
	go g.run(context.WithoutCancel(ctx), key, f, work)
	return f, true
}

// admit takes a place for one more flight, if there may be one.
func (g *flights[K, V]) admit() error {
	if g.closed {
		return ErrShuttingDown
	}
	return g.room.enter(g.work)
}

func (g *flights[K, V]) run(ctx context.Context, key K, f *flight[V], work func(context.Context) (V, error)) {
	defer g.wait.Done()
	defer close(f.done)
	defer g.land(key)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go g.cancelWhenCut(ctx, cancel)
	defer func() {
		if cause := recover(); cause != nil {
			f.err = g.crashed(ctx, cause)
		}
		if f.err != nil && errors.Is(context.Cause(ctx), ErrShuttingDown) {
			f.err = ErrShuttingDown
		}
	}()
	f.value, f.err = work(ctx)
}

// cancelWhenCut ends with ctx, which ends with the flight.
func (g *flights[K, V]) cancelWhenCut(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-g.cut:
		cancel(ErrShuttingDown)
	case <-ctx.Done():
	}
}

func (g *flights[K, V]) land(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.under, key)
	g.room.leave()
}

// errCrashed says no more: a panic's value may hold anything, a secret too.
var errCrashed = errors.New("shared work crashed")

func (g *flights[K, V]) crashed(ctx context.Context, cause any) error {
	text := "not shown"
	if fault, ok := cause.(runtime.Error); ok {
		text = fault.Error()
	}
	g.log.ErrorContext(ctx, "panic in shared work", "cause", text, "stack", string(debug.Stack()))
	return errCrashed
}

// refuse lets no new flight begin.
func (g *flights[K, V]) refuse() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func (g *flights[K, V]) close(ctx context.Context) {
	g.refuse()
	stop := context.AfterFunc(ctx, func() { g.cutOnce.Do(func() { close(g.cut) }) })
	defer stop()
	g.wait.Wait()
}

package cache

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/redis/go-redis/v9"
)

const (
	// failuresToOpen is how many commands, one after the other, fail before Redis is left alone: two time-outs are what a
	// request may lose to a hung Redis.
	failuresToOpen = 2
	// openFor only backs up the monitor, which closes the breaker as soon as Redis answers again.
	openFor = 5 * time.Second
	// excusedFor is how long after Redis's latest answer time-outs may be this process's own: the monitor alone hears one
	// every second.
	excusedFor = 2 * monitorEvery
)

// ErrBreakerOpen is what a command gets while Redis is left alone, at once.
var ErrBreakerOpen = errors.New("redis failed a moment ago and is left alone")

// Breaker keeps a Redis that fails from costing each request a time-out. It is a [redis.Hook] over every command; the
// [Monitor] goes past it and closes it.
type Breaker struct {
	circuit circuitbreaker.CircuitBreaker[any]
	// began is what times are counted from: the wall clock may be set back.
	began time.Time
	// failedAt is when the latest failure that counted was seen, answeredAt when Redis last said something.
	failedAt, answeredAt atomic.Int64
}

// NewBreaker returns a closed Breaker.
func NewBreaker() *Breaker {
	return &Breaker{began: time.Now(), circuit: circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(failuresToOpen).WithSuccessThreshold(1).WithDelay(openFor).Build()}
}

// IsOpen reports whether Redis is being left alone.
func (b *Breaker) IsOpen() bool { return !b.circuit.IsClosed() }

// The states of a Breaker.
const (
	BreakerClosed   = "closed"
	BreakerHalfOpen = "half_open" // one command at a time is let through, to see
	BreakerOpen     = "open"
)

// State returns one of the states.
func (b *Breaker) State() string {
	switch b.circuit.State() {
	case circuitbreaker.OpenState:
		return BreakerOpen
	case circuitbreaker.HalfOpenState:
		return BreakerHalfOpen
	case circuitbreaker.ClosedState:
	}
	return BreakerClosed
}

type pastBreaker struct{}

// past marks commands that show whether Redis is back.
func past(ctx context.Context) context.Context { return context.WithValue(ctx, pastBreaker{}, true) }

// DialHook implements [redis.Hook].
func (b *Breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (b *Breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := b.guard(ctx, cmd, func() error { return next(ctx, cmd) })
		if errors.Is(err, ErrBreakerOpen) {
			cmd.SetErr(err)
		}
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (b *Breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := b.guard(ctx, cmds[0], func() error { return next(ctx, cmds) })
		for _, cmd := range cmds {
			if errors.Is(err, ErrBreakerOpen) {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// guard counts a command, or those of a pipeline as one. A greeting says nothing of whether Redis can serve (a read-only
// replica is greeted anew for every write that it refuses).
func (b *Breaker) guard(ctx context.Context, first redis.Cmder, command func() error) error {
	if greets(first) {
		return command()
	}
	if !b.admits(ctx) {
		return ErrBreakerOpen
	}
	began := time.Now()
	err := command()
	b.note(ctx, began, err)
	return err
}

func (b *Breaker) admits(ctx context.Context) bool {
	return ctx.Value(pastBreaker{}) != nil || b.circuit.TryAcquirePermit()
}

func (b *Breaker) note(ctx context.Context, began time.Time, err error) {
	answered := answers(err)
	if answered {
		b.answeredAt.Store(b.now())
	}
	switch {
	case answered && ctx.Value(pastBreaker{}) != nil:
		b.circuit.Close()
	case !answered && b.circuit.IsHalfOpen():
		b.circuit.RecordFailure()
	case isDown(ctx, err):
		b.failed(began, err)
	case errors.Is(err, redis.ErrPoolTimeout), err != nil && errors.Is(ctx.Err(), context.Canceled):
		// A crowd here, or a caller who left: neither says anything of Redis.
	default:
		b.circuit.RecordSuccess()
	}
}

// failed counts a failure, unless another was seen while this command ran: what fails at once is one failure, and may
// be no more than this machine having stood still. Nor does a time-out count that may be this process's own.
func (b *Breaker) failed(began time.Time, err error) {
	before := b.failedAt.Load()
	if int64(began.Sub(b.began)) <= before || isTimeout(err) && b.excuses(began) {
		return
	}
	if b.failedAt.CompareAndSwap(before, b.now()) {
		b.circuit.RecordFailure()
	}
}

// excuses reports whether a time-out of a command that began then may be this process's own. However strained that is, it
// hears of a Redis that answers now and then.
func (b *Breaker) excuses(began time.Time) bool {
	return b.now()-b.answeredAt.Load() < int64(excusedFor) && strained(began)
}

// now returns the time since the Breaker was made, in ns.
func (b *Breaker) now() int64 { return int64(time.Since(b.began)) }

// strained reports whether a command that began then and timed out did so well after its time, or whoever is ready to run
// in this process waits long for it: the answer may have come in time, with nobody to read it.
func strained(began time.Time) bool {
	const most = opTimeout / 6
	late, ready := time.Since(began)-opTimeout, time.Now()
	runtime.Gosched()
	return max(late, time.Since(ready)) > most
}

// answers reports whether Redis said something, if only that it won't.
func answers(err error) bool {
	if err == nil {
		return true // as it mostly is: what follows takes memory
	}
	var answered redis.Error
	return errors.As(err, &answered)
}

// isDown tells a Redis that can't serve from one that answers, if only with an error, and from a caller who left.
func isDown(ctx context.Context, err error) bool {
	switch {
	case err == nil, errors.Is(err, redis.Nil), errors.Is(ctx.Err(), context.Canceled), errors.Is(err, redis.ErrPoolTimeout):
		return false
	case redis.IsReadOnlyError(err), redis.IsLoadingError(err), redis.IsMasterDownError(err), redis.IsClusterDownError(err):
		return true
	}
	return !answers(err)
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

package cache

import (
	"context"
	"sync/atomic"
	"time"
)

// shareFor is how long an end is given out; by that much a call may have less than opTimeout.
const shareFor = opTimeout / 10

// deadlines bounds calls by opTimeout. The calls of those who never leave share their end with others that begin about then: an
// end of its own takes a timer, and as much memory as the rest of a look.
type deadlines struct{ latest atomic.Pointer[sharedEnd] }

// sharedEnd is a context that ends opTimeout after it was first given out, or once that is past and nobody needs it any more: a
// timer that fires wakes a thread.
type sharedEnd struct {
	context.Context //nolint:containedctx // it is one

	cancel    context.CancelFunc
	lastGiven time.Time
	// users are the calls under way, and the deadlines as long as it is the latest. leave is for who was one.
	users atomic.Int64
	leave func()
}

// within has the values of one context and the end of another.
type within struct {
	context.Context //nolint:containedctx // it is one

	values context.Context //nolint:containedctx // and has those of this
}

func (w within) Value(key any) any { return w.values.Value(key) }

// bound returns ctx with an end, and what is to be called once, when the call is over.
func (d *deadlines) bound(ctx context.Context) (bounded context.Context, over func()) {
	if ctx.Done() != nil {
		return context.WithTimeout(ctx, opTimeout)
	}
	now := time.Now()
	end := d.latest.Load()
	if end == nil || now.After(end.lastGiven) || !end.join() {
		end = d.begin(now)
	}
	return within{end, ctx}, end.leave
}

// begin makes the latest end, which whoever asked is a user of.
func (d *deadlines) begin(now time.Time) *sharedEnd {
	end := &sharedEnd{lastGiven: now.Add(shareFor)}
	end.Context, end.cancel = context.WithDeadline(context.Background(), now.Add(opTimeout)) //nolint:forbidigo // it is of nobody's
	end.leave = func() {
		if end.users.Add(-1) == 0 {
			end.cancel()
		}
	}
	end.users.Store(2)
	if former := d.latest.Swap(end); former != nil {
		former.leave()
	}
	return end
}

// join makes a call a user, unless there are none left.
func (e *sharedEnd) join() bool {
	for {
		users := e.users.Load()
		if users == 0 {
			return false
		}
		if e.users.CompareAndSwap(users, users+1) {
			return true
		}
	}
}

package cache

import (
	"context"
	"sync/atomic"
	"time"
)

// shareFor is how long an end is given out, by which a call may outlast opTimeout.
const shareFor = opTimeout / 10

// deadlines bounds calls by opTimeout. The calls of those who never leave share their end with others that begin about then: an
// end of its own takes a timer, and as much memory as the rest of a look.
type deadlines struct{ latest atomic.Pointer[sharedEnd] }

// sharedEnd is a context that ends opTimeout after it was last given out.
type sharedEnd struct {
	context.Context //nolint:containedctx // it is one

	lastGiven time.Time
}

// within has the values of one context and the end of another.
type within struct {
	context.Context //nolint:containedctx // it is one

	values context.Context //nolint:containedctx // and has those of this
}

func (w within) Value(key any) any { return w.values.Value(key) }

// bound returns ctx with an end, and what is to be called when the call is over.
func (d *deadlines) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Done() != nil {
		return context.WithTimeout(ctx, opTimeout)
	}
	now := time.Now()
	end := d.latest.Load()
	if end == nil || now.After(end.lastGiven) {
		end = newSharedEnd(ctx, now.Add(shareFor))
		d.latest.Store(end)
	}
	return within{end, ctx}, func() {}
}

func newSharedEnd(ctx context.Context, lastGiven time.Time) *sharedEnd {
	end, cancel := context.WithDeadline(ctx, lastGiven.Add(opTimeout))
	context.AfterFunc(end, cancel)
	return &sharedEnd{end, lastGiven}
}

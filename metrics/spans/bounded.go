package spans

import (
	"context"
	"sync/atomic"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// Why spans are dropped.
const (
	dropFull   = "queue_full"
	dropUnsent = "not_sent"
)

// Drops lists every reason for which spans are dropped, for those who count by it.
func Drops() []string { return []string{dropFull, dropUnsent} }

// bounded lets so many spans wait as its processor has room for, and counts the others, of which the SDK's processor
// tells nobody.
type bounded struct {
	sdk.SpanProcessor
	dropped func(why string, spans int)
	// waiting is how many were taken in and not yet sent.
	waiting *atomic.Int64
}

func newBounded(next sdk.SpanProcessor, dropped func(string, int), to *sender) *bounded {
	return &bounded{SpanProcessor: next, dropped: dropped, waiting: &to.waiting}
}

// OnStart implements [sdk.SpanProcessor].
func (b *bounded) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements [sdk.SpanProcessor].
func (b *bounded) OnEnd(span sdk.ReadOnlySpan) {
	if !span.SpanContext().IsSampled() {
		return
	}
	if b.waiting.Add(1) > mostWaiting {
		b.waiting.Add(-1)
		b.dropped(dropFull, 1)
		return
	}
	b.SpanProcessor.OnEnd(span)
}

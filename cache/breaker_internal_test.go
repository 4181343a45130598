package cache

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestLookThatGotNoConnectionSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker()
		for range failuresToOpen {
			time.Sleep(time.Millisecond)
			_ = b.guard(t.Context(), func(context.Context) error { return io.EOF })
		}
		if !b.IsOpen() {
			t.Fatal("the breaker is closed")
		}
		_ = b.guard(past(t.Context()), func(context.Context) error { return redis.ErrPoolTimeout })
		if !b.IsOpen() {
			t.Error("it closed")
		}
		_ = b.guard(past(t.Context()), func(context.Context) error { return redis.Nil })
		if b.IsOpen() {
			t.Error("an answer left it open")
		}
	})
}

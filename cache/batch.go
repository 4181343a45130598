package cache

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

const (
	// apart is how many reads go each by itself: to wait for others costs them more than the round trips that it saves.
	apart = 8
	// mostBatches go at once: while Redis answers one, the next is under way.
	mostBatches = 2
)

// batches reads values from Redis. The first few reads that are under way go each by itself, the others together: whoever
// asks while others are under way goes with all who do. That takes a round trip for many, and one command for each.
type batches struct {
	client redis.UniversalClient
	// under counts the reads under way.
	under atomic.Int64

	mu      sync.Mutex
	waiting []wanted
	going   int
	flights sync.WaitGroup
}

// wanted is a read that waits for its answer, which is there for it even if it has left.
type wanted struct {
	key    string
	answer chan<- *redis.StringCmd
}

// get returns the value of key, as [redis.Client.Get] does.
func (b *batches) get(ctx context.Context, key string) (string, error) {
	defer b.under.Add(-1)
	if b.under.Add(1) <= apart {
		return b.client.Get(ctx, key).Result()
	}
	answer := make(chan *redis.StringCmd, 1)
	b.join(ctx, wanted{key, answer})
	select {
	case got := <-answer:
		return got.Result()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// join has a read go with the next batch, and sees to it that there is one.
func (b *batches) join(ctx context.Context, one wanted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, one)
	if b.going < mostBatches {
		b.going++
		b.flights.Go(func() { b.run(context.WithoutCancel(ctx)) })
	}
}

// run sends batches as long as anybody waits.
func (b *batches) run(ctx context.Context) {
	for {
		batch := b.next()
		if len(batch) == 0 {
			return
		}
		b.send(ctx, batch)
	}
}

// next returns all that wait. If nobody does, this was the last.
func (b *batches) next() []wanted {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.waiting
	b.waiting = nil
	if len(batch) == 0 {
		b.going--
	}
	return batch
}

func (b *batches) send(ctx context.Context, batch []wanted) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	pipe := b.client.Pipeline()
	commands := make([]*redis.StringCmd, len(batch))
	for i, one := range batch {
		commands[i] = pipe.Get(ctx, one.key)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, one := range batch {
		one.answer <- commands[i]
	}
}

// close waits for those under way.
func (b *batches) close() { b.flights.Wait() }

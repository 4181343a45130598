package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy"

	"github.com/redis/go-redis/v9"
)

// measureInside measures what can't be turned off: what a process with it takes for a fetch beyond one without it, over the whole
// that a fetch takes from memory through net/http, in nanoseconds.
func (r *scaleRun) measureInside(ctx context.Context, store *kept, whole float64) ([]featureFigures, error) {
	counted := metrics.New(metrics.Parts{
		Codes: proxy.Codes(), Answers: answers(), Sheds: proxy.Sheds(), SealOperations: cache.SealOperations(),
	})
	with := serveInProcess(store, inProcess{entries: few, metrics: counted})
	without := serveInProcess(store, inProcess{entries: few})
	plain := redis.NewClient(&redis.Options{Network: "unix", Addr: r.Redis.Socket})
	series, err := r.beyond(whole, ask(ctx, with), ask(ctx, without))
	sealed, err2 := r.beyond(whole, func(number int) error {
		_, err := store.Load(ctx, numbered(number))
		return err
	}, func(number int) error {
		return plain.Get(ctx, store.seal.Key(numbered(number), "token")).Err()
	})
	return []featureFigures{
		{Name: "metrics", Base: throughNetHTTP, Inside: true, Ratio: series},
		{Name: "seal, of a Redis hit", Base: throughNetHTTP, Inside: true, Ratio: sealed},
	}, errors.Join(err, err2, with.close(ctx), without.close(ctx), plain.Close())
}

func answers() []metrics.Answer {
	var all []metrics.Answer
	for _, a := range proxy.Answers() {
		all = append(all, metrics.Answer(a))
	}
	return all
}

func ask(ctx context.Context, s *served) func(number int) error {
	return func(number int) error { return s.request(ctx, number) }
}

// beyond returns by how much the whole is more with what one thing takes beyond another, in processor time of this process.
func (r *scaleRun) beyond(whole float64, one, other func(number int) error) (ratio, error) {
	ratios := make([]float64, 0, r.size.Rounds)
	for range r.size.Rounds {
		more, err := r.processorOf(one)
		if err != nil {
			return ratio{}, err
		}
		less, err := r.processorOf(other)
		if err != nil {
			return ratio{}, err
		}
		ratios = append(ratios, 1+(more-less)/whole)
	}
	return medianOf(ratios), nil
}

// processorOf returns the processor time of one of a slice of calls, in nanoseconds.
func (r *scaleRun) processorOf(do func(number int) error) (float64, error) {
	self := os.Getpid()
	before, err := processorTime(self)
	if err != nil {
		return 0, err
	}
	pick := anyOf(few)
	for range r.size.Slice {
		if err := repeat(func() error { return do(pick()) }); err != nil {
			return 0, fmt.Errorf("ask inside: %w", err)
		}
	}
	after, err := processorTime(self)
	return float64(after-before) / float64(r.size.Slice), err
}

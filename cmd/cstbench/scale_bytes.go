package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
)

// bytesFigures is what a token takes, of a client with an id of 25 characters, in bytes.
type bytesFigures struct {
	Clients     int `json:"clients"`
	TokenLength int `json:"tokenLength"`
	// Redis is what Redis's memory in use grew by (used_memory), for each token.
	Redis float64 `json:"redis"`
	// Minted is the same in the ten minutes after a mint, in which Redis also remembers its number.
	Minted float64 `json:"minted"`
	// ByLength is what Redis says of one record (MEMORY USAGE) with tokens of other lengths. Its share of Redis's tables is not in
	// that.
	ByLength []lengthFigures `json:"byLength"`
	// Memory is what the heap in use grew by for each token remembered in front of Redis, spans that are half empty included, and
	// MemoryObjects what lives there.
	Memory        float64 `json:"memory"`
	MemoryObjects float64 `json:"memoryObjects"`
}

type lengthFigures struct {
	TokenLength int   `json:"tokenLength"`
	Bytes       int64 `json:"bytes"`
}

func (r *scaleRun) measureBytes(ctx context.Context) (figures bytesFigures, err error) {
	if err := r.empty(ctx); err != nil {
		return figures, err
	}
	store, err := openKept(ctx, r.world)
	if err != nil {
		return figures, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	figures.Clients, figures.TokenLength = r.size.Clients, tokenLength
	if figures.Minted, err = r.mintedBytes(ctx, store); err != nil {
		return figures, err
	}
	if figures.ByLength, err = r.byLength(ctx, store); err != nil {
		return figures, err
	}
	if err := r.empty(ctx); err != nil {
		return figures, err
	}
	if figures.Redis, err = r.growth(ctx, r.size.Clients, func() error { return store.fill(ctx, r.size.Clients) }); err != nil {
		return figures, err
	}
	figures.Memory, figures.MemoryObjects, err = heapOf(ctx, store, r.size.Clients)
	return figures, err
}

// mintedBytes is what Redis's memory grows by for a mint.
func (r *scaleRun) mintedBytes(ctx context.Context, store *kept) (float64, error) {
	owner := rand.Text()
	from := func(first int) func(number int) error {
		return func(number int) error { return store.mint(ctx, numbered(first+number), owner) }
	}
	// The first have Redis keep the scripts, and room for each connection.
	if err := inParallel(ctx, 10*fillers, from(firstNew)); err != nil {
		return 0, err
	}
	return r.growth(ctx, r.size.Minted, func() error { return inParallel(ctx, r.size.Minted, from(2*firstNew)) })
}

// empty has Redis hold nothing.
func (r *scaleRun) empty(ctx context.Context) error {
	if err := r.Redis.Client.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("empty Redis: %w", err)
	}
	return nil
}

// growth returns by how much do has Redis's memory grow, for each of n.
func (r *scaleRun) growth(ctx context.Context, n int, do func() error) (float64, error) {
	before, err := r.usedMemory(ctx)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := r.usedMemory(ctx)
	return float64(after-before) / float64(n), err
}

func (r *scaleRun) usedMemory(ctx context.Context) (int, error) {
	info, err := r.Redis.Client.Info(ctx, "memory").Result()
	if err != nil {
		return 0, fmt.Errorf("ask Redis for its memory: %w", err)
	}
	found := regexp.MustCompile(`(?m)^used_memory:(\d+)`).FindStringSubmatch(info)
	if found == nil {
		return 0, errors.New("no used_memory in what Redis says of its memory")
	}
	return strconv.Atoi(found[1])
}

func (r *scaleRun) byLength(ctx context.Context, store *kept) (all []lengthFigures, err error) {
	for _, length := range []int{36, tokenLength, 64, 128, 256} {
		client := numbered(3*firstNew + length)
		if err := repeat(func() error { _, err := store.Restore(ctx, newToken(client, length)); return err }); err != nil {
			return nil, err
		}
		usage, err := r.Redis.Client.MemoryUsage(ctx, store.seal.Key(client, "token")).Result()
		if err != nil {
			return nil, fmt.Errorf("ask Redis for a key's memory: %w", err)
		}
		all = append(all, lengthFigures{length, usage})
	}
	return all, nil
}

// heapOf returns by how much the heap grows for each of n clients whose tokens are fetched from Redis, once it is free of garbage.
func heapOf(ctx context.Context, store *kept, n int) (inUse, objects float64, err error) {
	served := serveInProcess(store, inProcess{entries: n})
	defer func() { err = errors.Join(err, served.close(ctx)) }()
	var before, after runtime.MemStats
	readHeap(&before)
	if err := inParallel(ctx, n, func(number int) error { return served.request(ctx, number) }); err != nil {
		return 0, 0, err
	}
	readHeap(&after)
	if err := served.remembers(ctx, n); err != nil {
		return 0, 0, err
	}
	per := func(after, before uint64) float64 { return (float64(after) - float64(before)) / float64(n) }
	return per(after.HeapInuse, before.HeapInuse), per(after.HeapAlloc, before.HeapAlloc), nil
}

// readHeap reads it twice: what has a finalizer is gone only then.
func readHeap(into *runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(into)
}

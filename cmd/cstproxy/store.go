package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// store is everything that is kept: in Redis for the whole fleet, or in this process.
type store struct {
	tokens   session.Store
	leases   session.Leaser
	registry session.Registry
	budget   session.Budget
	// now is the clock that all replicas share.
	now  func() time.Time
	ping func(context.Context) error
	// look makes a first contact, so that the first request meets the shared clock; it may fail.
	look func(context.Context)
	// run does what must go on in the background, until its context ends.
	run   func(context.Context)
	close func() error
}

func openStore(config Config, m *metrics.Metrics, log *slog.Logger, now func() time.Time) (store, error) {
	if config.RedisURL.IsZero() {
		return openMemory(config, m, log, now), nil
	}
	return openRedis(config, m, log)
}

func openMemory(config Config, m *metrics.Metrics, log *slog.Logger, now func() time.Time) store {
	memory := cache.NewMemory(cache.MemoryParts{Entries: config.MemoryEntries, Lifetime: lifetime(config), Now: now})
	return store{
		tokens: m.Store(metrics.TierMemory, memory), leases: memory, registry: memory,
		budget: cache.NewBudget(cache.BudgetParts{Limits: limits(config), Log: log}),
		now:    now, ping: memory.Ping, look: func(context.Context) {}, run: func(context.Context) {}, close: memory.Close,
	}
}

func openRedis(config Config, m *metrics.Metrics, log *slog.Logger) (store, error) {
	client, err := cache.Connect(config.RedisURL)
	if err != nil {
		return store{}, configError{[]string{"REDIS_URL: " + err.Error()}}
	}
	client.AddHook(cache.NewBreaker())
	var tier *cache.Tier
	monitor := cache.NewMonitor(cache.MonitorParts{
		Client: client, Prefix: config.KeyPrefix, Name: rand.Text(), Log: log,
		Heard: func(ctx context.Context, err error, skew time.Duration) {
			m.RedisUp(err)
			if err == nil {
				m.Skewed(skew)
				tier.Settle(ctx)
			}
		},
	})
	changes := &cache.Changes{}
	shared := cache.NewRedis(cache.RedisParts{Client: client, Prefix: config.KeyPrefix, Lifetime: lifetime(config), Changes: changes})
	tier = cache.NewTier(cache.TierParts{
		Store: m.Store(metrics.TierRedis, shared), Lifetime: lifetime(config),
		Entries: config.MemoryEntries, TTL: config.MemoryTTL, Now: monitor.Now, Meter: m,
	})
	changes.Lost, changes.Changed = tier.Doubt, tier.Drop
	return store{
		tokens: tier, leases: shared, registry: shared, budget: cache.NewBudget(cache.BudgetParts{
			Client: client, Prefix: config.KeyPrefix, Replicas: monitor.Replicas, Limits: limits(config), Log: log,
		}),
		now: monitor.Now, ping: shared.Ping,
		look: func(ctx context.Context) { _ = monitor.Look(ctx) },
		run:  inBackground(client, monitor, changes, config.KeyPrefix),
		close: func() error {
			settling, cancel := context.WithTimeout(context.Background(), time.Second) //nolint:forbidigo // the end has no caller
			defer cancel()
			tier.Settle(settling)
			_ = tier.Close()
			return shared.Close()
		},
	}, nil
}

// inBackground listens for changes and keeps looking at Redis until the context ends.
func inBackground(client redis.UniversalClient, monitor *cache.Monitor, changes *cache.Changes, prefix string) func(context.Context) {
	return func(ctx context.Context) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			changes.Run(ctx, client, prefix)
		}()
		monitor.Run(ctx)
		<-done
	}
}

func limits(config Config) map[session.Class]cache.Limit {
	return map[session.Class]cache.Limit{
		session.ClassMint: cache.Limit(config.MintRate), session.ClassProbe: cache.Limit(config.ProbeRate),
	}
}

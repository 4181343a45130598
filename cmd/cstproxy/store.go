package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/metrics/spans"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// store is everything that is kept: in Redis for the whole fleet, or in this process.
type store struct {
	// kind is what it is called in the log.
	kind     string
	tokens   session.Store
	leases   session.Leaser
	registry session.Registry
	// index tells clients by their tokens; nil where nobody asks. lost says that the fleet's may be lost.
	index  session.Index
	lost   func()
	budget *cache.Budget
	// replicas is how many share the store, as last known.
	replicas func() int
	// breaker is the state of what leaves Redis alone that fails; nil where there is none.
	breaker func() string
	// now and sent are the bounds of the time that all replicas share.
	now, sent func() time.Time
	ping      func(context.Context) error
	// look makes a first contact, so that the first request meets the shared clock; it may fail.
	look func(context.Context)
	// run does what must go on in the background, until its context ends.
	run   func(context.Context)
	close func() error
	// seal encrypts what leaves for Redis; nil where nothing does.
	seal *cache.Seal
	log  *slog.Logger
}

// openStore opens the store that config names; local is the clock of this machine.
func openStore(config Config, files *watch, tracer *spans.Tracer, local func() time.Time) (store, error) {
	clock := cache.ClockParts{Local: local, Lifetime: lifetime(config), Log: files.log}
	seal, err := newSeal(config, files)
	if err != nil {
		return store{}, err
	}
	if config.RedisURL.IsZero() {
		return openMemory(config, files.metrics, clock), nil
	}
	access, err := openAccess(config, files)
	if err != nil {
		return store{}, err
	}
	return openRedis(config, redisParts{access, files.metrics, tracer, clock, seal}), nil
}

// redisParts is what else the store in Redis is made of.
type redisParts struct {
	access  *cache.Access
	metrics *metrics.Metrics
	spans   *spans.Tracer
	clock   cache.ClockParts
	seal    *cache.Seal
}

func openMemory(config Config, m *metrics.Metrics, parts cache.ClockParts) store {
	clock := cache.NewLocalClock(parts)
	memory := cache.NewMemory(cache.MemoryParts{
		Entries: config.MemoryEntries, Lifetime: lifetime(config), Late: flightDeadline(config), Now: clock.Now,
	})
	s := store{
		kind: "memory", tokens: m.Store(metrics.TierMemory, memory), leases: memory, registry: memory, lost: func() {},
		budget:   cache.NewBudget(cache.BudgetParts{Limits: limits(config), Log: parts.Log}),
		replicas: func() int { return 1 },
		now:      clock.Now, sent: clock.Sent, ping: memory.Ping, look: func(context.Context) {}, run: func(context.Context) {}, close: memory.Close,
	}
	return s.indexed(config, nil)
}

func openRedis(config Config, parts redisParts) store {
	client := parts.access.Connect()
	breaker := cache.NewBreaker()
	client.AddHook(breaker)
	parts.spans.Redis(client)
	m, log, seal := parts.metrics, parts.clock.Log, parts.seal
	clock, changes := cache.NewClock(parts.clock), &cache.Changes{Seal: seal}
	shared := cache.NewRedis(cache.RedisParts{
		Client: client, Prefix: config.KeyPrefix, Seal: seal, Lifetime: lifetime(config), Changes: changes,
		Late: flightDeadline(config), Sent: clock.Sent, Unreadable: m.Unreadable,
	})
	tier := cache.NewTier(cache.TierParts{
		Store: m.Store(metrics.TierRedis, shared), Restore: shared.Restore, Lifetime: lifetime(config),
		Entries: config.MemoryEntries, TTL: config.MemoryTTL, Now: clock.Now, Sent: clock.Sent, Meter: m,
	})
	changes.Lost, changes.Changed, seal.Changed = tier.Doubt, tier.Drop, tier.Lost
	well, lost := make(chan struct{}, 1), func() {}
	monitor := cache.NewMonitor(cache.MonitorParts{
		Client: client, Prefix: config.KeyPrefix, Name: rand.Text(), Log: log, Clock: clock,
		Heard: heard(m, well), Lost: func() { shared.Disagree(); tier.Lost(); lost() },
	})
	budget := cache.NewBudget(cache.BudgetParts{
		Client: client, Prefix: config.KeyPrefix, Replicas: monitor.Replicas, Limits: limits(config), Log: log,
	})
	agree := func(ctx context.Context) { agreeOnNames(ctx, shared, log) }
	s := store{
		kind: "redis " + string(parts.access.Kind()), tokens: tier, leases: shared, registry: shared, budget: budget, seal: seal, log: log, lost: func() {},
		replicas: monitor.Replicas, breaker: breaker.State,
		now: clock.Now, sent: clock.Sent, ping: shared.Ping,
		look: func(ctx context.Context) { _ = monitor.Look(ctx); agree(ctx) },
		run: together(monitor.Run, func(ctx context.Context) { settle(ctx, well, agree, budget.Tell, tier.Settle) },
			func(ctx context.Context) { changes.Run(ctx, client, config.KeyPrefix) }),
		close: func() error { return closeRedis(tier, shared) },
	}.indexed(config, shared)
	lost = s.lost
	return s
}

// indexed has tokens tell whose they are, where requests may come with a token alone; shared is nil where there is no fleet.
func (s store) indexed(config Config, shared *cache.Redis) store {
	if !config.Passthrough.withTokens() {
		return s
	}
	index := cache.NewIndex(cache.IndexParts{Store: s.tokens, Shared: shared, Lifetime: lifetime(config), Entries: config.MemoryEntries})
	run := s.run
	s.tokens, s.index, s.lost = index, index, index.Lost
	s.run = together(run, index.Run)
	return s
}

// agreeOnNames is tried again each time that Redis is well.
func agreeOnNames(ctx context.Context, shared *cache.Redis, log *slog.Logger) {
	if err := shared.Agree(ctx); err != nil {
		log.WarnContext(ctx, "names in Redis not agreed on", "error", err)
	}
}

// heard counts what the monitor finds, and passes on that Redis is well: what it was not told can be told.
func heard(m *metrics.Metrics, well chan<- struct{}) func(error, time.Duration) {
	return func(err error, skew time.Duration) {
		m.RedisUp(err)
		if err != nil {
			return
		}
		m.Skewed(skew)
		select {
		case well <- struct{}{}:
		default: // it is being told
		}
	}
}

// together runs all the work at once, and ends when all of it has.
func together(work ...func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		var group sync.WaitGroup
		for _, w := range work {
			group.Go(func() { w(ctx) })
		}
		group.Wait()
	}
}

// closeRedis tells Redis what it was not told yet, if it can be told soon.
func closeRedis(tier *cache.Tier, shared *cache.Redis) error {
	settling, cancel := context.WithTimeout(context.Background(), time.Second) //nolint:forbidigo // the end has no caller
	defer cancel()
	tier.Settle(settling)
	_ = tier.Close()
	return shared.Close()
}

// settle tells Redis what it could not be told, each time that it is well, until ctx ends.
func settle(ctx context.Context, well <-chan struct{}, tell ...func(context.Context)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-well:
			inTurn(ctx, tell)
		}
	}
}

func inTurn(ctx context.Context, work []func(context.Context)) {
	for _, w := range work {
		w(ctx)
	}
}

func limits(config Config) map[session.Class]cache.Limit {
	return map[session.Class]cache.Limit{
		session.ClassMint: cache.Limit(config.MintRate), session.ClassProbe: cache.Limit(config.ProbeRate),
	}
}

package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// The tiers of the cache.
const (
	TierMemory = "memory"
	TierRedis  = "redis"
)

// What a lookup brought.
const (
	hit    = "hit"
	miss   = "miss"
	failed = "error"
)

// kept counts what is done with what is kept.
type kept struct {
	loads      *prometheus.CounterVec
	unreadable prometheus.Counter
	unsealed   counters[string]
	redisUp    *prometheus.GaugeVec
	skew       *prometheus.GaugeVec
	leases     counters[string]

	memoryHits, memoryMisses prometheus.Counter
}

func newKept(in registrar, parts Parts) kept {
	k := kept{
		loads: in.counter("cstproxy_cache_requests_total",
			"Lookups of tokens; a hit need not be live.", "tier", "result"),
		unreadable: in.counter("cstproxy_corrupt_records_total",
			"Replies of Redis that are not what was asked for: torn, sealed with a key not known, or another client's.").WithLabelValues(),
		unsealed: known(in.counter("cstproxy_seal_failures_total",
			"Things that could not be sealed for Redis, or opened.", "operation"), parts.SealOperations...),
		redisUp: in.gauge("cstproxy_redis_up",
			"1 if Redis did what it was last asked, else 0; only where there is a Redis."),
		skew: in.gauge("cstproxy_clock_skew_seconds",
			"How far this machine's clock is ahead of Redis's, whose time counts."),
		leases: known(in.counter("cstproxy_leases_total",
			"Leases to mint for a client, by what became of them.", "outcome"), taken, busy, leaseLost, failed),
	}
	for _, tier := range []string{TierMemory, TierRedis} {
		for _, result := range []string{hit, miss, failed} {
			k.loads.WithLabelValues(tier, result)
		}
	}
	k.memoryHits, k.memoryMisses = k.loads.WithLabelValues(TierMemory, hit), k.loads.WithLabelValues(TierMemory, miss)
	return k
}

// Store counts what lookups in next bring, for one tier. One that failed after its caller had left says nothing of the
// store, so it counts nowhere.
func (m *Metrics) Store(tier string, next session.Store) session.Store {
	if tier == TierRedis {
		m.kept.redisUp.WithLabelValues() // there is one, whether or not it was heard of yet
		m.kept.skew.WithLabelValues()
	}
	remembering, _ := next.(session.Remembering)
	return countedStore{
		Store: next, remembering: remembering,
		hits:   m.kept.loads.WithLabelValues(tier, hit),
		misses: m.kept.loads.WithLabelValues(tier, miss),
		errors: m.kept.loads.WithLabelValues(tier, failed),
	}
}

// RedisUp takes err for what Redis said when it was last asked: nil is up.
func (m *Metrics) RedisUp(err error) {
	up := m.kept.redisUp.WithLabelValues()
	switch {
	case err == nil, errors.Is(err, session.ErrRecordUnreadable): // whoever hands out a broken record is up
		up.Set(1)
	case !errors.Is(err, context.Canceled):
		up.Set(0)
	}
}

// Skewed takes how far the local clock is ahead of Redis's.
func (m *Metrics) Skewed(ahead time.Duration) { m.kept.skew.WithLabelValues().Set(ahead.Seconds()) }

// Unreadable counts a reply of the store that is not what was asked for.
func (m *Metrics) Unreadable() { m.kept.unreadable.Inc() }

// SealFailed counts what could not be sealed or opened.
func (m *Metrics) SealFailed(operation string) { m.kept.unsealed.inc(operation) }

// MemoryHit counts a lookup that the memory in front of Redis answered.
func (m *Metrics) MemoryHit() { m.kept.memoryHits.Inc() }

// MemoryMiss counts one that it did not.
func (m *Metrics) MemoryMiss() { m.kept.memoryMisses.Inc() }

// callerLeft reports whether err may be the caller's own doing: it left, or its time was up.
func callerLeft(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled))
}

// countedStore counts lookups and passes on the rest.
type countedStore struct {
	session.Store
	remembering          session.Remembering // nil if the store is none
	hits, misses, errors prometheus.Counter
}

// Load implements [session.Store].
func (s countedStore) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	token, err := s.Store.Load(ctx, client)
	s.count(ctx, token, err)
	return token, err
}

// Look implements [session.Store].
func (s countedStore) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	token, err := s.Store.Look(ctx, client)
	s.count(ctx, token, err)
	return token, err
}

// Recall implements [session.Remembering], if the store that is counted does. Who recalls nothing goes on to Load.
func (s countedStore) Recall(
	ctx context.Context, client session.ClientID, good func(session.Token, time.Time) bool,
) (session.Token, time.Time, bool) {
	if s.remembering == nil {
		return session.Token{}, time.Time{}, false
	}
	token, at, ok := s.remembering.Recall(ctx, client, good)
	if ok {
		s.count(ctx, token, nil)
	}
	return token, at, ok
}

func (s countedStore) count(ctx context.Context, token session.Token, err error) {
	switch {
	case callerLeft(ctx, err):
	case err != nil:
		s.errors.Inc()
	case token.IsZero():
		s.misses.Inc()
	default:
		s.hits.Inc()
	}
}

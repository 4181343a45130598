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

// Store counts what lookups in next bring, for one tier. One that failed after its caller had left says nothing of the
// store, so it counts nowhere.
func (m *Metrics) Store(tier string, next session.Store) session.Store {
	return countedStore{
		Store:  next,
		hits:   m.loads.WithLabelValues(tier, hit),
		misses: m.loads.WithLabelValues(tier, miss),
		errors: m.loads.WithLabelValues(tier, failed),
	}
}

// RedisUp takes err for what Redis said when it was last asked: nil is up.
func (m *Metrics) RedisUp(err error) {
	up := m.redisUp.WithLabelValues()
	switch {
	case err == nil, errors.Is(err, session.ErrRecordUnreadable): // whoever hands out a broken record is up
		up.Set(1)
	case !errors.Is(err, context.Canceled):
		up.Set(0)
	}
}

// Skewed takes how far the local clock is ahead of Redis's.
func (m *Metrics) Skewed(ahead time.Duration) { m.skew.WithLabelValues().Set(ahead.Seconds()) }

// Unreadable counts a reply of the store that is not what was asked for.
func (m *Metrics) Unreadable() { m.unreadable.Inc() }

// MemoryHit counts a lookup that the memory in front of Redis answered.
func (m *Metrics) MemoryHit() { m.memoryHits.Inc() }

// MemoryMiss counts one that it did not.
func (m *Metrics) MemoryMiss() { m.memoryMisses.Inc() }

// callerLeft reports whether err may be the caller's own doing: it left, or its time was up.
func callerLeft(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled))
}

// countedStore counts lookups and passes on the rest.
type countedStore struct {
	session.Store
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

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

// Store counts what next.Load brings, for one tier. For [TierRedis] each call also says whether Redis is up. A call
// that failed after its caller had left says nothing of the store, so it counts nowhere.
func (m *Metrics) Store(tier string, next session.Store) session.Store {
	if tier == TierRedis {
		m.redisUp.WithLabelValues()
		next = watchedStore{next: next, metrics: m}
	}
	return countedStore{
		Store:   next,
		hits:    m.loads.WithLabelValues(tier, hit),
		misses:  m.loads.WithLabelValues(tier, miss),
		errors:  m.loads.WithLabelValues(tier, failed),
		corrupt: m.corrupt,
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

// callerLeft reports whether err may be the caller's own doing: it left, or its time was up.
func callerLeft(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled))
}

// countedStore counts lookups and passes on the rest.
type countedStore struct {
	session.Store
	hits, misses, errors, corrupt prometheus.Counter
}

// Load implements [session.Store].
func (s countedStore) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	token, err := s.Store.Load(ctx, client)
	switch {
	case callerLeft(ctx, err):
	case err != nil:
		s.failed(err)
	case token.IsZero():
		s.misses.Inc()
	default:
		s.hits.Inc()
	}
	return token, err
}

func (s countedStore) failed(err error) {
	s.errors.Inc()
	if errors.Is(err, session.ErrRecordUnreadable) {
		s.corrupt.Inc()
	}
}

// watchedStore tells from every call whether the store is up.
type watchedStore struct {
	next    session.Store
	metrics *Metrics
}

// Load implements [session.Store].
func (s watchedStore) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	token, err := s.next.Load(ctx, client)
	s.heard(ctx, err)
	return token, err
}

// Save implements [session.Store].
func (s watchedStore) Save(ctx context.Context, token session.Token) error {
	err := s.next.Save(ctx, token)
	s.heard(ctx, err)
	return err
}

// Slide implements [session.Store].
func (s watchedStore) Slide(ctx context.Context, client session.ClientID, id session.TokenID, at time.Time) (session.Match, error) {
	match, err := s.next.Slide(ctx, client, id, at)
	s.heard(ctx, err)
	return match, err
}

// Forget implements [session.Store].
func (s watchedStore) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	match, err := s.next.Forget(ctx, client, id)
	s.heard(ctx, err)
	return match, err
}

func (s watchedStore) heard(ctx context.Context, err error) {
	if !callerLeft(ctx, err) {
		s.metrics.RedisUp(err)
	}
}

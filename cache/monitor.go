package cache

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// monitorEvery is how often Redis is looked at while it is well, and how long a replica counts as there without it.
	monitorEvery = time.Second
	replicaGone  = 5 * time.Second
	// retryEvery is how often while it is not.
	retryEvery = 250 * time.Millisecond
	// skewWarning is far more than machines with a time service differ by.
	skewWarning = 5 * time.Second
)

var (
	//go:embed heartbeat.lua
	heartbeatSource string
	heartbeatScript = redis.NewScript(heartbeatSource)
)

// MonitorParts is what a [Monitor] is made of. Every field is required.
type MonitorParts struct {
	Client redis.UniversalClient
	Prefix string
	// Name tells this replica from the others.
	Name string
	Log  *slog.Logger
	// Clock is read at every look.
	Clock *Clock
	// Heard is told of every look: whether Redis answered, and by how much the local clock is ahead of Redis's.
	Heard func(err error, skew time.Duration)
	// Lost is called, before that, when Redis does not know this replica any more.
	Lost func()
}

// Monitor looks at Redis all the time, so that no request has to find out: it closes the breaker, knows how many
// replicas there are, and reads Redis's time, which all replicas share whatever their own clocks say.
type Monitor struct {
	parts    MonitorParts
	replicas atomic.Int64
	// fewer is since when there are fewer than counted.
	fewer time.Time
	// known is whether Redis was told of this replica.
	known bool
	// warned is whether it was said that the clocks differ.
	warned bool
}

// NewMonitor returns a Monitor made of parts. It knows nothing until [Monitor.Look] or [Monitor.Run].
func NewMonitor(parts MonitorParts) *Monitor {
	m := &Monitor{parts: parts}
	m.replicas.Store(1)
	return m
}

// Replicas returns how many replicas share the Redis, this one included, as last known.
func (m *Monitor) Replicas() int { return int(m.replicas.Load()) }

// Run looks until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	for ctx.Err() == nil {
		every := monitorEvery
		if m.Look(ctx) != nil {
			every = retryEvery
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

// Look looks once.
func (m *Monitor) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(past(ctx), opTimeout)
	defer cancel()
	asked := m.parts.Clock.parts.Local()
	answer, err := heartbeatScript.Run(ctx, m.parts.Client, []string{m.parts.Prefix + ":{fleet}:replicas"},
		m.parts.Name, replicaGone.Microseconds()).Int64Slice()
	if err == nil && len(answer) != 3 {
		err = errOddAnswer
	}
	if err != nil {
		m.parts.Heard(err, 0)
		return fmt.Errorf("look at Redis: %w", err)
	}
	m.count(max(answer[1], 1))
	if m.known && answer[2] == 1 {
		m.parts.Lost()
	}
	m.known = true
	m.parts.Heard(nil, m.read(asked, time.UnixMicro(answer[0])))
	return nil
}

// count takes in how many replicas there are. After Redis was away each has to say again that it is there, so fewer count
// only once they had the time to.
func (m *Monitor) count(replicas int64) {
	now := time.Now()
	switch {
	case replicas >= m.replicas.Load():
		m.fewer = time.Time{}
	case m.fewer.IsZero():
		m.fewer = now
		return
	case now.Sub(m.fewer) < replicaGone:
		return
	}
	m.fewer = time.Time{}
	m.replicas.Store(replicas)
}

// read has the clock read what Redis said after it was asked, and returns how far this machine's clock is ahead. If that took
// long, this machine stood still, and nobody knows when: it says nothing then.
func (m *Monitor) read(asked, said time.Time) (skew time.Duration) {
	r := reading{local: m.parts.Clock.parts.Local(), said: said}
	skew = ahead(r)
	if r.local.Sub(asked) < sameTime/2 {
		m.parts.Clock.read(r)
	}
	if differ := skew.Abs() > skewWarning; differ != m.warned {
		m.warned = differ
		if differ {
			m.parts.Log.Warn("this machine's clock and Redis's differ; Redis's counts", "ahead_seconds", skew.Seconds())
		}
	}
	return skew
}

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
	// Heard is told of every look: whether Redis answered, and by how much the local clock is ahead of Redis's.
	Heard func(err error, skew time.Duration)
}

// Monitor looks at Redis all the time, so that no request has to find out: it closes the breaker, knows how many
// replicas there are, and keeps Redis's time, which all replicas share whatever their own clocks say.
type Monitor struct {
	parts    MonitorParts
	replicas atomic.Int64
	// shared is the latest reading of the shared clock, nil before the first.
	shared atomic.Pointer[reading]
}

// reading is Redis's time at a moment of the local clock. The local moment carries the monotonic reading, so that a
// step of the wall clock in between changes nothing.
type reading struct{ local, shared time.Time }

// NewMonitor returns a Monitor made of parts. It knows nothing until [Monitor.Look] or [Monitor.Run].
func NewMonitor(parts MonitorParts) *Monitor {
	m := &Monitor{parts: parts}
	m.replicas.Store(1)
	return m
}

// Now returns Redis's time as it was last read and has gone on since; before that, the local time.
func (m *Monitor) Now() time.Time {
	if r := m.shared.Load(); r != nil {
		return r.shared.Add(time.Since(r.local))
	}
	return time.Now()
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
	answer, err := heartbeatScript.Run(ctx, m.parts.Client, []string{m.parts.Prefix + ":{fleet}:replicas"},
		m.parts.Name, replicaGone.Microseconds()).Int64Slice()
	if err == nil && len(answer) != 2 {
		err = errOddAnswer
	}
	if err != nil {
		m.parts.Heard(err, 0)
		return fmt.Errorf("look at Redis: %w", err)
	}
	m.replicas.Store(max(answer[1], 1))
	m.parts.Heard(nil, m.read(time.Now(), time.UnixMicro(answer[0])))
	return nil
}

// read takes a reading and returns how far this machine's clock is ahead. The answer was on its way for some time before
// it was received: the shared clock comes out behind Redis's by that, never ahead, which is the safe side for the date of
// a request that leaves after it.
func (m *Monitor) read(received, shared time.Time) (skew time.Duration) {
	skew = received.Round(0).Sub(shared)
	if old := m.shared.Load(); skew.Abs() > skewWarning && (old == nil || (old.local.Round(0).Sub(old.shared)-skew).Abs() > skewWarning) {
		m.parts.Log.Warn("this machine's clock and Redis's differ; Redis's counts", "ahead_seconds", skew.Seconds())
	}
	m.shared.Store(&reading{local: received, shared: shared})
	return skew
}

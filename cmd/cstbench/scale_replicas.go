package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// fleetFigures is what some replicas on one Redis send there: commands, those within their scripts not counted.
type fleetFigures struct {
	Replicas int `json:"replicas"`
	// IdlePerReplicaMinute is what each sends in a minute in which nobody asks, by command, a script's with the end of its
	// first key.
	IdlePerReplicaMinute map[string]float64 `json:"idlePerReplicaMinute"`
	// What was sent for fetches, beyond the commands that an idle fleet sends.
	MemoryHits counted `json:"memoryHits"`
	RedisHits  counted `json:"redisHits"`
	Mints      counted `json:"mints"`
}

// counted is how many commands so many fetches took.
type counted struct {
	Fetches  int            `json:"fetches"`
	Commands map[string]int `json:"commands"`
}

// total is the sum of all commands.
func (c counted) total() (n int) {
	for _, count := range c.Commands {
		n += count
	}
	return n
}

func (r *scaleRun) measureReplicas(ctx context.Context) (all []fleetFigures, err error) {
	for _, n := range r.size.Replicas {
		figures, err := r.measureFleetAnew(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("%d replicas: %w", n, err)
		}
		all = append(all, figures)
	}
	return all, nil
}

// measureFleetAnew does so until the counts are exact: where the machine stands still for longer than a command may take, a token is
// looked for again, or minted.
func (r *scaleRun) measureFleetAnew(ctx context.Context, n int) (figures fleetFigures, err error) {
	for range stalls {
		if figures, err = r.measureFleet(ctx, n); err == nil {
			return figures, nil
		}
		_, _ = fmt.Fprintf(r.out, "scale: %d replicas: %v\n", n, err)
	}
	return figures, err
}

// stalls is how often counts are taken anew that are not exact: what is wrong each time is no stall of the machine.
const stalls = 3

// measureFleet counts what n replicas send to a Redis that holds what they are asked for, and nothing else.
func (r *scaleRun) measureFleet(ctx context.Context, n int) (figures fleetFigures, err error) {
	figures.Replicas = n
	if err := r.empty(ctx); err != nil {
		return figures, err
	}
	store, err := openKept(ctx, r.world)
	if err != nil {
		return figures, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	clients := n * r.size.Fetches
	if err := store.fill(ctx, clients); err != nil {
		return figures, err
	}
	fleet, err := r.startFleet(ctx, n)
	defer func() {
		for _, replica := range fleet {
			err = errors.Join(err, replica.end())
		}
	}()
	if err != nil {
		return figures, err
	}
	return figures, r.countFleet(ctx, fleet, &figures)
}

func (r *scaleRun) startFleet(ctx context.Context, n int) (fleet []*asked, err error) {
	for i := range n {
		// Nothing that is remembered grows old meanwhile.
		replica, err := r.start(ctx, fmt.Sprintf("replica-%d-of-%d", i, n), "CSTPROXY_MEMORY_TTL=1h", "CSTPROXY_LOG_LEVEL=warn")
		if err != nil {
			return fleet, err
		}
		fleet = append(fleet, replica)
	}
	return fleet, nil
}

// countFleet has each replica be idle, ask Redis, ask nobody, and mint.
func (r *scaleRun) countFleet(ctx context.Context, fleet []*asked, figures *fleetFigures) (err error) {
	n, each := len(fleet), r.size.Fetches
	period := time.Duration(r.size.IdleSeconds) * time.Second
	heard, err := r.overheard(ctx, func() error { return pause(ctx, period) })
	if err != nil {
		return err
	}
	idle := map[string]float64{"ping": 0} // of each replica's subscription, too seldom to be heard in a short time
	figures.IdlePerReplicaMinute = map[string]float64{}
	for command, times := range heard {
		idle[command] = float64(times) / period.Seconds()
		figures.IdlePerReplicaMinute[command] = idle[command] * time.Minute.Seconds() / float64(n)
	}
	// Each replica is asked for clients of its own, which are in Redis and not in its memory, and then for the same ones.
	askKept := func() error { return askEach(ctx, fleet, 0, each) }
	if figures.RedisHits, err = r.count(ctx, idle, n*each, askKept); err != nil {
		return err
	}
	if figures.MemoryHits, err = r.count(ctx, idle, n*each, askKept); err != nil {
		return err
	}
	mints := r.size.Mints
	if figures.Mints, err = r.count(ctx, idle, n*mints, func() error { return askEach(ctx, fleet, n*firstNew, mints) }); err != nil {
		return err
	}
	return figures.check()
}

// firstNew is a number from which on no client has a token yet; a fleet takes a multiple of it, by its size.
const firstNew = 1_000_000_000

// check returns an error for any count that is not what it must be.
func (f fleetFigures) check() error {
	if total := f.MemoryHits.total(); total != 0 {
		return fmt.Errorf("%d memory hits: %d commands at Redis, want none: %v", f.MemoryHits.Fetches, total, f.MemoryHits.Commands)
	}
	if hits := f.RedisHits; hits.total() != hits.Fetches || hits.Commands["get token"] != hits.Fetches {
		return fmt.Errorf("%d Redis hits: %d commands at Redis, want one each: %v", hits.Fetches, hits.total(), hits.Commands)
	}
	if f.Mints.total() == 0 {
		return errors.New("mints left no trace in Redis")
	}
	return nil
}

// askEach has every replica be asked for so many clients, each for those that no other is.
func askEach(ctx context.Context, fleet []*asked, from, each int) error {
	for i, replica := range fleet {
		if err := replica.connect(ctx, 1); err != nil {
			return err
		}
		if _, err := replica.connections[0].askAll(each, countUp(from+i*each)); err != nil {
			return err
		}
	}
	return nil
}

// countUp picks one client after the other.
func countUp(from int) func() int {
	next := from
	return func() int { next++; return next - 1 }
}

// count returns what is sent to Redis for fetches, without what an idle fleet sends as well: the commands in a second of idle.
// Should there be much more of these than that explains, it is an error: some may be for the fetches.
func (r *scaleRun) count(ctx context.Context, idle map[string]float64, fetches int, do func() error) (counted, error) {
	began := time.Now()
	commands, err := r.overheard(ctx, do)
	seconds := time.Since(began).Seconds()
	for name, rate := range idle {
		if most := 5 + 3*rate*(1+seconds); float64(commands[name]) > most {
			err = errors.Join(err, fmt.Errorf("%d of %s in %.1f s, of which an idle fleet sends %.1f a second", commands[name], name, seconds, rate))
		}
		delete(commands, name)
	}
	return counted{Fetches: fetches, Commands: commands}, err
}

// pause waits for as long, or until ctx ends.
func pause(ctx context.Context, period time.Duration) error {
	select {
	case <-time.After(period):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait: %w", context.Cause(ctx))
	}
}

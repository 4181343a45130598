package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// started is a contender under its name.
type started struct {
	name string
	*running
}

// bench measures slices in one world.
type bench struct {
	world  *world
	length time.Duration // of a slice
	// repeats is how often a slice is measured again that others spoil.
	repeats int
}

// slice asks one contender for a while.
func (b *bench) slice(ctx context.Context, c started, w workload) (s sample, err error) {
	var before, after machineTimes
	var hooks error
	note := func(into *machineTimes) func() {
		return func() {
			var err error
			*into, err = b.times(c)
			hooks = errors.Join(hooks, err)
		}
	}
	paths, expected, err := b.world.documentsFor(c.Target)
	if err != nil {
		return s, err
	}
	t := traffic{
		Paths:  paths,
		Target: c.Target, Connections: w.Connections, Rate: w.Rate, Warm: b.length / 3, Length: b.length,
		Check: func(path int, body []byte) error { return expected[path].check(body) },
		Begin: note(&before), End: note(&after),
	}
	counted, err := b.world.Redis.commands(ctx)
	if err != nil {
		return s, err
	}
	counting := time.Now()
	result, err := t.run()
	if err = errors.Join(err, hooks); err != nil {
		return s, fmt.Errorf("%s, %s: %w", c.name, w, err)
	}
	s = sampleOf(t, result, before, after)
	s.Commands, err = b.world.Redis.commandsSince(ctx, counted)
	s.Lasted = time.Since(counting)
	return s, err
}

func (b *bench) times(c started) (m machineTimes, err error) {
	m.at = time.Now()
	for _, clock := range []struct {
		pids []int
		into *time.Duration
	}{{c.Processes, &m.own}, {[]int{b.world.Redis.Pid}, &m.redis}, {[]int{os.Getpid()}, &m.self}} {
		if *clock.into, err = processorTime(clock.pids...); err != nil {
			return m, err
		}
	}
	m.busy, err = busyTime()
	return m, err
}

// idle looks at what Redis does while nobody asks: contenders tell it of themselves now and then.
func (b *bench) idle(ctx context.Context, all *rounds) error {
	counted, err := b.world.Redis.commands(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	const atLeast = 500 * time.Millisecond // some of it comes twice a second
	pause := time.NewTimer(max(b.length, atLeast))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	now, err := b.world.Redis.commandsSince(ctx, counted)
	for name, n := range now {
		all.Idle[name] += n
	}
	all.IdleLasted += time.Since(begun)
	return err
}

// commands returns how often Redis has carried out each command: name -> number.
func (r *redisServer) commands(ctx context.Context) (map[string]int, error) {
	text, err := r.Client.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, fmt.Errorf("ask Redis what it did: %w", err)
	}
	return parseCommands(text)
}

var errCommands = errors.New("not Redis's commandstats")

func parseCommands(text string) (map[string]int, error) {
	counts := map[string]int{}
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(strings.TrimSpace(line), ":calls=")
		if !found {
			continue
		}
		digits, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(digits)
		if err != nil {
			return nil, fmt.Errorf("%w: %q", errCommands, line)
		}
		counts[strings.TrimPrefix(name, "cmdstat_")] = n
	}
	return counts, nil
}

// commandsSince returns what came on top of before. The question itself is left out.
func (r *redisServer) commandsSince(ctx context.Context, before map[string]int) (map[string]int, error) {
	now, err := r.commands(ctx)
	if err != nil {
		return nil, err
	}
	for name, n := range now {
		if now[name] = n - before[name]; now[name] == 0 || name == "info" {
			delete(now, name)
		}
	}
	return now, nil
}

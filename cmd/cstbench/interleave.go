package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// tolerated is how much of one core others may use in a slice that counts.
	tolerated = 0.25
	// mostRepeats is how often a slice is measured again, because of others. The last one counts whatever they do.
	mostRepeats = 3
)

// rounds are all samples, by workload and contender, in the order of the rounds.
type rounds struct {
	Samples map[workload]map[string][]sample
	// Repeats are the slices that were measured again; Noisy those that count although others used too much.
	Slices, Repeats, Noisy int
	// Idle is what Redis counted while nobody asked, and IdleLasted how long that was.
	Idle       map[string]int
	IdleLasted time.Duration
	// Others is how many cores others used, in each slice that counts.
	Others []float64
}

// plan is what is measured, and how often.
type plan struct {
	contenders []started
	workloads  []workload
	rounds     int
	slice      time.Duration
	rate       float64 // of the open loop; 0: none, below: one that all keep up with
	progress   io.Writer
}

// interleave measures every contender once in each round, in an order that is new each time, so that whatever changes about
// the machine changes for all of them.
func (b *bench) interleave(ctx context.Context, p plan) (*rounds, error) {
	all := &rounds{Samples: map[workload]map[string][]sample{}, Idle: map[string]int{}}
	for _, w := range p.workloads {
		all.Samples[w] = map[string][]sample{}
	}
	for round := range p.rounds {
		_, _ = fmt.Fprintf(p.progress, "\rround %d of %d, %d slices repeated ", round+1, p.rounds, all.Repeats)
		if err := b.round(ctx, all, p); err != nil {
			return nil, err
		}
	}
	_, _ = fmt.Fprintln(p.progress)
	return all, nil
}

// each calls do with all samples of each contender under each workload.
func (r *rounds) each(do func(name string, w workload, samples []sample) error) (err error) {
	for w, byName := range r.Samples {
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			err = errors.Join(err, do(name, w, byName[name]))
		}
	}
	return err
}

// round is one of all, and an idle moment.
func (b *bench) round(ctx context.Context, all *rounds, p plan) error {
	for _, w := range p.workloads {
		if err := b.shuffled(ctx, all, w, p.contenders); err != nil {
			return err
		}
	}
	return b.idle(ctx, all)
}

func (b *bench) shuffled(ctx context.Context, all *rounds, w workload, contenders []started) error {
	for _, i := range rand.Perm(len(contenders)) { //nolint:gosec // nobody gains by guessing it
		s, err := b.quietSlice(ctx, all, contenders[i], w)
		if err != nil {
			return err
		}
		name := contenders[i].name
		all.Samples[w][name] = append(all.Samples[w][name], s)
	}
	return nil
}

// quietSlice measures a slice, and again if others had the machine.
func (b *bench) quietSlice(ctx context.Context, all *rounds, c started, w workload) (s sample, err error) {
	all.Slices++
	for attempt := 0; ; attempt++ {
		if s, err = b.slice(ctx, c, w); err != nil || s.Other <= tolerated {
			break
		}
		if attempt == mostRepeats {
			all.Noisy++
			break
		}
		all.Repeats++
	}
	all.Others = append(all.Others, s.Other)
	return s, errors.Join(err, ctx.Err())
}

// startAll starts the contenders that can run here, and returns what ends them. skipped has the reasons of the others.
func startAll(ctx context.Context, w *world, contenders []contender) (all []started, skipped map[string]string, err error) {
	skipped = map[string]string{}
	for _, c := range contenders {
		if reason := c.missing(); reason != "" {
			skipped[c.Name] = reason
			continue
		}
		one, err := c.Start(ctx, w)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("start %s: %w", c.Name, err), stopAll(all))
		}
		all = append(all, started{name: c.Name, running: one})
	}
	return all, skipped, nil
}

func (c contender) missing() string {
	if c.Missing == nil {
		return ""
	}
	return c.Missing()
}

func stopAll(all []started) (err error) {
	for _, c := range all {
		if stopped := c.Stop(); stopped != nil {
			err = errors.Join(err, fmt.Errorf("stop %s: %w", c.name, stopped))
		}
	}
	return err
}

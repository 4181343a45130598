package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/urfave/cli/v3"
)

// areaLoad is the name of the area.
const areaLoad = "load"

// contenders are all that can be measured.
func contenders() []contender { return append(ownContenders(), rivalContenders()...) }

// loading is the command that measures contenders under load.
func loading(out io.Writer) *cli.Command {
	return &cli.Command{
		Name:  areaLoad,
		Usage: "measure the proxy under load, beside others",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quick", Usage: "a few short slices, which show that it works, not how fast"},
			&cli.IntFlag{Name: "rounds", Value: 40, Usage: "how often each contender is measured"},
			&cli.DurationFlag{Name: "slice", Value: 150 * time.Millisecond, Usage: "for how long, each time"},
			&cli.StringSliceFlag{Name: "only", Usage: "measure the contenders with these `NAMES` alone"},
			&cli.IntSliceFlag{Name: "connections", Value: []int{1, 16, 64}, Usage: "how many ask at once"},
			&cli.FloatFlag{Name: "rate", Usage: "requests a second of the open loop; unless set, half of what the slowest of our own does with 16 connections; 0 leaves it out", Value: -1},
			&cli.StringFlag{Name: "cstproxy", Usage: "the cstproxy to measure, a `FILE`; unless set, one is built"},
		},
		Action: func(ctx context.Context, c *cli.Command) error { return measureLoad(ctx, c, out) },
	}
}

func measureLoad(ctx context.Context, c *cli.Command, out io.Writer) (err error) {
	chosen, err := choose(contenders(), c.StringSlice("only"))
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, c.String("cstproxy"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	all, skipped, err := startAll(ctx, w, chosen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopAll(all)) }()
	wanted, err := planOf(c, all, out)
	if err != nil {
		return err
	}
	figures, err := measurePlan(ctx, w, wanted)
	if err != nil {
		return err
	}
	figures.Machine, figures.Skipped, figures.Notes = describeMachine(ctx), skipped, notesOf(ctx)
	printLoad(out, figures)
	return save(c.String("results"), areaLoad, figures)
}

// quick is a plan's short form: it shows that everything works, and how fast it is not.
const (
	quickRounds = 1
	quickSlice  = 30 * time.Millisecond
	quickRate   = 500
)

var errPlan = errors.New("nothing can be measured so")

func planOf(c *cli.Command, all []started, out io.Writer) (plan, error) {
	p := plan{
		contenders: all, rounds: c.Int("rounds"), slice: c.Duration("slice"), rate: c.Float("rate"), repeats: mostRepeats, progress: out,
	}
	if c.Bool("quick") {
		p.rounds, p.slice, p.rate, p.repeats = quickRounds, quickSlice, quickRate, 0
	}
	for _, n := range c.IntSlice("connections") {
		if n < 1 || n > mostConnections {
			return p, fmt.Errorf("%w: %d connections, want 1 to %d", errPlan, n, mostConnections)
		}
		p.workloads = append(p.workloads, workload{Connections: n})
	}
	if p.rounds < 1 || p.slice < time.Millisecond {
		return p, fmt.Errorf("%w: %d rounds of %s", errPlan, p.rounds, p.slice)
	}
	return p, nil
}

// measurePlan carries it out, and makes figures of what was seen, should Redis have counted what it must.
func measurePlan(ctx context.Context, w *world, p plan) (f *loadFigures, err error) {
	b := &bench{world: w, length: p.slice, repeats: p.repeats}
	if p.rate < 0 {
		if p.rate, err = b.commonRate(ctx, p.contenders); err != nil {
			return nil, err
		}
	}
	if p.rate > 0 {
		p.workloads = append(slices.Clone(p.workloads), workload{Connections: mostConnections, Rate: p.rate})
	}
	f = &loadFigures{Rounds: p.rounds, SliceMillis: p.slice.Milliseconds(), Workloads: p.workloads}
	for _, c := range p.contenders {
		f.Contenders = append(f.Contenders, c.name)
	}
	measured, err := b.interleave(ctx, p)
	if err != nil {
		return nil, err
	}
	measured.summarize(f)
	return f, measured.checkCommands()
}

// commonRate is a rate for the open loop that our own servers all keep up with: half of what the slowest does with 16
// connections. Whoever is slower shows it.
func (b *bench) commonRate(ctx context.Context, all []started) (float64, error) {
	const connections, slowest, step = 16, 0.5, 100
	rate := math.Inf(1)
	for _, c := range all {
		if !isOwn(c.name) {
			continue
		}
		s, err := b.slice(ctx, c, workload{Connections: connections})
		if err != nil {
			return 0, err
		}
		rate = min(rate, s.PerSecond)
	}
	if math.IsInf(rate, 1) {
		return 0, nil
	}
	return max(step, step*math.Floor(slowest*rate/step)), nil
}

func isOwn(name string) bool {
	return slices.ContainsFunc(ownContenders(), func(c contender) bool { return c.Name == name })
}

// choose returns the contenders with these names, or all without any. A name may be written with dashes for all that is
// neither letter nor digit: "nginx-proxy-cache".
func choose(all []contender, names []string) (chosen []contender, err error) {
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(c contender) bool { return dashed(c.Name) == dashed(name) })
		if i < 0 {
			return nil, fmt.Errorf("%w: no contender is named %q, there are %s", errPlan, name, strings.Join(namesOf(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func dashed(name string) string {
	apart := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), apart), "-")
}

func namesOf(all []contender) (names []string) {
	for _, c := range all {
		names = append(names, dashed(c.Name))
	}
	return names
}

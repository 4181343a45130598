package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"
)

// areaLoad is the name of the area.
const areaLoad = "load"

// contenders are all that can be measured.
func contenders() []contender { return ownContenders() }

// loading is the command that measures contenders under load.
func loading(out io.Writer) *cli.Command {
	return &cli.Command{
		Name:  areaLoad,
		Usage: "measure the proxy under load, beside others",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quick", Usage: "a few short slices, which show that it works, not how fast"},
			&cli.IntFlag{Name: "rounds", Value: 60, Usage: "how often each contender is measured"},
			&cli.DurationFlag{Name: "slice", Value: 150 * time.Millisecond, Usage: "for how long, each time"},
			&cli.StringSliceFlag{Name: "only", Usage: "measure the contenders with these `NAMES` alone"},
			&cli.IntSliceFlag{Name: "connections", Value: []int{1, 16, 64}, Usage: "how many ask at once"},
			&cli.FloatFlag{Name: "rate", Usage: "requests a second of the open loop; unless set, a third of what the slowest does with 16 connections, 0 leaves it out", Value: -1},
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
	figures := &loadFigures{Machine: describeMachine(ctx), Skipped: skipped, Rounds: c.Int("rounds"), SliceMillis: c.Duration("slice").Milliseconds()}
	for _, one := range all {
		figures.Contenders = append(figures.Contenders, one.name)
	}
	for _, n := range c.IntSlice("connections") {
		figures.Workloads = append(figures.Workloads, workload{Connections: n})
	}
	b := &bench{world: w, length: c.Duration("slice")}
	if b.expect, err = expect(w.Document); err != nil {
		return err
	}
	measured, err := b.interleave(ctx, plan{contenders: all, workloads: figures.Workloads, rounds: figures.Rounds, progress: out})
	if err != nil {
		return err
	}
	measured.summarize(figures)
	printLoad(out, figures)
	return save(c.String("results"), areaLoad, figures)
}

// choose returns the contenders with these names, or all without any.
func choose(all []contender, names []string) (chosen []contender, err error) {
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(c contender) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no contender is named %q: there are %s", name, strings.Join(namesOf(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func namesOf(all []contender) (names []string) {
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names
}

// printLoad shows what was measured to who sits before it.
func printLoad(out io.Writer, f *loadFigures) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "contender\tworkload\trequests/s\tp50 µs\tp99 µs\town µs\tRedis µs\trequests\t")
	for _, c := range f.Cells {
		const micro = 1000
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%d\t\n",
			c.Contender, c.Workload, c.PerSecond, c.P50/micro, c.P99/micro, c.Own/micro, c.Redis/micro, c.Requests)
	}
	fmt.Fprintln(table, "\npair\tworkload\trequests/s\tbetween\t\tp99\tprocessor\tbetween\t\t")
	for _, p := range f.Pairs {
		fmt.Fprintf(table, "%s / %s\t%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", p.Contender, p.Base, p.Workload,
			p.PerSecond.Median, p.PerSecond.Low, p.PerSecond.High, p.P99.Median, p.Processor.Median, p.Processor.Low, p.Processor.High)
	}
	_ = table.Flush() // a terminal that went away
	n := f.Noise
	fmt.Fprintf(out, "\n%d slices, %d repeated, %d noisy all the same; others used %.2f cores (median), %.2f at most\n", n.Slices, n.Repeats, n.Noisy, n.Median, n.Most)
	for name, reason := range f.Skipped {
		fmt.Fprintf(out, "%s was left out: %s\n", name, reason)
	}
}

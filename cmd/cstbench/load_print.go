package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// printLoad shows what was measured to who sits before it.
func printLoad(out io.Writer, f *loadFigures) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "contender\tworkload\trequests/s\tp50 µs\tp99 µs\town µs\tRedis µs\trequests\t")
	for _, c := range f.Cells {
		const micro = 1000
		_, _ = fmt.Fprintf(table, "%s\t%s\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%d\t\n",
			c.Contender, c.Workload, c.PerSecond, c.P50/micro, c.P99/micro, c.Own/micro, c.Redis/micro, c.Requests)
	}
	_, _ = fmt.Fprintln(table, "\npair\tworkload\trequests/s\tbetween\t\tp99\tprocessor\tbetween\t\t")
	for _, p := range f.Pairs {
		if p.Base != nameEcho && p.Base != nameGet {
			continue
		}
		_, _ = fmt.Fprintf(table, "%s / %s\t%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", p.Contender, p.Base, p.Workload,
			p.PerSecond.Median, p.PerSecond.Low, p.PerSecond.High, p.P99.Median, p.Processor.Median, p.Processor.Low, p.Processor.High)
	}
	_ = table.Flush() // a terminal that went away
	n := f.Noise
	_, _ = fmt.Fprintf(out, "\n%d slices, %d repeated, %d noisy all the same; others used %.2f cores (median), %.2f at most\n", n.Slices, n.Repeats, n.Noisy, n.Median, n.Most)
	for name, reason := range f.Skipped {
		_, _ = fmt.Fprintf(out, "%s was left out: %s\n", name, reason)
	}
}

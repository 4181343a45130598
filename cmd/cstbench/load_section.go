package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// section is the part of the report about load.
func (f loadFigures) section() section {
	var out strings.Builder
	f.method(&out)
	out.WriteString(f.Machine.text() + " Generator, contender and Redis share these cores.\n\n")
	f.noiseText(&out)
	for _, w := range f.Workloads {
		f.table(&out, w)
	}
	if plots := f.plots(); plots[processorPlot] != "" {
		fmt.Fprintf(&out, "![Processor time for a request by the number of connections, as a multiple of the floor's](%s/%s.svg)\n\n", plotFolder, processorPlot)
	}
	f.commandText(&out)
	f.contenderText(&out)
	return section{Title: "Under load", Command: f.command(), Text: out.String(), Wants: f.wants(), Plots: f.plots()}
}

// command measures them again. Without figures it is the plain one.
func (f loadFigures) command() string {
	if f.Rounds == 0 {
		return "go run ./cmd/cstbench load"
	}
	return fmt.Sprintf("go run ./cmd/cstbench load --rounds %d --slice %dms", f.Rounds, f.SliceMillis)
}

func (f loadFigures) method(out *strings.Builder) {
	fmt.Fprintf(out, "`%s` starts everything once: a real Redis, a simulated Portal, and the contenders, "+
		"each in processes of its own. All answer the same token document to the same client. In each of %d rounds every contender is asked for %d ms, "+
		"in an order that is new each time, and what is compared was measured in the same round. Who is not asked does nothing; "+
		"so each is asked for a third of that beforehand, untimed: seconds of rest leave a program slower than it is under load.\n\n",
		f.command(), f.Rounds, f.SliceMillis)
	out.WriteString("The generator is one thread with `epoll`, in the process of `cstbench`, which does nothing else meanwhile. Its requests are written beforehand, " +
		"and every body is compared with the document: one that differs ends the run. " +
		"It takes processor time too, on the same cores, and the tables say how much of one. Near 1.00 it can ask no faster " +
		"of a contender that could answer more; so ratios of requests/s between two fast contenders are nearer to 1 " +
		"than those of what their servers could do. Processor time has none of the generator's. In the closed loop each connection asks again as soon as it is answered. " +
		"In the open loop requests leave at moments set beforehand, and their latency counts from those, so that a server that stalls can't hide it.\n\n" +
		"Tables show the median of the ratios, in brackets between what the true median lies with 95 % confidence (an order statistic, which assumes no " +
		"distribution). Processor time is that of the contender and of Redis for a request, from the kernel's clock of each process: noise touches it least.\n\n")
}

// noiseText tells how far what is equal was seen to differ.
func (f loadFigures) noiseText(out *strings.Builder) {
	n := f.Noise
	fmt.Fprintf(out, "**Noise.** Of %d slices %d were measured again because other processes used more than %.2f of a core; %d still had more after %d repeats, and count. "+
		"Others used %.2f cores in the median, %.2f at most.", n.Slices, n.Repeats, tolerated, n.Noisy, mostRepeats, n.Median, n.Most)
	if rows := f.twice(); len(rows) > 0 {
		out.WriteString(" The same program twice, under two names, shows what a ratio of 1 looks like here:\n\n" +
			"| the same twice | workload | requests/s | p99 | processor time |\n|---|---|---|---|---|\n" + strings.Join(rows, ""))
	}
	out.WriteString("\n\n")
}

// twice are the rows of what was measured twice.
func (f loadFigures) twice() (rows []string) {
	for _, p := range f.Pairs {
		if p.Contender == p.Base+again {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s |\n", p.Base, p.Workload, p.PerSecond, p.P99, p.Processor))
		}
	}
	return rows
}

// table has a row for each contender, beside the floor.
func (f loadFigures) table(out *strings.Builder, w workload) {
	floor, ok := f.cell(nameEcho, w)
	if !ok {
		return
	}
	fmt.Fprintf(out, "### %s\n\n", capitalized(w.String()))
	if plot := plotName(w); w.Rate == 0 {
		fmt.Fprintf(out, "![Requests a second at %s, as a part of the floor's](%s/%s.svg)\n\n", w, plotFolder, plot)
	}
	fmt.Fprintf(out, "All of it × the floor, a bare Echo handler, but for the generator, which is in cores. (For orientation: that took %.1f µs of processor time for a request, and answered %.0f a second, with %.2f cores for the generator.)\n\n",
		floor.Own/1000, floor.PerSecond, floor.Generator)
	out.WriteString("| contender | requests/s | p50 | p99 | processor time | cstproxy's requests/s × its | generator, cores |\n|---|---|---|---|---|---|---|\n")
	for _, p := range f.against(nameEcho, w) {
		shipped := "" // of cstproxy itself
		if beside, ok := f.pair(nameProxy, p.Contender, w); ok {
			shipped = fmt.Sprintf("%.2f", beside.PerSecond.Median)
		}
		own, _ := f.cell(p.Contender, w)
		fmt.Fprintf(out, "| %s%s | %s | %s | %s | %s | %s | %.2f |\n",
			p.Contender, f.unanswered(p.Contender, w), p.PerSecond, p.P50, p.P99, p.Processor, shipped, own.Generator)
	}
	out.WriteString("\n")
}

// unanswered says that a contender did not keep up with an open loop.
func (f loadFigures) unanswered(name string, w workload) string {
	c, ok := f.cell(name, w)
	if !ok || c.Unanswered == 0 {
		return ""
	}
	return fmt.Sprintf(" (does not keep up: %d of %d requests are not answered)", c.Unanswered, c.Requests+c.Unanswered)
}

func (f loadFigures) commandText(out *strings.Builder) {
	out.WriteString("### Commands at Redis\n\nAs Redis counts them (`INFO commandstats`), for each request; all commands count, but for what comes in the background in as " +
		"long a time, which was counted while nobody asked. That is not even, since ten proxies are there that nobody asks, so that beyond the reads it says little: those of one proxy alone are counted one by one under Scale. " +
		"Callers who ask cstproxy for the same client at the same moment share a read, so that it may be less than 1. " +
		"A token in memory is read anew every 30 seconds.\n\n| contender | commands for a request |\n|---|---|\n")
	for _, name := range f.Contenders {
		fmt.Fprintf(out, "| %s | %.4f |\n", name, f.PerHit[name])
	}
	var background []string
	for _, name := range slices.Sorted(maps.Keys(f.Background)) {
		background = append(background, fmt.Sprintf("%s %.1f", name, f.Background[name]))
	}
	if len(background) > 0 {
		fmt.Fprintf(out, "\nIn the background, all replicas of cstproxy that run here together, each second: %s.\n", strings.Join(background, ", "))
	}
}

func (f loadFigures) contenderText(out *strings.Builder) {
	out.WriteString("\n### Contenders\n\n")
	for _, n := range f.Notes {
		fmt.Fprintf(out, "- **%s**%s: %s\n", n.Name, parenthesized(n.Version), n.Text)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Skipped)) {
		fmt.Fprintf(out, "- **%s** was left out: %s.\n", name, f.Skipped[name])
	}
}

func parenthesized(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func capitalized(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

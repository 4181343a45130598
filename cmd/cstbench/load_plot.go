package main

import (
	"fmt"
	"strings"
)

func plotName(w workload) string { return fmt.Sprintf("load-%d", w.Connections) }

// processorPlot is the plot of processor time by connections.
const processorPlot = "load-processor"

// plots show requests a second, beside the floor, for each closed loop, and what a request costs.
func (f loadFigures) plots() map[string]string {
	all := map[string]string{}
	cost := curves{Title: "Processor time for a request", Unit: "× a bare Echo handler's, Redis's included, by the number of connections", XLabel: short}
	var closed []workload
	for _, w := range f.Workloads {
		pairs := f.against(nameEcho, w)
		if len(pairs) == 0 || w.Rate > 0 {
			continue
		}
		all[plotName(w)] = requestsChart(w, pairs).svg()
		closed = append(closed, w)
		cost.X = append(cost.X, float64(w.Connections))
	}
	if len(closed) < 2 {
		return all
	}
	for _, name := range f.Contenders {
		cost.Lines = append(cost.Lines, f.costOf(name, closed)...)
	}
	all[processorPlot] = cost.svg()
	return all
}

func requestsChart(w workload, pairs []pair) chart {
	c := chart{Title: "Requests a second, " + w.String(), Unit: "× a bare Echo handler, with the interval of the median", Rule: 1}
	for _, p := range pairs {
		c.Bars = append(c.Bars, bar{Label: p.Contender, Value: p.PerSecond.Median, Low: p.PerSecond.Low, High: p.PerSecond.High})
	}
	return c
}

// costOf is the line of a contender, unless it is another's variant.
func (f loadFigures) costOf(name string, closed []workload) []curve {
	if strings.HasSuffix(name, again) || strings.Contains(name, "unix") {
		return nil
	}
	line := curve{Label: name}
	for _, w := range closed {
		p, ok := f.pair(name, nameEcho, w)
		if !ok {
			return nil
		}
		line.Y = append(line.Y, p.Processor.Median)
	}
	return []curve{line}
}

// against are the pairs with that base, in the order of the contenders.
func (f loadFigures) against(base string, w workload) (pairs []pair) {
	for _, name := range f.Contenders {
		if p, ok := f.pair(name, base, w); ok {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

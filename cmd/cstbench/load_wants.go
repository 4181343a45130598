package main

import (
	"fmt"
	"math"
	"slices"
)

// Names of rivals that something is demanded against.
const (
	nameNginxRedis = "nginx-redis"
	nameNginxCache = "nginx-cache"
	nameNode       = "node"
)

// demand is a bound on the median ratio of two contenders in the closed loop.
type demand struct {
	contender, base string
	connections     []int
	// least is for requests/s, most for the 99th percentile of latency; one of them is 0.
	least, most float64
}

// demands are what the load must show, of one client that all ask for. Of many in turn it is reported.
var demands = []demand{
	{contender: nameProxy, base: nameEcho, connections: []int{16, 64}, least: 0.90},
	{contender: nameProxy, base: nameEcho, connections: []int{16, 64}, most: 1.10},
	{contender: nameProxyRedis, base: nameGet, connections: []int{1, 16}, least: 1.0},
	{contender: nameProxyRedis, base: nameGet, connections: []int{64}, least: 1.3},
	{contender: nameProxy, base: nameNginxRedis, connections: []int{1, 16, 64}, least: 1.5},
	{contender: nameProxy, base: nameNginxCache, connections: []int{1, 16}, least: 1.0},
	{contender: nameProxy, base: nameNginxCache, connections: []int{64}, least: 0.9},
	{contender: nameProxy, base: nameNode, connections: []int{1, 16, 64}, least: 2},
	{contender: nameProxyRedis, base: nameNginxRedis, connections: []int{64}, least: 1.0},
	{contender: nameProxyRedis, base: nameNginxRedis, connections: []int{1, 16}, least: 0.9},
}

func (f loadFigures) wants() (all []want) {
	for _, d := range demands {
		for _, n := range d.connections {
			all = append(all, f.judge(d, n))
		}
	}
	for _, name := range []string{nameProxyRedis, nameProxy} {
		all = append(all, f.judgeCommands(name))
	}
	return all
}

// judge holds what was seen to a demand. What was not measured does not hold.
func (f loadFigures) judge(d demand, connections int) want {
	w := workload{Connections: connections}
	verdict := missing(fmt.Sprintf("%s, requests/s, %s", d.contender, w), fmt.Sprintf("≥ %.2f × %s", d.least, d.base))
	if d.most > 0 {
		verdict.What, verdict.Wanted = fmt.Sprintf("%s, p99, %s", d.contender, w), fmt.Sprintf("≤ %.2f × %s", d.most, d.base)
	}
	p, ok := f.pair(d.contender, d.base, w)
	if !ok {
		return verdict
	}
	seen := p.PerSecond
	verdict.Holds = seen.Median >= d.least
	if d.most > 0 {
		seen = p.P99
		verdict.Holds = seen.Median > 0 && seen.Median <= d.most
	}
	if seen.Median > 0 {
		verdict.Seen = seen.String()
	}
	return verdict
}

func (r ratio) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Median, r.Low, r.High) }

func (f loadFigures) pair(contender, base string, w workload) (pair, bool) {
	i := slices.IndexFunc(f.Pairs, func(p pair) bool { return p.Contender == contender && p.Base == base && p.Workload == w })
	if i < 0 {
		return pair{}, false
	}
	return f.Pairs[i], true
}

func (f loadFigures) cell(contender string, w workload) (cell, bool) {
	i := slices.IndexFunc(f.Cells, func(c cell) bool { return c.Contender == contender && c.Workload == w })
	if i < 0 {
		return cell{}, false
	}
	return f.Cells[i], true
}

// rare is what comes less than once for so many hits: no part of a hit.
const rare = 0.001

// judgeCommands holds the reads that Redis counted to one for each hit, or to hardly any from memory, which is read anew every
// half minute. Other commands come from all proxies there, also those that nobody asks: [scaleFigures] has all commands of one,
// counted one by one.
func (f loadFigures) judgeCommands(name string) want {
	verdict := missing(name+", reads of Redis for a hit, 1 connection", "exactly 1")
	if name == nameProxy {
		verdict.Wanted = "0"
	}
	c, ok := f.cell(name, workload{Connections: 1})
	if !ok || c.Requests == 0 {
		return verdict
	}
	verdict.Seen = fmt.Sprintf("%d `GET` for %d hits", c.Gets, c.Requests)
	verdict.Holds = c.Gets == c.Requests
	if name == nameProxy {
		verdict.Holds = float64(c.Gets) <= math.Ceil(rare*float64(c.Requests))
	}
	return verdict
}

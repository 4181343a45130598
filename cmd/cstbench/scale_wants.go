package main

import (
	"fmt"
	"slices"
)

// What must hold.
const (
	mostRedisBytes  = 320
	mostMemoryBytes = 400
	// flat is how far from the mean of all numbers of clients the cost of a fetch may be with any of them.
	flat = 0.15
	// mostStartMS is how long a process may take until it is ready, mostIdleMiB what it may have resident then: 40 MB.
	mostStartMS = 300
	mostIdleMiB = 40e6 / (1 << 20)
)

// scaleWants is what must hold of it, at the sizes that a full measurement has: another is none.
func scaleWants(f scaleFigures) []want {
	wants := f.Bytes.wants()
	wants = append(wants,
		isFlat("cost of a memory hit over HTTP", f.Clients, func(c clientsFigures) float64 { return c.Memory.Processor.Median }),
		isFlat("cost of a Redis hit over HTTP", f.Clients, func(c clientsFigures) float64 { return c.Redis.Processor.Median }),
		isFlat("median wait for a memory hit over HTTP", f.Clients, func(c clientsFigures) float64 { return c.Memory.Wait.Median }),
		isFlat("median wait for a Redis hit over HTTP", f.Clients, func(c clientsFigures) float64 { return c.Redis.Wait.Median }),
	)
	for _, n := range fullScale().Replicas {
		wants = append(wants, fleetWants(n, f.Replicas)...)
	}
	for _, start := range waysToStart() {
		if i := slices.IndexFunc(f.Starts, func(s startFigures) bool { return s.Name == start.Name }); i >= 0 {
			start = f.Starts[i]
		}
		wants = append(wants, atMost("start-up to ready "+start.Name+", the slowest, ms", start.MaxMS, mostStartMS))
	}
	return append(wants,
		atMost("idle resident memory with Redis, MiB", f.Memory.Idle, mostIdleMiB),
		atMost("idle resident memory in memory alone, MiB", f.Memory.IdleAlone, mostIdleMiB),
	)
}

func (f bytesFigures) wants() []want {
	all, redis, memory := fullScale().Clients, f.Redis, f.Memory
	if f.Clients != all {
		redis, memory = 0, 0
	}
	return []want{
		atMost(fmt.Sprintf("Redis, bytes a token, sealed, %s clients", thousands(all)), redis, mostRedisBytes),
		atMost(fmt.Sprintf("memory tier, bytes a token, %s clients", thousands(all)), memory, mostMemoryBytes),
	}
}

// fleetWants judges the fleet of n replicas, if it is there.
func fleetWants(n int, all []fleetFigures) []want {
	fleet := fleetFigures{}
	if i := slices.IndexFunc(all, func(f fleetFigures) bool { return f.Replicas == n }); i >= 0 {
		fleet = all[i]
	}
	return []want{
		exactly(fmt.Sprintf("commands at Redis for a memory hit, %s", countOf(n, "replica")), fleet.MemoryHits, 0),
		exactly(fmt.Sprintf("commands at Redis for a Redis hit, %s", countOf(n, "replica")), fleet.RedisHits, 1),
	}
}

// atMost judges what is 0 only if it was not measured.
func atMost(what string, seen, most float64) want {
	wanted := fmt.Sprintf("≤ %.0f", most)
	if seen <= 0 {
		return missing(what, wanted)
	}
	return want{What: what, Wanted: wanted, Seen: fmt.Sprintf("%.0f", seen), Holds: seen <= most}
}

func exactly(what string, seen counted, each int) want {
	wanted := fmt.Sprintf("exactly %d", each)
	if seen.Fetches == 0 {
		return missing(what, wanted)
	}
	per := float64(seen.total()) / float64(seen.Fetches)
	return want{What: what, Wanted: wanted, Seen: fmt.Sprintf("%.3g", per), Holds: seen.total() == each*seen.Fetches}
}

// isFlat judges the numbers of clients that a full measurement has, if they are all there.
func isFlat(what string, all []clientsFigures, of func(clientsFigures) float64) want {
	working := fullScale().Working
	what = fmt.Sprintf("%s, %s to %s clients", what, thousands(working[0]), thousands(working[len(working)-1]))
	wanted := fmt.Sprintf("within ± %.0f %% of the mean", flat*100)
	var values []float64
	for _, n := range working {
		i := slices.IndexFunc(all, func(c clientsFigures) bool { return c.Clients == n })
		if i < 0 {
			return missing(what, wanted)
		}
		values = append(values, of(all[i]))
	}
	sum := 0.0
	for _, value := range values {
		sum += value
	}
	mean := sum / float64(len(values))
	low, high := slices.Min(values)/mean, slices.Max(values)/mean
	return want{What: what, Wanted: wanted, Seen: fmt.Sprintf("%.2f to %.2f", low, high), Holds: low >= 1-flat && high <= 1+flat}
}

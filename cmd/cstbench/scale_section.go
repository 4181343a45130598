package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What must hold.
const (
	mostRedisBytes  = 320
	mostMemoryBytes = 400
	// flat is how far the cost of a fetch may move with the number of clients.
	flat = 0.15
	// mostStartMS is how long a process may take until it is ready, mostIdleMiB what it may have resident then: 40 MB.
	mostStartMS = 300
	mostIdleMiB = 40e6 / (1 << 20)
)

// scaleSection is the part of the report about how cstproxy grows.
func scaleSection(f scaleFigures) section {
	var text strings.Builder
	for _, part := range []string{
		f.Bytes.text(), clientsText(f.Clients), replicasText(f.Replicas), startsText(f.Starts), f.Memory.text(), featuresText(f.Features),
	} {
		text.WriteString(part)
	}
	return section{Title: "Scale", Text: text.String(), Wants: scaleWants(f), Plots: scalePlots(f)}
}

// scaleWants is what must hold of it.
func scaleWants(f scaleFigures) []want {
	wants := []want{
		atMost("Redis, bytes a token, sealed", f.Bytes.Redis, mostRedisBytes),
		atMost("memory tier, bytes a token", f.Bytes.Memory, mostMemoryBytes),
	}
	if len(f.Clients) > 0 {
		wants = append(wants,
			isFlat("cost of a memory hit over HTTP, by number of clients", f.Clients, func(c clientsFigures) float64 { return c.Memory.Processor.Median }),
			isFlat("cost of a Redis hit over HTTP, by number of clients", f.Clients, func(c clientsFigures) float64 { return c.Redis.Processor.Median }),
		)
	}
	for _, fleet := range f.Replicas {
		wants = append(wants,
			exactly(fmt.Sprintf("commands at Redis for a memory hit, %s", countOf(fleet.Replicas, "replica")), fleet.MemoryHits, 0),
			exactly(fmt.Sprintf("commands at Redis for a Redis hit, %s", countOf(fleet.Replicas, "replica")), fleet.RedisHits, 1),
		)
	}
	for _, start := range f.Starts {
		wants = append(wants, atMost("start-up to ready "+start.Name+", the slowest, ms", start.MaxMS, mostStartMS))
	}
	return append(wants,
		atMost("idle resident memory with Redis, MiB", f.Memory.Idle, mostIdleMiB),
		atMost("idle resident memory in memory alone, MiB", f.Memory.IdleAlone, mostIdleMiB),
	)
}

func atMost(what string, seen, most float64) want {
	return want{What: what, Wanted: fmt.Sprintf("≤ %.0f", most), Seen: fmt.Sprintf("%.0f", seen), Holds: seen > 0 && seen <= most}
}

func exactly(what string, seen counted, each int) want {
	per := float64(seen.total()) / float64(max(seen.Fetches, 1))
	return want{What: what, Wanted: fmt.Sprintf("exactly %d", each), Seen: fmt.Sprintf("%.3g", per), Holds: seen.Fetches > 0 && seen.total() == each*seen.Fetches}
}

func isFlat(what string, all []clientsFigures, of func(clientsFigures) float64) want {
	values := make([]float64, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	low, high := slices.Min(values), slices.Max(values)
	return want{
		What: what, Wanted: fmt.Sprintf("within ± %.0f %%", flat*100), Seen: fmt.Sprintf("%.2f to %.2f", low, high),
		Holds: low >= 1-flat && high <= 1+flat,
	}
}

func (f bytesFigures) text() string {
	var lengths, bytes []string
	for _, l := range f.ByLength {
		lengths, bytes = append(lengths, fmt.Sprint(l.TokenLength)), append(bytes, fmt.Sprint(l.Bytes))
	}
	return fmt.Sprintf(`### Bytes for a token

%s clients with ids of %d characters, tokens of %d as the simulated Portal makes them (Portal states no length), each sealed by
the real seal and put into a real Redis by the script that puts back what Redis lost. Redis's is what `+"`used_memory`"+` grew by; for
memory all tokens were then fetched through the handler, and it is what the heap in use grew by after two collections: spans that
are half empty count.

| where | bytes a token |
|---|---|
| Redis | %.0f |
| Redis, in the ten minutes after a mint, with its fence | %.0f |
| memory | %.0f, of which %.0f are objects |

With a token of %s characters a record is %s bytes (`+"`MEMORY USAGE`"+`, which leaves out its share of Redis's tables).

`, thousands(f.Clients), len(clientID), f.TokenLength, f.Redis, f.Minted, f.Memory, f.MemoryObjects, listed(lengths), listed(bytes))
}

func startsText(starts []startFigures) string {
	var text strings.Builder
	text.WriteString("### Start-up\n\nFrom the start of the process until `/readyz` says 200, looked at every 5 ms.\n\n" +
		"| | starts | median, of 300 ms | slowest, of 300 ms |\n|---|---|---|---|\n")
	for _, s := range starts {
		fmt.Fprintf(&text, "| %s | %d | %.2f | %.2f |\n", s.Name, len(s.Millis), s.MedianMS/mostStartMS, s.MaxMS/mostStartMS)
	}
	return text.String() + "\n"
}

func (f memoryFigures) text() string {
	return fmt.Sprintf(`### Resident memory

| | MiB |
|---|---|
| idle, with Redis | %.0f |
| idle, in memory alone | %.0f |
| after %s fetches of %s clients on %d connections | %.0f, %.0f at most |

`, f.Idle, f.IdleAlone, thousands(f.Fetches), thousands(f.Clients), f.Connections, f.Loaded, f.LoadedMost)
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func countOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// listed joins words as a sentence does.
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func sortedNames[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// command measures it again. Without figures it is the plain one.
func (f scaleFigures) command() string {
	if f.Rounds == 0 {
		return "go run ./cmd/cstbench scale"
	}
	return fmt.Sprintf("go run ./cmd/cstbench scale --rounds %d", f.Rounds)
}

// scaleSection is the part of the report about how cstproxy grows.
func scaleSection(f scaleFigures) section {
	var text strings.Builder
	for _, part := range []string{
		f.Machine.text() + "\n\n", f.Bytes.text(), clientsText(f.Clients), replicasText(f.Replicas), startsText(f.Starts), f.Memory.text(), featuresText(f.Features),
	} {
		text.WriteString(part)
	}
	return section{Title: "Scale", Command: f.command(), Text: text.String(), Wants: scaleWants(f), Plots: scalePlots(f)}
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

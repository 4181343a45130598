package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// areaMicro is the name of the area.
const areaMicro = "micro"

// baselineFile is where the Go benchmarks of the baseline are, as `make baseline` left them, beside the results.
const baselineFile = "baseline.txt"

// microFigures are the Go benchmarks of a baseline.
type microFigures struct {
	names []string // in their order
	// of :: name without "Benchmark" and without the number of processors -> every time that it ran
	of map[string]*microRuns
}

type microRuns struct{ nanos, bytes, allocations []float64 }

var errNoBenchmarks = errors.New("there are no benchmarks in it")

// parseMicro reads what `go test -bench -benchmem` writes.
func parseMicro(text string) (microFigures, error) {
	f := microFigures{of: map[string]*microRuns{}}
	line := regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(\S+) ns/op\s+(\S+) B/op\s+(\S+) allocs/op`)
	for _, found := range line.FindAllStringSubmatch(text, -1) {
		name := found[1]
		if f.of[name] == nil {
			f.names = append(f.names, name)
			f.of[name] = &microRuns{}
		}
		if err := f.of[name].add(found[2:]); err != nil {
			return f, fmt.Errorf("read the benchmark %s: %w", name, err)
		}
	}
	if len(f.names) == 0 {
		return f, errNoBenchmarks
	}
	return f, nil
}

// add adds a run by its time, bytes and allocations.
func (r *microRuns) add(words []string) error {
	for i, into := range []*[]float64{&r.nanos, &r.bytes, &r.allocations} {
		value, err := strconv.ParseFloat(words[i], 64)
		if err != nil {
			return err
		}
		*into = append(*into, value)
	}
	return nil
}

const (
	// wholeFetch is the benchmark that the others are set against: a fetch from memory, from the handler on.
	wholeFetch = "Fetch/memory-handler"
	// grantFetch is the part of it below the handler: broker, decision, and store, with their metrics.
	grantFetch = "Fetch/memory-grant"
	// hitFetch is a fetch that is answered on the connection, from the caller's write to its read: with what the system takes.
	hitFetch = "Fetch/memory-connection"
	// mostHitAllocations is what the grant may allocate.
	mostHitAllocations = 2
)

// renderedMicro makes the section of the baseline that is beside the folder of results.
func renderedMicro(folder string) (section, error) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Clean(folder)), baselineFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return unmeasured(microSection(microFigures{})), nil
	case err != nil:
		return section{}, fmt.Errorf("read the baseline: %w", err)
	}
	figures, err := parseMicro(string(text))
	if err != nil {
		return section{}, fmt.Errorf("read the baseline: %w", err)
	}
	return microSection(figures), nil
}

// microSection is the part of the report about the Go benchmarks.
func microSection(f microFigures) section {
	var text strings.Builder
	fmt.Fprintf(&text, `What is done for a fetch, in the process and without what net/http costs on either side, as shares of a whole fetch from memory
(`+"`%s`"+`): medians of the baseline that is committed. `+"`make micro`"+` runs them again and compares by benchstat; `+"`make allocations`"+` holds the
allocations, which are exact on any machine, in CI. `+"`%s`"+` is the way that a plain fetch goes as shipped: it is answered on the
connection, and net/http never has it; its time is that of a caller on TCP, with what the system takes to carry a fetch there and back. The
handler has all others, and `+"`%s`"+` is what both ask, where a hit allocates nothing. On the connection the one allocation is the
client's id; those of the handler are for metrics, the answer and its header.

Profile-guided optimisation was measured once, and left out: it saves some 7 %% of the processor time of a request, and takes 100 s more to
build for each architecture, and 0.45 MB more of binary.

| benchmark | time | bytes | allocations |
|---|---|---|---|
`, wholeFetch, hitFetch, grantFetch)
	whole := 1.0
	if runs := f.of[wholeFetch]; runs != nil {
		whole = median(runs.nanos)
	}
	for _, name := range f.names {
		runs := f.of[name]
		fmt.Fprintf(&text, "| `%s` | %.3g | %.0f | %.0f |\n", name, median(runs.nanos)/whole, median(runs.bytes), median(runs.allocations))
	}
	return section{Title: "Inside the process", Command: "make baseline", Text: text.String() + "\n", Wants: microWants(f)}
}

func microWants(f microFigures) []want {
	var decision []float64
	for _, name := range f.names {
		if strings.HasPrefix(name, "Decide/") {
			decision = append(decision, f.of[name].allocations...)
		}
	}
	return []want{
		allocations("allocations in the decision", decision, 0),
		allocations("allocations in an in-process memory hit, below the handler", f.allocations(grantFetch), mostHitAllocations),
	}
}

// allocations are those of each run of a benchmark, if there is any.
func (f microFigures) allocations(name string) []float64 {
	if runs := f.of[name]; runs != nil {
		return runs.allocations
	}
	return nil
}

func allocations(what string, runs []float64, most float64) want {
	wanted := fmt.Sprintf("≤ %.0f", most)
	if len(runs) == 0 {
		return missing(what, wanted)
	}
	seen := slices.Max(runs)
	return want{What: what, Wanted: wanted, Seen: fmt.Sprintf("%.0f", seen), Holds: seen <= most}
}

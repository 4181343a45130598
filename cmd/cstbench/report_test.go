package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is committed is what the report makes of the committed figures: nobody edits it by hand.
func TestReportIsMadeOfTheCommittedFigures(t *testing.T) {
	r, err := reportOf("results")
	if err != nil {
		t.Fatal(err)
	}
	wanted, plots := map[string]string{}, r.plots()
	for name, document := range plots {
		wanted[filepath.Join("plots", name)] = document
	}
	wanted["../../BENCHMARKS.md"] = r.markdown()
	for path, text := range wanted {
		got, err := os.ReadFile(path)
		if diff := cmp.Diff(text, string(got)); err != nil || diff != "" {
			t.Errorf("%s is not what `go run ./cmd/cstbench report` makes: %v\n%s", path, err, diff)
		}
	}
	drawn, err := filepath.Glob("plots/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range drawn {
		if _, ok := plots[filepath.Base(path)]; !ok {
			t.Errorf("%s belongs to no section", path)
		}
	}
}

func TestDemandHoldsUpToItsBound(t *testing.T) {
	w := workload{Connections: 16}
	least, most := demand{contender: "a", base: "b", least: 0.9}, demand{contender: "a", base: "b", most: 1.1}
	for name, c := range map[string]struct {
		demand demand
		pair   pair
		holds  bool
	}{
		"at least":           {least, pair{PerSecond: ratio{Median: 0.9}}, true},
		"below":              {least, pair{PerSecond: ratio{Median: 0.8999}}, false},
		"at most":            {most, pair{P99: ratio{Median: 1.1}}, true},
		"above":              {most, pair{P99: ratio{Median: 1.1001}}, false},
		"what is no latency": {most, pair{P99: ratio{Median: 1}, PerSecond: ratio{Median: 9}}, true},
	} {
		c.pair.Contender, c.pair.Base, c.pair.Workload = "a", "b", w
		if got := (loadFigures{Pairs: []pair{c.pair}}).judge(c.demand, w.Connections); got.Holds != c.holds {
			t.Errorf("%s: %+v", name, got)
		}
	}
	none := pair{Contender: "a", Base: "b", Workload: w}
	for _, f := range []loadFigures{{}, {Pairs: []pair{none}}} {
		for _, d := range []demand{least, most} {
			if got := f.judge(d, 16); got.Holds || got.Seen != "not measured" {
				t.Errorf("what was not measured: %+v", got)
			}
		}
	}
}

func TestReadsOfAHitAreCounted(t *testing.T) {
	for name, c := range map[string]struct {
		contender string
		cell      cell
		holds     bool
	}{
		"one each":                 {nameProxyRedis, cell{Requests: 9000, Gets: 9000}, true},
		"one less":                 {nameProxyRedis, cell{Requests: 9000, Gets: 8999}, false},
		"one more":                 {nameProxyRedis, cell{Requests: 9000, Gets: 9001}, false},
		"memory that is read anew": {nameProxy, cell{Requests: 9000, Gets: 9}, true},
		"memory that is not":       {nameProxy, cell{Requests: 9000, Gets: 10}, false},
	} {
		c.cell.Contender, c.cell.Workload = c.contender, workload{Connections: 1}
		figures := loadFigures{Cells: []cell{c.cell}}
		if judged := figures.judgeCommands(c.contender); judged.Holds != c.holds {
			t.Errorf("%s: %+v", name, judged)
		}
	}
}

// What was not measured is counted, or the report would say that all holds of which nothing is known.
func TestMissingFiguresHoldNothing(t *testing.T) {
	r, err := reportOf(t.TempDir())
	if err != nil || len(r.sections) != len(areas()) {
		t.Fatalf("got %v, %v", r, err)
	}
	for _, s := range r.sections {
		if s.Command == "" || len(s.Wants) == 0 || len(s.Plots) > 0 {
			t.Errorf("%s: wants %v, plots %v", s.Title, s.Wants, s.Plots)
		}
		for _, w := range s.Wants {
			if w.Holds || w.Seen != "not measured" {
				t.Errorf("%s: %+v", s.Title, w)
			}
		}
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, areaLoad+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := reportOf(folder); err == nil {
		t.Error("figures that can't be read are not missing")
	}
}

func TestMintsThatMustBeMeasuredAreJudged(t *testing.T) {
	right := mintCounts{Proxy: 102, Optimum: 100}
	days, week := mintRun{Pattern: "daily", Clients: dailyClients, Days: dailyDays, All: right}, &renewal{Fetches: 1, Mints: []int64{1}}
	ahead := mintRun{Pattern: "launch", Clients: launchClients, AheadHours: 48, Renewal: week}
	few, late, dear := days, ahead, days
	few.Clients--
	late.Renewal = &renewal{Fetches: 1, Mints: []int64{1}, Waits: waitCounts{Ten: 1}}
	dear.All.Proxy++
	for name, c := range map[string]struct {
		runs        []mintRun
		held, wants int
	}{
		"all of them":         {[]mintRun{days, ahead}, 4, 4},
		"no launch":           {[]mintRun{days}, 3, 4},
		"no daily users":      {[]mintRun{ahead}, 3, 4},
		"too few of them":     {[]mintRun{few, ahead}, 4, 5},
		"a launch that waits": {[]mintRun{days, late}, 3, 4},
		"a mint too many":     {[]mintRun{dear, ahead}, 3, 4},
		"none at all":         {nil, 0, 4},
	} {
		r := report{[]section{mintFigures{Runs: c.runs}.section()}}
		if held, wants := r.held(); held != c.held || wants != c.wants {
			t.Errorf("%s: %d of %d hold, want %d of %d", name, held, wants, c.held, c.wants)
		}
	}
}

func TestPlotsAreXMLAndShowWhatTheyAreGiven(t *testing.T) {
	for name, document := range map[string]string{
		"bars":     chart{Title: "a < b & c", Rule: 1, Bars: []bar{{Label: "one", Value: 0.5, Low: 0.25, High: 0.75}, {Label: "none"}}}.svg(),
		"no bars":  chart{Title: "a < b & c"}.svg(),
		"lines":    curves{Title: "a < b & c", X: []float64{1, 16, 64}, XLabel: short, Lines: []curve{{"one", []float64{1, 0.5, 2}}}}.svg(),
		"no lines": curves{Title: "a < b & c", X: []float64{1}, XLabel: short}.svg(),
	} {
		decoder, tokens := xml.NewDecoder(strings.NewReader(document)), []string{}
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			if text, ok := token.(xml.CharData); ok {
				tokens = append(tokens, string(text))
			}
		}
		if !slices.Contains(tokens, "a < b & c") || strings.Contains(document, "NaN") || strings.Contains(document, "Inf") {
			t.Errorf("%s: %s", name, document)
		}
	}
}

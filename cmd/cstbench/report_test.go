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
	if len(r.sections) > 0 {
		wanted["../../BENCHMARKS.md"] = r.markdown()
	}
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
	if got := (loadFigures{}).judge(least, 16); got.Holds || got.Seen != "not measured" {
		t.Errorf("what was not measured: %+v", got)
	}
}

func TestMissingFiguresAreLeftOut(t *testing.T) {
	r, err := reportOf(t.TempDir())
	if err != nil || len(r.sections) != 0 {
		t.Errorf("got %v, %v", r, err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, areaLoad+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := reportOf(folder); err == nil {
		t.Error("figures that can't be read are not missing")
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

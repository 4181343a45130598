package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A few slices of everything that is of our own: what must be counted is, whatever the machine does meanwhile.
func TestLoadCountsWhatItAsksAndReportsIt(t *testing.T) {
	proxy := builtProxy(t)
	folder, out := t.TempDir(), new(bytes.Buffer)
	run := func(args ...string) {
		t.Helper()
		if err := root(out).Run(t.Context(), append([]string{"cstbench", "--results", folder}, args...)); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run("load", "--quick", "--cstproxy", proxy, "--connections", "1,16", "--only", "echo,echo-again,goredis-unix,cstproxy,cstproxy-callers,cstproxy-redis,cstproxy-redis-unix")
	var figures loadFigures
	if err := load(folder, areaLoad, &figures); err != nil {
		t.Fatal(err)
	}
	checkFigures(t, figures)
	run("report", "--to", filepath.Join(folder, "B.md"), "--plots", folder)
	text, err := os.ReadFile(filepath.Join(folder, "B.md"))
	for _, wanted := range []string{"| cstproxy-redis, reads of Redis for a hit, 1 connection | exactly 1 |", "| generator, cores |"} {
		if err != nil || !strings.Contains(string(text), wanted) {
			t.Errorf("want %q; the report is\n%s\n%v", wanted, text, err)
		}
	}
}

// checkFigures holds the counts of a quick run.
func checkFigures(t *testing.T, figures loadFigures) {
	t.Helper()
	const contenders, workloads = 7, 3
	if len(figures.Cells) != contenders*workloads || len(figures.Skipped) != 0 {
		t.Errorf("%d cells; skipped %v", len(figures.Cells), figures.Skipped)
	}
	for _, c := range figures.Cells {
		if c.Generator <= 0 || c.Generator > 2 || c.Requests <= c.Workload.Connections || c.Own <= 0 || c.P50 <= 0 || c.P99 < c.P50 {
			t.Errorf("%s, %s: %+v", c.Contender, c.Workload, c)
		}
		one := c.Contender == "goredis-unix" || strings.HasPrefix(c.Contender, "cstproxy-redis") && c.Workload.Connections == 1
		if one && c.Gets != c.Requests {
			t.Errorf("%s, %s: %d GET for %d requests", c.Contender, c.Workload, c.Gets, c.Requests)
		}
		if strings.HasPrefix(c.Contender, "echo") && c.Gets != 0 {
			t.Errorf("%s: %d GET", c.Contender, c.Gets)
		}
	}
	if _, ok := figures.pair("echo-again", "echo", workload{Connections: 16}); !ok {
		t.Error("nothing was measured twice")
	}
}

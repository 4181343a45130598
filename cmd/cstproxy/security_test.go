package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// threatRow is a row of the table that ends with what shows the control; its head and its rule have no code there.
	threatRow  = regexp.MustCompile(`(?m)^\|.*\|(.*\x60.*)\|$`)
	shownBy    = regexp.MustCompile("`([^`]+)`")
	namedTest  = regexp.MustCompile(`\A([a-z/]+)\.((?:Test|Fuzz)\w+)\z`)
	namedStep  = regexp.MustCompile(`\A\.ci/run ([a-z,]+)\z`)
	namedTxtar = regexp.MustCompile(`\A[a-z/]+/testdata/script/\w+\.txtar\z`)
)

// TestEveryControlOfTheThreatModelIsShownByWhatThereIs holds SECURITY.md to tests and steps that exist.
func TestEveryControlOfTheThreatModelIsShownByWhatThereIs(t *testing.T) {
	t.Parallel()
	_, table, found := strings.Cut(readFromRoot(t, "SECURITY.md"), "\n## Threats\n")
	if !found {
		t.Fatal("SECURITY.md has no table of threats")
	}
	rows, shown := threatRow.FindAllStringSubmatch(table, -1), 0
	if want := strings.Count(table, "\n|") - 2; len(rows) != want { // without its head and its rule
		t.Errorf("%d of %d threats name what shows their control", len(rows), want)
	}
	for _, row := range rows {
		for _, name := range shownBy.FindAllStringSubmatch(row[1], -1) {
			checkExists(t, name[1])
			shown++
		}
	}
	t.Logf("%d threats are shown by %d tests and steps", len(rows), shown)
}

func checkExists(t *testing.T, name string) {
	t.Helper()
	exists := false
	switch test, step := namedTest.FindStringSubmatch(name), namedStep.FindStringSubmatch(name); {
	case test != nil:
		files, _ := filepath.Glob(filepath.Join("../..", test[1], "*_test.go"))
		for _, file := range files {
			content, err := os.ReadFile(file)
			exists = exists || err == nil && strings.Contains(string(content), "\nfunc "+test[2]+"(")
		}
	case step != nil:
		exists = strings.Contains(readFromRoot(t, ".ci/run"), "\nstep "+step[1]+" ")
	case namedTxtar.MatchString(name):
		_, err := os.Stat(filepath.Join("../..", name))
		exists = err == nil
	}
	if !exists {
		t.Errorf("SECURITY.md names %q, which is no test, script or step", name)
	}
}

func readFromRoot(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

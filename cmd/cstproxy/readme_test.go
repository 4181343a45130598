package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readme is the manual; its table of settings has one row for each: variable, flag, default, what it sets.
const readme = "../../README.md"

var settingRow = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|([^|]*)\\|([^|]*)\\|")

func TestTheManualHasARowForEverySettingWithItsDefault(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatalf("the manual must list every setting: %v", err)
	}
	// rows :: variable → its flag and its default, as they stand there
	rows := map[string][]string{}
	for _, row := range settingRow.FindAllStringSubmatch(string(text), -1) {
		rows[row[1]] = []string{strings.TrimSpace(row[2]), strings.TrimSpace(row[3])}
	}
	for _, s := range settings() {
		row, ok := rows[s.variable]
		switch {
		case !ok:
			t.Errorf("%s has no row", s.variable)
		case s.flag != "" && row[0] != "`--"+s.flag+"`", s.flag == "" && row[0] != "":
			t.Errorf("%s has the flag %q in its row, want %q", s.variable, row[0], s.flag)
		case s.fallback != "" && row[1] != "`"+s.fallback+"`", s.fallback == "" && strings.Contains(row[1], "`"):
			t.Errorf("%s has the default %q in its row, want %q", s.variable, row[1], s.fallback)
		}
	}
	for variable := range rows {
		if !slices.ContainsFunc(settings(), func(s setting) bool { return s.variable == variable }) {
			t.Errorf("%s has a row, and is no setting", variable)
		}
	}
}

package observe

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// durations finds every duration of a rule file: windows of queries, and how long an alert's condition must hold.
var durations = regexp.MustCompile(`(\[|\n +for: )(\d+)([smhd])(\]|\n)`)

// hastened returns rules whose every duration is divided by the factor, and that are the same otherwise.
func hastened(rules string, factor int) string {
	return durations.ReplaceAllStringFunc(rules, func(found string) string {
		part := durations.FindStringSubmatch(found)
		n, _ := strconv.Atoi(part[2]) // it is digits
		d := time.Duration(n) * map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[part[3]]
		return fmt.Sprintf("%s%dms%s", part[1], (d / time.Duration(factor)).Milliseconds(), part[4])
	})
}

func TestHastenedRulesAreTheShippedOnesButForTheirDurations(t *testing.T) {
	t.Parallel()
	anything := regexp.MustCompile(`\b\d+(ms|[smhdwy])\b`)
	for _, file := range []string{rulesFile, alertsFile} {
		shipped := read(t, file)
		const factor = 10
		fast := hastened(shipped, factor)
		before, after := anything.FindAllString(shipped, -1), anything.FindAllString(fast, -1)
		if rest := anything.ReplaceAllString(fast, "") == anything.ReplaceAllString(shipped, ""); !rest || len(before) != len(after) {
			t.Fatalf("%s: something else changed", file)
		}
		touched := 0
		for i := range before {
			old, errOld := time.ParseDuration(before[i])
			now, errNow := time.ParseDuration(after[i])
			switch {
			case errOld != nil || errNow != nil:
				t.Errorf("%s: %s became %s", file, before[i], after[i])
			case now == old/factor:
				touched++
			case now != old:
				t.Errorf("%s: %s became %s", file, before[i], after[i])
			}
		}
		// What has the look of a duration and is none stands in comments and texts.
		if want := strings.Count(shipped, "m]") + strings.Count(shipped, " for: "); touched != want {
			t.Errorf("%s: %d durations were divided, want %d", file, touched, want)
		}
	}
}

// alerts returns the names of the shipped alerts.
func alerts(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(read(t, alertsFile), -1) {
		names = append(names, found[1])
	}
	if len(names) == 0 {
		t.Fatalf("%s has no alerts", alertsFile)
	}
	return names
}

// same reports what is in one of the lists alone.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s: %s, which there should not be", what, name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s: no %s", what, name)
		}
	}
}

func TestEveryAlertHasItsSectionInTheRunbookAndEverySectionItsAlert(t *testing.T) {
	t.Parallel()
	sections := map[string]string{}
	for _, section := range strings.Split(read(t, runbookFile), "\n### ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		sections[title] = text
	}
	same(t, "sections of the runbook", slices.Sorted(maps.Keys(sections)), alerts(t))
	for title, text := range sections {
		for _, part := range []string{"**Meaning.**", "**First look.**", "**Fix.**"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no %s", title, part)
			}
		}
	}
}

func TestEveryAlertSaysHowUrgentItIsAndLeadsToItsSection(t *testing.T) {
	t.Parallel()
	for _, alert := range strings.Split(read(t, alertsFile), "\n      - alert: ")[1:] {
		name, text, _ := strings.Cut(alert, "\n")
		for what, expression := range map[string]string{
			"severity": `labels: \{severity: (page|ticket)\}`, "summary": `summary: \S`, "description with a value or a label": `\{\{ (with )?\$(value|labels)`,
			"link to its section": `runbook_url: https://github\.com/cstproxy/cstproxy/blob/main/deploy/RUNBOOK\.md#` + strings.ToLower(name) + `\n`,
		} {
			if !regexp.MustCompile(expression).MatchString(text + "\n") {
				t.Errorf("%s has no %s", name, what)
			}
		}
	}
}

func TestEveryAlertHasACaseInWhichItFiresAndOneInWhichItDoesNot(t *testing.T) {
	t.Parallel()
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range strings.Split(read(t, "../../prometheus/tests/alerts.yaml"), "alertname: ")[1:] {
		name, rest, _ := strings.Cut(test, "\n")
		if strings.Contains(rest, "exp_alerts:") {
			fires[name] = true
		} else {
			silent[name] = true
		}
	}
	same(t, "cases in which it fires", slices.Sorted(maps.Keys(fires)), alerts(t))
	same(t, "cases in which it does not", slices.Sorted(maps.Keys(silent)), alerts(t))
}

func TestRunbookAndTheRestNameOnlySeriesThatThereAre(t *testing.T) {
	t.Parallel()
	f := begin(t, "names", plan{replicas: 1})
	text, err := f.replicas[0].scraped()
	if err != nil {
		t.Fatal(err)
	}
	recorded := read(t, rulesFile)
	series := regexp.MustCompile(`\bcstproxy(_pod)?[_:][a-z0-9_:]*[a-z0-9]\b`)
	for _, file := range []string{rulesFile, alertsFile, runbookFile, dashboardFile, "../../README.md"} {
		for _, name := range series.FindAllString(read(t, file), -1) {
			family := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			isThere := name == "cstproxy_pod" || strings.Contains(text, "# TYPE "+name+" ") || strings.Contains(text, "# TYPE "+family+" ") ||
				strings.Contains(recorded, "record: "+name+"\n")
			if !isThere {
				t.Errorf("%s names %s, which there is not", file, name)
			}
		}
	}
}

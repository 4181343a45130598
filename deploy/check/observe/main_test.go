package observe

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// skipped is the exit code that says that nothing was shown (EX_TEMPFAIL).
const skipped = 75

var (
	binary  = flag.String("cstproxy", "", "the product; without it nothing is shown")
	dayPlot = flag.String("day", "", "where to write the plot of the scripted day")
)

// Where the tests find what they hold to its word.
const (
	rulesFile     = "../../prometheus/rules.yaml"
	alertsFile    = "../../prometheus/alerts.yaml"
	configFile    = "../../prometheus/prometheus.yml"
	runbookFile   = "../../RUNBOOK.md"
	dashboardFile = "../../grafana/cstproxy.json"
	clockSource   = "../../../cache/redistest/testdata/clock.c"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if why := unable(); why != "" {
		fmt.Println("observe: SKIPPED,", why)
		os.Exit(skipped)
	}
	os.Exit(m.Run())
}

// unable says why nothing can be shown here.
func unable() string {
	if *binary == "" {
		return "-cstproxy is not given, as .ci/observe does"
	}
	for _, program := range []string{"prometheus", "promtool", "redis-server"} {
		if _, err := exec.LookPath(program); err != nil {
			return "there is no " + program
		}
	}
	return ""
}

// read returns a file of the repository's.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

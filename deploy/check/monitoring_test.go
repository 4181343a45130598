package check

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const rule = "../kustomize/components/monitoring/prometheusrule.yaml"

// TestPrometheusRuleIsWhatPrometheusLoads holds the operator's form of the rules to that of Prometheus itself: kustomize
// can't read what lies outside of a component.
func TestPrometheusRuleIsWhatPrometheusLoads(t *testing.T) {
	want := "# deploy/prometheus/rules.yaml and alerts.yaml, for the Prometheus operator. Made by `make manifests`.\n" +
		"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: cstproxy\nspec:\n  groups:\n"
	remark := regexp.MustCompile(`(?m)^ *#.*\n`)
	for _, file := range []string{"rules.yaml", "alerts.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "prometheus", file))
		if err != nil {
			t.Fatal(err)
		}
		_, groups, found := strings.Cut(remark.ReplaceAllString(string(text), ""), "groups:\n")
		if !found {
			t.Fatalf("%s has no groups", file)
		}
		for line := range strings.Lines(groups) {
			if line != "\n" {
				want += "  "
			}
			want += line
		}
	}
	if *update {
		if err := os.WriteFile(rule, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(rule)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("otherwise than deploy/prometheus says (make manifests):\n%s", diff)
	}
}

func TestDashboardComesAsGrafanasSidecarLooksForIt(t *testing.T) {
	want, err := os.ReadFile("../grafana/cstproxy.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range parse(t, build(t, "testdata/cases/monitoring")) {
		if object.GetKind() != "ConfigMap" || object.GetLabels()["grafana_dashboard"] != "1" {
			continue
		}
		data, _ := object.Object["data"].(map[string]any)
		if data["cstproxy.json"] != string(want) {
			t.Error("the ConfigMap holds something else")
		}
		return
	}
	t.Error("there is no ConfigMap with the label grafana_dashboard")
}

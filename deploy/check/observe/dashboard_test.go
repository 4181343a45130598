package observe

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// panel is one of the dashboard's.
type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID        string `json:"refId"`
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string   `json:"unit"`
			Max  *float64 `json:"max"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

// dashboard is what is read of the file that Grafana takes.
type dashboard struct {
	SchemaVersion int     `json:"schemaVersion"`
	UID           string  `json:"uid"`
	Panels        []panel `json:"panels"`
	Annotations   struct {
		List []struct{ Name, Expr string } `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []struct{ Name, Type, Definition, AllValue string } `json:"list"`
	} `json:"templating"`
}

func shipped(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d dashboard) panel(t *testing.T, kind, title string) panel {
	t.Helper()
	for _, p := range d.Panels {
		if p.Type == kind && p.Title == title {
			return p
		}
	}
	t.Fatalf("the dashboard has no %s %q", kind, title)
	return panel{}
}

// filled returns a query as Grafana sends it, of one fleet and all its pods.
func filled(query, fleet string) string {
	return strings.NewReplacer("$namespace", "wallet", "$job", fleet, "$pod", ".*", "$__rate_interval", "10s").Replace(query)
}

func TestDashboardIsWhatGrafanaTakes(t *testing.T) {
	t.Parallel()
	d := shipped(t)
	if d.SchemaVersion < 39 || d.UID == "" {
		t.Errorf("schema %d, uid %q", d.SchemaVersion, d.UID)
	}
	ids, places := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] != "" {
			t.Errorf("%q and %q have the id %d", ids[p.ID], p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := places[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies upon %q, or beyond the edge", p.Title, other)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" && p.Type != "heatmap" || len(p.Targets) == 0 {
			t.Errorf("%q lacks a description, a unit or a query", p.Title)
		}
		for _, q := range p.Targets {
			for _, variable := range []string{`namespace=~"$namespace"`, `job=~"$job"`} {
				if strings.Count(q.Expr, variable) != strings.Count(q.Expr, "{") {
					t.Errorf("%q: a part of %s does not ask for %s", p.Title, q.Expr, variable)
				}
			}
			if regexp.MustCompile(`\[\d`).MatchString(q.Expr) {
				t.Errorf("%q: %s has a window of its own, in place of $__rate_interval", p.Title, q.Expr)
			}
		}
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		if v.Type == "query" && v.AllValue != ".*" {
			t.Errorf("%s leaves out series without the label, where all are asked for", v.Name)
		}
	}
	same(t, "variables", names, []string{"datasource", "namespace", "job", "pod"})
}

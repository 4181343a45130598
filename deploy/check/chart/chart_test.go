package chart_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/cstproxy/cstproxy/deploy/check/chart"
	"github.com/cstproxy/cstproxy/deploy/check/manifest"
)

const (
	library    = "../../helm/cstproxy"
	example    = "../../helm/example"
	kubernetes = "1.36.0"
)

var update = flag.Bool("update", false, "write what is rendered into the golden files")

// caseNames are the values files in testdata/cases.
func caseNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/cases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no case in testdata/cases: %v", err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".yaml")
	}
	return files
}

func caseValues(t *testing.T, name string) map[string]any {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata/cases", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(content))
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	values, err := common.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// render renders the example chart, with a chart of its own for each release because rendering changes it.
func render(t *testing.T, r chart.Release) ([]byte, error) {
	t.Helper()
	c, err := chart.Open(example)
	if err != nil {
		t.Fatal(err)
	}
	if r.Kubernetes == "" {
		r.Kubernetes = kubernetes
	}
	return chart.Render(c, r)
}

func mustRender(t *testing.T, values map[string]any) []byte {
	t.Helper()
	documents, err := render(t, chart.Release{Values: values})
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

func TestRenderedIsAsReviewed(t *testing.T) {
	t.Parallel()
	for _, name := range caseNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			documents := mustRender(t, caseValues(t, name))
			golden := filepath.Join("testdata/cases", name+".golden")
			if *update {
				if err := os.WriteFile(golden, documents, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(documents)); diff != "" {
				t.Errorf("otherwise than in the golden file (make manifests, and review what changed):\n%s", diff)
			}
		})
	}
}

func TestCasesAreWhatAClusterTakes(t *testing.T) {
	t.Parallel()
	location := os.Getenv("SCHEMA_LOCATION")
	if location == "" {
		location = "../testdata/schemas/{{.ResourceKind}}{{.KindSuffix}}.json"
	}
	schemas, err := manifest.OpenSchemas(location)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range caseNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			documents := mustRender(t, caseValues(t, name))
			if err := schemas.Check(documents); err != nil {
				t.Error(err)
			}
			objects, err := manifest.Parse(documents)
			if err != nil {
				t.Fatal(err)
			}
			refusals, err := manifest.Insecure(objects)
			if err != nil || len(refusals) > 0 {
				t.Errorf("Pod Security restricted refuses %+v (%v)", refusals, err)
			}
			faults, err := append(objects, madeElsewhere()...).Faults()
			if err != nil || len(faults) > 0 {
				t.Errorf("%q (%v), want no fault", faults, err)
			}
		})
	}
}

// madeElsewhere are the Secrets that the case production names.
func madeElsewhere() manifest.Objects {
	var secrets manifest.Objects
	for _, name := range []string{"wallet-portal", "wallet-redis", "wallet-redis-client", "wallet-seal-keys"} {
		secret := unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret"}}
		secret.SetName(name)
		secrets = append(secrets, secret)
	}
	return secrets
}

func TestChartsPassStrictLint(t *testing.T) {
	t.Parallel()
	version, err := common.ParseKubeVersion(kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	faults := func(directory string, values map[string]any) error {
		var found []error
		for _, message := range lint.RunAll(directory, values, "wallet", lint.WithKubeVersion(version)).Messages {
			if message.Severity >= support.WarningSev {
				found = append(found, message)
			}
		}
		return errors.Join(found...)
	}
	t.Run("library", func(t *testing.T) {
		t.Parallel()
		if err := faults(library, nil); err != nil {
			t.Error(err)
		}
	})
	complete := t.TempDir()
	c, err := chart.Open(example)
	if err != nil {
		t.Fatal(err)
	}
	if err := chartutil.SaveDir(c, complete); err != nil {
		t.Fatal(err)
	}
	for _, name := range caseNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := faults(filepath.Join(complete, c.Name()), caseValues(t, name)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVersionsOfChartImageAndExampleAgree(t *testing.T) {
	t.Parallel()
	c, err := chart.Open(example) // the dependency's version is compared there
	if err != nil {
		t.Fatal(err)
	}
	lib := c.Dependencies()[0]
	image, _ := lib.Values["image"].(map[string]any)
	if image["tag"] != lib.Metadata.AppVersion || lib.Metadata.Version != lib.Metadata.AppVersion {
		t.Errorf("chart %s, app %s, image %v: want one version", lib.Metadata.Version, lib.Metadata.AppVersion, image["tag"])
	}
	if lib.Metadata.Type != "library" {
		t.Errorf("type %q, want library", lib.Metadata.Type)
	}
}

func TestEveryGoldenFileHasACase(t *testing.T) {
	t.Parallel()
	known := caseNames(t)
	files, err := filepath.Glob("testdata/cases/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d golden files (%v)", len(files), err)
	}
	for _, file := range files {
		if !slices.Contains(known, strings.TrimSuffix(filepath.Base(file), ".golden")) {
			t.Errorf("%s belongs to no case", file)
		}
	}
}

// Package check holds the manifests of this repository to what a cluster would say of them.
package check

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/deploy/check/manifest"
)

var update = flag.Bool("update", false, "write what is rendered into the golden files")

// cases returns name → directory of all that must be fit for a cluster: the overlays, and the cases for what they leave.
func cases(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for prefix, pattern := range map[string]string{"overlay-": "../kustomize/overlays/*", "": "testdata/cases/*"} {
		directories, err := filepath.Glob(pattern)
		if err != nil || len(directories) == 0 {
			t.Fatalf("%s: found %d (%v), want some", pattern, len(directories), err)
		}
		for _, directory := range directories {
			found[prefix+filepath.Base(directory)] = directory
		}
	}
	return found
}

func build(t *testing.T, directory string) []byte {
	t.Helper()
	rendered, err := manifest.Build(directory)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func parse(t *testing.T, rendered []byte) manifest.Objects {
	t.Helper()
	objects, err := manifest.Parse(rendered)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func schemas(t *testing.T) manifest.Schemas {
	t.Helper()
	location := os.Getenv("SCHEMA_LOCATION")
	if location == "" {
		location = "testdata/schemas/{{.ResourceKind}}{{.KindSuffix}}.json"
	}
	opened, err := manifest.OpenSchemas(location)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestRenderedIsAsReviewed(t *testing.T) {
	for name, directory := range cases(t) {
		t.Run(name, func(t *testing.T) {
			rendered := build(t, directory)
			golden := filepath.Join("testdata", "rendered", name+".golden")
			if *update {
				if err := os.WriteFile(golden, rendered, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(rendered)); diff != "" {
				t.Errorf("otherwise than in the golden file (make manifests, and review what changed):\n%s", diff)
			}
		})
	}
}

func TestEveryGoldenFileHasACase(t *testing.T) {
	known := cases(t)
	files, err := filepath.Glob("testdata/rendered/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d golden files (%v)", len(files), err)
	}
	for _, file := range files {
		if name, isGolden := strings.CutSuffix(filepath.Base(file), ".golden"); !isGolden || known[name] == "" {
			t.Errorf("%s belongs to no case", file)
		}
	}
}

func TestKubectlRendersTheSame(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("SKIPPED: there is no kubectl")
	}
	for name, directory := range cases(t) {
		t.Run(name, func(t *testing.T) {
			said, err := exec.CommandContext(t.Context(), kubectl, "kustomize", directory).Output()
			if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
				t.Fatalf("%v: %s", err, failed.Stderr)
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(build(t, directory)), string(said)); diff != "" {
				t.Errorf("kubectl renders something else:\n%s", diff)
			}
		})
	}
}

func TestClusterTakesEveryCase(t *testing.T) {
	known := schemas(t)
	for name, directory := range cases(t) {
		t.Run(name, func(t *testing.T) {
			if err := known.Check(build(t, directory)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRestrictedNamespaceAdmitsEveryCase(t *testing.T) {
	for name, directory := range cases(t) {
		t.Run(name, func(t *testing.T) {
			objects := parse(t, build(t, directory))
			workloads, err := objects.Workloads()
			if err != nil || len(workloads) == 0 {
				t.Fatalf("found %d workloads (%v), want some", len(workloads), err)
			}
			refusals, err := manifest.Insecure(objects)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range refusals {
				t.Errorf("%s: %s: %s", r.Workload, r.Reason, r.Detail)
			}
		})
	}
}

func TestEveryCaseIsFreeOfFaults(t *testing.T) {
	for name, directory := range cases(t) {
		t.Run(name, func(t *testing.T) {
			faults, err := parse(t, build(t, directory)).Faults()
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range faults {
				t.Error(fault)
			}
		})
	}
}

func TestProductionPinsEveryImage(t *testing.T) {
	rendered := build(t, "../kustomize/overlays/production")
	images := 0
	for line := range bytes.Lines(rendered) {
		image, isImage := strings.CutPrefix(strings.TrimLeft(string(line), " -"), "image: ")
		if !isImage {
			continue
		}
		images++
		if !strings.Contains(image, "@sha256:") {
			t.Errorf("%s is not pinned by its digest", strings.TrimSpace(image))
		}
	}
	if images == 0 {
		t.Error("found no image")
	}
}

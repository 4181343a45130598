// Package check holds the manifests of this repository to what a cluster would say of them.
package check

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

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

func TestFleetRunsAsSidecarsDo(t *testing.T) {
	sidecar, fleet := proxies(t, "testdata/cases/job")[0], proxies(t, "testdata/cases/fleet")[0]
	for _, c := range []*corev1.Container{&sidecar, &fleet} {
		c.Env, c.Ports, c.Resources, c.VolumeMounts, c.RestartPolicy = nil, nil, corev1.ResourceRequirements{}, nil, nil
	}
	if diff := cmp.Diff(sidecar, fleet); diff != "" {
		t.Errorf("the fleet's container differs by more than settings, ports, size and mounts:\n%s", diff)
	}
}

// proxies returns the product's containers of a case.
func proxies(t *testing.T, directory string) (list []corev1.Container) {
	t.Helper()
	workloads, err := parse(t, build(t, directory)).Workloads()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads {
		for _, c := range slices.Concat(w.Pod.Spec.InitContainers, w.Pod.Spec.Containers) {
			if c.Name == manifest.Proxy {
				list = append(list, c)
			}
		}
	}
	if len(list) == 0 {
		t.Fatalf("%s has no %s", directory, manifest.Proxy)
	}
	return list
}

func TestClassicSidecarIsTheNativeOneButForItsEnd(t *testing.T) {
	native, classic := proxies(t, "testdata/cases/networkpolicy")[0], proxies(t, "testdata/cases/classic")[0]
	native.RestartPolicy = nil
	native.Env = append(native.Env, corev1.EnvVar{Name: "CSTPROXY_DRAIN_DELAY", Value: "15s"})
	if diff := cmp.Diff(native, classic); diff != "" {
		t.Errorf("they differ by more than restartPolicy and CSTPROXY_DRAIN_DELAY:\n%s", diff)
	}
}

func TestSelectedWorkloadsAloneGetASidecar(t *testing.T) {
	workloads, err := parse(t, build(t, "testdata/cases/kinds")).Workloads()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, w := range workloads {
		var names []string
		for _, c := range slices.Concat(w.Pod.Spec.InitContainers, w.Pod.Spec.Containers) {
			names = append(names, c.Name)
		}
		got[w.GetKind()+"/"+w.GetName()] = strings.Join(names, " ")
	}
	want := map[string]string{
		"Deployment/web": "cstproxy app", "Deployment/unlabelled": "app", "StatefulSet/queue": "cstproxy migrate app",
		"DaemonSet/node": "cstproxy app", "Job/report": "cstproxy app",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

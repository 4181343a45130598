package chart_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/cstproxy/cstproxy/deploy/check/manifest"
)

// part is what the sidecar adds to a pod, in an order of its own: to Kubernetes the order of variables, mounts and
// volumes means nothing, and Kustomize puts what a component adds in front.
type part struct {
	Place     string // the list that has the container, and where
	Container corev1.Container
	Volumes   []corev1.Volume
	AppMounts []corev1.VolumeMount
	FSGroup   *int64
	OnChange  *corev1.PodFSGroupChangePolicy
	Label     string
}

// TestChartAndComponentsGiveTheSameSidecar compares each case that both have. The chart's are in testdata/cases, those of
// Kustomize in ../testdata/cases.
func TestChartAndComponentsGiveTheSameSidecar(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ chart, kustomize, workload string }{
		{"default", "networkpolicy", "Deployment"},
		{"socket", "socket", "Deployment"},
		{"classic", "classic", "Deployment"},
		{"tls", "tls", "Deployment"},
		{"caller-auth", "caller-auth", "Deployment"},
		{"classic-full", "classic-full", "Deployment"},
		{"job", "job", "Job"},
	} {
		t.Run(test.chart, func(t *testing.T) {
			t.Parallel()
			values := caseValues(t, test.chart)
			if test.chart == "tls" {
				withoutCAForTheApp(t, values)
			}
			built, err := manifest.Build(filepath.Join("../testdata/cases", test.kustomize))
			if err != nil {
				t.Fatal(err)
			}
			want := partOf(t, built, test.workload)
			got := partOf(t, mustRender(t, values), test.workload)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Kustomize gives -, the chart +:\n%s", diff)
			}
		})
	}
}

// withoutCAForTheApp takes away what the chart alone can do: a component doesn't know under which name a Secret has its
// authority, if it has any.
func withoutCAForTheApp(t *testing.T, values map[string]any) {
	t.Helper()
	tls := values["cstproxy"].(map[string]any)["tls"].(map[string]any)
	if _, there := tls["caKey"]; !there {
		t.Fatal("the case has no caKey: nothing to take away")
	}
	delete(tls, "caKey")
}

// partOf returns what the only workload of a kind that has a sidecar got with it.
func partOf(t *testing.T, documents []byte, kind string) part {
	t.Helper()
	objects, err := manifest.Parse(documents)
	if err != nil {
		t.Fatal(err)
	}
	workloads, err := objects.Of(kind).Workloads()
	if err != nil {
		t.Fatal(err)
	}
	var found []part
	for _, w := range workloads {
		if place, container, ok := sidecarIn(w.Pod.Spec); ok {
			found = append(found, collect(w.Pod, place, container))
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d workloads of kind %s have a sidecar, want 1", len(found), kind)
	}
	return found[0]
}

// sidecarIn looks where it must be: first.
func sidecarIn(pod corev1.PodSpec) (string, corev1.Container, bool) {
	if len(pod.InitContainers) > 0 && pod.InitContainers[0].Name == "cstproxy" {
		return "initContainers[0]", pod.InitContainers[0], true
	}
	if pod.Containers[0].Name == "cstproxy" {
		return "containers[0]", pod.Containers[0], true
	}
	return "", corev1.Container{}, false
}

func collect(pod corev1.PodTemplateSpec, place string, container corev1.Container) part {
	slices.SortFunc(container.Env, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(container.VolumeMounts, compareMounts)
	p := part{
		Place: place, Container: container, FSGroup: pod.Spec.SecurityContext.FSGroup,
		OnChange: pod.Spec.SecurityContext.FSGroupChangePolicy, Label: pod.Labels["cstproxy"],
	}
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap != nil && strings.HasPrefix(v.ConfigMap.Name, "cstproxy-callers-") {
			v.ConfigMap.Name = "cstproxy-callers" // without the hash that a generator adds
		}
		if strings.HasPrefix(v.Name, "cstproxy-") {
			p.Volumes = append(p.Volumes, v)
		}
	}
	slices.SortFunc(p.Volumes, func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) })
	app := pod.Spec.Containers[len(pod.Spec.Containers)-1]
	for _, m := range app.VolumeMounts {
		// A replacement can make a mount, but has one value to give it: it can't make it read-only too.
		m.ReadOnly = false
		if strings.HasPrefix(m.Name, "cstproxy-") {
			p.AppMounts = append(p.AppMounts, m)
		}
	}
	slices.SortFunc(p.AppMounts, compareMounts)
	return p
}

func compareMounts(a, b corev1.VolumeMount) int { return strings.Compare(a.Name, b.Name) }

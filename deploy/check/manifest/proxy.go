package manifest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// drainTime is what the proxy takes to end at most, once it drains, and a little for the kubelet.
	drainTime = 10 * time.Second
	// defaultGrace is Kubernetes' own terminationGracePeriodSeconds.
	defaultGrace = 30 * time.Second
)

func isProxy(c corev1.Container) bool { return c.Name == Proxy }

// proxy returns the product's container, nil where there is none.
func (w Workload) proxy() *corev1.Container {
	for _, c := range slices.Concat(w.Pod.Spec.InitContainers, w.Pod.Spec.Containers) {
		if isProxy(c) {
			return &c
		}
	}
	return nil
}

// placement tells whether the product's container starts before those that need it, and does not outlive them.
func (w Workload) placement() []string {
	native := slices.IndexFunc(w.Pod.Spec.InitContainers, isProxy)
	plain := slices.IndexFunc(w.Pod.Spec.Containers, isProxy)
	switch {
	case native >= 0 && plain >= 0:
		return []string{"cstproxy is there twice"}
	case native >= 0:
		return first(w.Pod.Spec, native)
	case plain >= 0:
		return w.classic(w.Pod.Spec.Containers[plain])
	case w.GetLabels()[Proxy] == "sidecar":
		return []string{"it asks for cstproxy and has none"}
	}
	return nil
}

func first(pod corev1.PodSpec, at int) (faults []string) {
	if at != 0 {
		faults = append(faults, "cstproxy is not the first init container: those before it can't use it")
	}
	if policy := pod.InitContainers[at].RestartPolicy; policy == nil || *policy != corev1.ContainerRestartPolicyAlways {
		faults = append(faults, "cstproxy has no restartPolicy Always: the pod would wait for it to end")
	}
	return faults
}

// classic is for a container that ends when the others do.
func (w Workload) classic(c corev1.Container) (faults []string) {
	if w.GetKind() == "Job" || w.GetKind() == "CronJob" {
		faults = append(faults, "cstproxy is an ordinary container: the Job would never complete")
	}
	delay, err := time.ParseDuration(value(c, "CSTPROXY_DRAIN_DELAY"))
	if err != nil || delay <= 0 {
		return append(faults, "cstproxy has no CSTPROXY_DRAIN_DELAY: it ends while it is still asked")
	}
	grace := defaultGrace
	if seconds := w.Pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	if delay+drainTime > grace {
		faults = append(faults, fmt.Sprintf("terminationGracePeriodSeconds ends before %s and the drain", delay))
	}
	return faults
}

// value returns that of a variable, "" where it has none.
func value(c corev1.Container, name string) string {
	for _, variable := range c.Env {
		if variable.Name == name {
			return variable.Value
		}
	}
	return ""
}

// secrets are the variables that hold one, and come from files instead.
func secrets() []string {
	return []string{"PORTAL_API_KEY", "PORTAL_API_KEY_NEXT", "REDIS_URL", "REDIS_USERNAME", "REDIS_PASSWORD"}
}

// configuration tells whether a secret shows in the environment, and whether each file is where something is mounted.
func configuration(c corev1.Container) (faults []string) {
	if len(c.EnvFrom) > 0 {
		faults = append(faults, "cstproxy takes its environment from elsewhere (envFrom)")
	}
	for _, variable := range c.Env {
		switch {
		case slices.Contains(secrets(), variable.Name):
			faults = append(faults, variable.Name+" is a secret: mount it, and name its file")
		case variable.ValueFrom != nil:
			faults = append(faults, variable.Name+" comes from elsewhere (valueFrom), and would not change with it")
		case strings.HasSuffix(variable.Name, "_FILE") && mountOf(c, variable.Value) == nil:
			faults = append(faults, variable.Name+" names a file where nothing is mounted: "+variable.Value)
		}
	}
	return faults
}

// mountOf returns that which the file is in.
func mountOf(c corev1.Container, file string) *corev1.VolumeMount {
	for _, mount := range c.VolumeMounts {
		if strings.HasPrefix(file, mount.MountPath+"/") {
			return &mount
		}
	}
	return nil
}

// resources tells whether Go knows its limit of memory, and nothing throttles it.
func resources(c corev1.Container) (faults []string) {
	if _, limited := c.Resources.Limits[corev1.ResourceCPU]; limited {
		faults = append(faults, "cstproxy has a limit of CPU")
	}
	limit := c.Resources.Limits.Memory().Value()
	if request := c.Resources.Requests.Memory().Value(); limit == 0 || request != limit {
		faults = append(faults, "cstproxy does not request the memory that it is limited to")
	}
	const mebi = 1 << 20
	if want := fmt.Sprintf("%dMiB", limit*9/10/mebi); value(c, "GOMEMLIMIT") != want {
		faults = append(faults, fmt.Sprintf("GOMEMLIMIT is %q, want nine tenths of the limit: %s", value(c, "GOMEMLIMIT"), want))
	}
	return faults
}

// probes tells whether the kubelet finds what it asks, and whether the container ends and fails as it should.
func probes(c corev1.Container) (faults []string) {
	want := map[string]*corev1.Probe{"/startupz": c.StartupProbe, "/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe}
	for _, path := range []string{"/startupz", "/livez", "/readyz"} {
		probe := want[path]
		switch {
		case probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path:
			faults = append(faults, "no probe asks "+path)
		case !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == probe.HTTPGet.Port.StrVal }):
			faults = append(faults, fmt.Sprintf("the probe of %s asks port %q, which has no number", path, probe.HTTPGet.Port.String()))
		}
	}
	if c.Lifecycle != nil {
		faults = append(faults, "cstproxy has a lifecycle hook, which is not in the order in which sidecars end")
	}
	if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		faults = append(faults, "cstproxy does not leave its last words where it failed (terminationMessagePolicy)")
	}
	return faults
}

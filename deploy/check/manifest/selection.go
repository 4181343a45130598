package manifest

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const noPod = "it selects no pod"

// selection tells whether an object that selects pods finds some, with the ports that it names.
func selection(object unstructured.Unstructured, workloads []Workload) []string {
	here := slices.DeleteFunc(slices.Clone(workloads), func(w Workload) bool { return w.GetNamespace() != object.GetNamespace() })
	check := map[string]func(map[string]any, []Workload) ([]string, error){
		"Service": service, "PodDisruptionBudget": disruption, "NetworkPolicy": network, "PodMonitor": podMonitor,
	}[object.GetKind()]
	if check == nil {
		return nil
	}
	faults, err := check(object.Object, here)
	if err != nil {
		faults = append(faults, err.Error())
	}
	return faults
}

func decode(content map[string]any, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(content, into, true)
}

// selected returns the workloads whose pods a selector finds.
func selected(selector *metav1.LabelSelector, workloads []Workload) ([]Workload, error) {
	matcher, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, fmt.Errorf("read the selector: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(workloads), func(w Workload) bool { return !matcher.Matches(labels.Set(w.Pod.Labels)) }), nil
}

func service(content map[string]any, workloads []Workload) ([]string, error) {
	var s corev1.Service
	if err := decode(content, &s); err != nil {
		return nil, err
	}
	var ports []intstr.IntOrString
	for _, port := range s.Spec.Ports {
		target := port.TargetPort
		if target == (intstr.IntOrString{}) {
			target = intstr.FromInt32(port.Port)
		}
		ports = append(ports, target)
	}
	return reaches(&metav1.LabelSelector{MatchLabels: s.Spec.Selector}, ports, workloads)
}

// reaches tells whether the pods of a selector are there and all have the ports.
func reaches(selector *metav1.LabelSelector, ports []intstr.IntOrString, workloads []Workload) ([]string, error) {
	pods, err := selected(selector, workloads)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return []string{noPod}, nil
	}
	var faults []string
	for _, w := range pods {
		faults = append(faults, w.lacks(ports)...)
	}
	return faults, nil
}

func (w Workload) lacks(ports []intstr.IntOrString) (faults []string) {
	for _, port := range ports {
		if !slices.ContainsFunc(w.ports(), func(p corev1.ContainerPort) bool { return isPort(p, port) }) {
			faults = append(faults, fmt.Sprintf("%s/%s has no port %s", w.GetKind(), w.GetName(), port.String()))
		}
	}
	return faults
}

func (w Workload) ports() (list []corev1.ContainerPort) {
	for _, c := range slices.Concat(w.Pod.Spec.InitContainers, w.Pod.Spec.Containers) {
		list = append(list, c.Ports...)
	}
	return list
}

func isPort(p corev1.ContainerPort, named intstr.IntOrString) bool {
	if named.Type == intstr.Int {
		return p.ContainerPort == named.IntVal
	}
	return p.Name == named.StrVal
}

func disruption(content map[string]any, workloads []Workload) ([]string, error) {
	var p policyv1.PodDisruptionBudget
	if err := decode(content, &p); err != nil {
		return nil, err
	}
	return reaches(p.Spec.Selector, nil, workloads)
}

// podMonitor takes the fields by hand: the type is the Prometheus operator's, and brings all of it.
func podMonitor(content map[string]any, workloads []Workload) ([]string, error) {
	var monitor struct {
		Spec struct {
			Selector  metav1.LabelSelector `json:"selector"`
			Endpoints []struct {
				Port string `json:"port"`
			} `json:"podMetricsEndpoints"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &monitor); err != nil {
		return nil, err
	}
	var ports []intstr.IntOrString
	for _, endpoint := range monitor.Spec.Endpoints {
		ports = append(ports, intstr.FromString(endpoint.Port))
	}
	return reaches(&monitor.Spec.Selector, ports, workloads)
}

// network looks at the pods that a policy selects, at the ports that it opens there, and at the pods of its own
// namespace that it lets them reach. Other namespaces are not known.
func network(content map[string]any, workloads []Workload) ([]string, error) {
	var p networkingv1.NetworkPolicy
	if err := decode(content, &p); err != nil {
		return nil, err
	}
	var opened []intstr.IntOrString
	for _, rule := range p.Spec.Ingress {
		opened = append(opened, numbers(rule.Ports)...)
	}
	faults, err := reaches(&p.Spec.PodSelector, opened, workloads)
	if err != nil {
		return nil, err
	}
	for _, rule := range p.Spec.Ingress {
		faults = append(faults, peers(rule.From, nil, workloads)...)
	}
	for _, rule := range p.Spec.Egress {
		faults = append(faults, peers(rule.To, numbers(rule.Ports), workloads)...)
	}
	return faults, nil
}

func numbers(ports []networkingv1.NetworkPolicyPort) (list []intstr.IntOrString) {
	for _, port := range ports {
		if port.Port != nil {
			list = append(list, *port.Port)
		}
	}
	return list
}

func peers(peers []networkingv1.NetworkPolicyPeer, ports []intstr.IntOrString, workloads []Workload) (faults []string) {
	for _, peer := range peers {
		if peer.PodSelector == nil || peer.NamespaceSelector != nil {
			continue
		}
		found, err := reaches(peer.PodSelector, ports, workloads)
		if err != nil {
			found = append(found, err.Error())
		}
		for _, fault := range found {
			faults = append(faults, "a rule: "+fault)
		}
	}
	return faults
}

package manifest

import (
	"fmt"
	"slices"
)

// Proxy is the name of the product's container, wherever it runs.
const Proxy = "cstproxy"

// Faults returns what a cluster would take and these manifests must not have, each with the object that has it.
func (o Objects) Faults() ([]string, error) {
	workloads, err := o.Workloads()
	if err != nil {
		return nil, err
	}
	var faults []string
	note := func(kind, name string, found []string) {
		for _, fault := range found {
			faults = append(faults, fmt.Sprintf("%s/%s: %s", kind, name, fault))
		}
	}
	for _, w := range workloads {
		note(w.GetKind(), w.GetName(), slices.Concat(w.placement(), w.references(o)))
		if c := w.proxy(); c != nil {
			note(w.GetKind(), w.GetName(), slices.Concat(configuration(*c), resources(*c), probes(*c), w.mounts(*c)))
		}
	}
	for _, object := range o {
		note(object.GetKind(), object.GetName(), selection(object, workloads))
	}
	return faults, nil
}

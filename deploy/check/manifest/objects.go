package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Objects are all that is applied together.
type Objects []unstructured.Unstructured

// Parse reads YAML documents. That there is none is an error.
func Parse(documents []byte) (Objects, error) {
	parts, err := split(documents)
	if err != nil {
		return nil, err
	}
	var objects Objects
	for _, part := range parts {
		var content map[string]any
		if err := yaml.UnmarshalStrict(part, &content); err != nil {
			return nil, fmt.Errorf("parse a manifest: %w", err)
		}
		objects = append(objects, unstructured.Unstructured{Object: content})
	}
	return objects, nil
}

// split returns the documents that are not empty.
func split(documents []byte) ([][]byte, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(documents)))
	var parts [][]byte
	for {
		part, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("split manifests: %w", err)
		}
		var content any
		if err := yaml.Unmarshal(part, &content); err != nil || content != nil {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return nil, errors.New("there is no manifest")
	}
	return parts, nil
}

// title names an object in a message.
func title(document []byte) string {
	var o unstructured.Unstructured
	if err := yaml.Unmarshal(document, &o.Object); err != nil || o.Object == nil {
		return "a manifest"
	}
	return o.GetKind() + "/" + o.GetName()
}

// Of returns the objects of a kind.
func (o Objects) Of(kind string) Objects {
	return slices.Collect(func(yield func(unstructured.Unstructured) bool) {
		for _, object := range o {
			if object.GetKind() == kind && !yield(object) {
				return
			}
		}
	})
}

// Workload is an object that makes pods, or is one.
type Workload struct {
	unstructured.Unstructured

	Pod corev1.PodTemplateSpec
}

// Workloads returns all objects with pods in them.
func (o Objects) Workloads() ([]Workload, error) {
	var workloads []Workload
	for _, object := range o {
		template, found, err := podTemplate(object)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", object.GetKind(), object.GetName(), err)
		}
		if found {
			workloads = append(workloads, Workload{Unstructured: object, Pod: template})
		}
	}
	return workloads, nil
}

// podTemplate returns the pods that an object makes, and whether it makes any. It looks at the form instead of a list of
// kinds, so that no kind is missed.
func podTemplate(object unstructured.Unstructured) (corev1.PodTemplateSpec, bool, error) {
	var template corev1.PodTemplateSpec
	content := object.Object
	switch object.GetKind() {
	case "Pod":
	case "CronJob":
		var job batchv1.CronJob
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &job)
		return job.Spec.JobTemplate.Spec.Template, true, err
	case "PodTemplate":
		content, _, _ = unstructured.NestedMap(content, "template")
	default:
		var found bool
		content, found, _ = unstructured.NestedMap(content, "spec", "template")
		if !found {
			return template, false, nil
		}
	}
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(content, &template, false)
	return template, true, err
}

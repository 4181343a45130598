package chart_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"

	"github.com/cstproxy/cstproxy/deploy/check/chart"
)

// consumer is a chart with one template, and the library under another name.
func consumer(t *testing.T, template string) *helmchart.Chart {
	t.Helper()
	lib, err := chart.Open(library)
	if err != nil {
		t.Fatal(err)
	}
	c := &helmchart.Chart{
		Metadata: &helmchart.Metadata{
			APIVersion: helmchart.APIVersionV2, Name: "consumer", Version: "1.0.0",
			Dependencies: []*helmchart.Dependency{{Name: "cstproxy", Alias: "tokens", Version: lib.Metadata.Version}},
		},
		Templates: []*common.File{{Name: "templates/url.yaml", Data: []byte(template)}},
	}
	c.AddDependency(lib)
	return c
}

func TestLibraryWorksUnderAnAlias(t *testing.T) {
	t.Parallel()
	c := consumer(t, `url: {{ include "cstproxy.url" (dict "Values" (dict "cstproxy" .Values.tokens) "Capabilities" .Capabilities) }}`)
	values := parse(t, `tokens: {data: {port: 8081}}`)
	documents, err := chart.Render(c, chart.Release{Values: values, Kubernetes: kubernetes})
	if err != nil || !strings.Contains(string(documents), "url: http://127.0.0.1:8081\n") {
		t.Errorf("%s (%v)", documents, err)
	}
}

func TestIncludeWithoutTheValuesSaysHow(t *testing.T) {
	t.Parallel()
	for name, template := range map[string]string{
		"below an alias":   `{{ include "cstproxy.url" . }}`,
		"without anything": `{{ include "cstproxy.url" dict }}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := chart.Render(consumer(t, template), chart.Release{Values: map[string]any{}, Kubernetes: kubernetes})
			if err == nil || !strings.Contains(err.Error(), `(dict "Values" (dict "cstproxy" .Values.ALIAS)`) {
				t.Errorf("%v, want what to write", err)
			}
		})
	}
}

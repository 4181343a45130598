// Package chart renders the Helm charts of this repository as helm template does, by Helm's own code and without a cluster.
package chart

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
)

// Open loads the chart in a directory together with its dependencies that are directories too, as helm dependency build
// would put them into it.
func Open(directory string) (*helmchart.Chart, error) {
	c, err := loader.LoadDir(directory)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", directory, err)
	}
	c.SetDependencies() // without those that helm dependency build left there, which may be of before
	for _, wanted := range c.Metadata.Dependencies {
		path, isFile := strings.CutPrefix(wanted.Repository, "file://")
		if !isFile {
			return nil, fmt.Errorf("open %s: %s is in %s, want file://", directory, wanted.Name, wanted.Repository)
		}
		dependency, err := Open(filepath.Join(directory, path))
		if err != nil {
			return nil, err
		}
		if dependency.Name() != wanted.Name || dependency.Metadata.Version != wanted.Version {
			return nil, fmt.Errorf("open %s: want %s %s in %s", directory, wanted.Name, wanted.Version, path)
		}
		c.AddDependency(dependency)
	}
	return c, nil
}

// Release is what a chart is rendered for.
type Release struct {
	Values     map[string]any
	Kubernetes string // the cluster's version, such as 1.36.0
	SkipSchema bool   // as helm's --skip-schema-validation
}

// Render returns the manifests of a release called wallet, each file below a comment with its name. It changes c.
func Render(c *helmchart.Chart, r Release) ([]byte, error) {
	version, err := common.ParseKubeVersion(r.Kubernetes)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", c.Name(), err)
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	if err := chartutil.ProcessDependencies(c, r.Values); err != nil {
		return nil, fmt.Errorf("render %s: %w", c.Name(), err)
	}
	options := common.ReleaseOptions{Name: "wallet", Namespace: "wallet", Revision: 1, IsInstall: true}
	values, err := util.ToRenderValuesWithSchemaValidation(c, r.Values, options, capabilities, r.SkipSchema)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", c.Name(), err)
	}
	files, err := engine.Render(c, values)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", c.Name(), err)
	}
	return join(files), nil
}

// join leaves out files that hold nothing.
func join(files map[string]string) []byte {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text := strings.TrimSpace(files[name]); text != "" {
			fmt.Fprintf(&all, "---\n# Source: %s\n%s\n", name, text)
		}
	}
	return []byte(all.String())
}

package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// specVersion is the latest whose schemas the library carries whole.
const specVersion = cdx.SpecVersion1_6

// printSBOM takes what is in the binary from the binary itself, and adds the licenses. Two runs print the same.
func printSBOM(binary, version string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	licenses, err := licensesByPath(info.Path, platformOf(info))
	if err != nil {
		return err
	}
	about, err := describe(binary, version, info)
	if err != nil {
		return err
	}
	components := []cdx.Component{{
		BOMRef: purl(standardLibrary, info.GoVersion), Type: cdx.ComponentTypeLibrary, Name: standardLibrary,
		Version: info.GoVersion, PackageURL: purl(standardLibrary, info.GoVersion), Licenses: licenses[standardLibrary],
	}}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		component, err := component(dep)
		if err != nil {
			return err
		}
		component.Licenses = licenses[dep.Path]
		components = append(components, component)
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &about}
	bom.Components = &components
	bom.Dependencies = dependencies(about.BOMRef, components)
	return cdx.NewBOMEncoder(os.Stdout, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, specVersion)
}

// describe says which binary the bill is for: the hash tells it from any other.
func describe(binary, version string, info *buildinfo.BuildInfo) (cdx.Component, error) {
	sum, err := hashOf(binary)
	if err != nil {
		return cdx.Component{}, err
	}
	var properties []cdx.Property
	for _, s := range info.Settings {
		properties = append(properties, cdx.Property{Name: "build:" + s.Key, Value: s.Value})
	}
	return cdx.Component{
		BOMRef: "binary", Type: cdx.ComponentTypeApplication, Name: info.Path, Version: version,
		PackageURL: purl(info.Main.Path, version), Properties: &properties,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}},
	}, nil
}

// component carries the hash that go.sum has of the module.
func component(dep *debug.Module) (cdx.Component, error) {
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(dep.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return cdx.Component{}, fmt.Errorf("%s %s has the sum %q", dep.Path, dep.Version, dep.Sum)
	}
	return cdx.Component{
		BOMRef: purl(dep.Path, dep.Version), Type: cdx.ComponentTypeLibrary, Name: dep.Path, Version: dep.Version,
		PackageURL: purl(dep.Path, dep.Version),
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}},
	}, nil
}

// hashOf returns the SHA-256 of a file in hex: it tells the file from any other.
func hashOf(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

func purl(path, version string) string { return "pkg:golang/" + path + "@" + version }

func dependencies(of string, components []cdx.Component) *[]cdx.Dependency {
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	return &[]cdx.Dependency{{Ref: of, Dependencies: &refs}}
}

// licensesByPath returns the licenses :: path of a module linked into the package → its own
func licensesByPath(pkg string, on platform) (map[string]*cdx.Licenses, error) {
	modules, err := linked(pkg, on)
	if err != nil {
		return nil, err
	}
	byPath := map[string]*cdx.Licenses{}
	for _, m := range modules {
		names, err := m.licenses()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
		var licenses cdx.Licenses
		for _, name := range names {
			licenses = append(licenses, cdx.LicenseChoice{License: &cdx.License{ID: name}})
		}
		byPath[m.path] = &licenses
	}
	return byPath, nil
}

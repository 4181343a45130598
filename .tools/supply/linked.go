package main

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// product is the directory of the product's module, seen from that of the tools.
const product = ".."

// standardLibrary stands where others have the path of a module.
const standardLibrary = "std"

// module is code of others that is linked into a binary.
type module struct {
	path, version string
	// root is where its files lie.
	root string
	// packages are the directories of what is linked of it.
	packages []string
}

// platform is what a binary is for, as go takes it from its environment; the zero value is this machine's.
type platform []string

func platformOf(info *buildinfo.BuildInfo) platform {
	var p platform
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" {
			p = append(p, s.Key+"="+s.Value)
		}
	}
	return p
}

// linked returns the modules of which a package of the product links something for a platform, the standard library among
// them, by their paths.
func linked(pkg string, on platform) ([]module, error) {
	// The standard library has one license, at its root; what lies deeper is for BoringCrypto, which is not linked in.
	const format = `{{if .Standard}}{{.Root}}{{else}}{{.Dir}}{{end}}{{"\t"}}{{if .Standard}}std{{else}}{{with .Module}}{{if not .Main}}{{.Path}}{{"\t"}}{{.Version}}{{"\t"}}{{.Dir}}{{end}}{{end}}{{end}}`
	lines, err := ask(on, "list", "-deps", "-f", format, pkg)
	if err != nil {
		return nil, err
	}
	modules := map[string]*module{}
	for _, line := range lines {
		fields := strings.Split(line, "\t")
		if fields[1] == "" {
			continue // our own
		}
		found := described(fields[1:])
		known, ok := modules[found.path]
		if !ok {
			known = &found
			modules[found.path] = known
		}
		known.packages = append(known.packages, fields[0])
	}
	sorted := make([]module, 0, len(modules))
	for _, m := range slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return cmp.Compare(a.path, b.path) }) {
		sorted = append(sorted, *m)
	}
	return sorted, nil
}

func described(fields []string) module {
	if fields[0] == standardLibrary {
		return module{path: standardLibrary, version: runtime.Version()}
	}
	return module{path: fields[0], version: fields[1], root: fields[2]}
}

// ask runs go in the product's module and returns the lines that it prints. What it links is what make build links.
func ask(on platform, args ...string) ([]string, error) {
	command := exec.Command("go", args...)
	command.Dir = product
	command.Env = append(append(os.Environ(), "CGO_ENABLED=0"), on...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("run go %s: %w", strings.Join(args, " "), err)
	}
	return strings.Split(strings.TrimRight(string(out), "\n"), "\n"), nil
}

// licenseFiles returns the texts that hold for the module's packages: those nearest above each of them.
func (m module) licenseFiles() ([]string, error) {
	found := map[string]bool{}
	for _, directory := range m.packages {
		files, err := m.nearest(directory)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			found[file] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func (m module) nearest(directory string) ([]string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if entry.Type().IsRegular() && (strings.HasPrefix(name, "LICEN") || strings.HasPrefix(name, "COPYING")) {
			files = append(files, filepath.Join(directory, entry.Name()))
		}
	}
	if len(files) > 0 || directory == m.root || len(directory) <= len(m.root) {
		return files, nil
	}
	return m.nearest(filepath.Dir(directory))
}

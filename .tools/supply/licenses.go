package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// enough of a file, in percent, is the text of licenses that are known. What else stands there is whose it is.
const enough = 75

// allowed are the licenses that ask for no more than a notice.
func allowed() []string {
	return []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BlueOak-1.0.0", "ISC", "MIT", "Unlicense", "Zlib"}
}

func printLicenses(pkg string) error {
	modules, err := linked(pkg, nil)
	if err != nil {
		return err
	}
	var rows []string
	for _, m := range modules {
		names, err := m.licenses()
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", m.path, m.listedVersion(), strings.Join(names, ", ")))
	}
	fmt.Printf("# Licenses\n\nWhat is linked into `cstproxy` besides its own code, written by `make licenses`; CI checks it.\n"+
		"Each of these asks for its notice and no more.\n\n| module | version | license |\n|---|---|---|\n%s\n", strings.Join(rows, "\n"))
	return nil
}

// listedVersion leaves out the toolchain's, which is the builder's choice.
func (m module) listedVersion() string {
	if m.path == standardLibrary {
		return "of the toolchain"
	}
	return m.version
}

// licenses returns the SPDX ids of the module's licenses. A text that is not recognized, or not allowed, is an error.
func (m module) licenses() ([]string, error) {
	files, err := m.licenseFiles()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found, err := identify(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no license in %s", m.root)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func identify(text []byte) ([]string, error) {
	coverage := licensecheck.Scan(text)
	if coverage.Percent < enough {
		return nil, fmt.Errorf("only %.0f %% of it is a known license", coverage.Percent)
	}
	var names []string
	for _, match := range coverage.Match {
		if !slices.Contains(allowed(), match.ID) {
			return nil, fmt.Errorf("%s is not among the allowed licenses (%s)", match.ID, strings.Join(allowed(), ", "))
		}
		names = append(names, match.ID)
	}
	return names, nil
}

// printNotices prints the texts themselves: whoever passes the binary on passes them on.
func printNotices(pkg string) error {
	modules, err := linked(pkg, nil)
	if err != nil {
		return err
	}
	for _, m := range modules {
		files, err := m.licenseFiles()
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Printf("==== %s %s: %s\n\n%s\n", m.path, m.listedVersion(), filepath.Base(file), text)
		}
	}
	return nil
}

// Command supply says what a binary of this repository is made of, and where it comes from:
//
//	supply licenses PACKAGE                    prints the license of each module that is linked in
//	supply notices PACKAGE                     prints the texts of those licenses, to go along with a binary
//	supply sbom BINARY VERSION                 prints a software bill of materials, CycloneDX in JSON
//	supply spdx BINARY VERSION                 prints one, SPDX in JSON
//	supply check BINARY SBOM                   checks that either is valid, and complete
//	supply provenance VERSION REVISION FILE... prints a statement of how the files were made, in-toto with SLSA provenance
//	supply attested STATEMENT FILE...          checks that one is valid, and of these files
//
// It runs in the module of the tools, beside the product's: go -C .tools run ./supply.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

var errUsage = errors.New("usage: supply licenses|notices PACKAGE | supply sbom|spdx BINARY VERSION | supply check BINARY SBOM | " +
	"supply provenance VERSION REVISION FILE... | supply attested STATEMENT FILE...")

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "supply:", err)
		os.Exit(1)
	}
}

// commands :: name → how many arguments it takes at least, and what it does with them
var commands = map[string]struct {
	least int
	do    func(args []string) error
}{
	"licenses":   {1, func(args []string) error { return printLicenses(args[0]) }},
	"notices":    {1, func(args []string) error { return printNotices(args[0]) }},
	"sbom":       {2, func(args []string) error { return printSBOM(args[0], args[1]) }},
	"spdx":       {2, func(args []string) error { return printSPDX(args[0], args[1]) }},
	"check":      {2, func(args []string) error { return check(args[0], args[1]) }},
	"provenance": {3, func(args []string) error { return printProvenance(args[0], args[1], args[2:]) }},
	"attested":   {2, func(args []string) error { return checkProvenance(args[0], args[1:]) }},
}

func run(args []string) error {
	if len(args) > 0 {
		if command, ok := commands[args[0]]; ok && len(args) > command.least {
			return command.do(args[1:])
		}
	}
	return fmt.Errorf("%w, got %q", errUsage, strings.Join(args, " "))
}

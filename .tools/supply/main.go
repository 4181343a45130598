// Command supply says what a binary of this repository is made of:
//
//	supply licenses PACKAGE     prints the license of each module that is linked in
//	supply sbom BINARY          prints a software bill of materials, CycloneDX in JSON
//	supply check BINARY SBOM    checks that one is valid, and complete
//
// It runs in the module of the tools, beside the product's: go -C .tools run ./supply.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

var errUsage = errors.New("usage: supply licenses PACKAGE | supply sbom BINARY | supply check BINARY SBOM")

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "supply:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "licenses":
		return printLicenses(args[1])
	case len(args) == 2 && args[0] == "sbom":
		return printSBOM(args[1])
	case len(args) == 3 && args[0] == "check":
		return checkSBOM(args[1], args[2])
	}
	return fmt.Errorf("%w, got %q", errUsage, strings.Join(args, " "))
}

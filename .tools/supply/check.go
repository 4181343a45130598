package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// namespace is where CycloneDX's schemas are, by name.
const namespace = "http://cyclonedx.org/schema/"

// checkSBOM checks the bill against CycloneDX's own schema, against the binary, and against what go says is linked.
func checkSBOM(binary, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := checkSchema(text); err != nil {
		return fmt.Errorf("%s is not valid: %w", file, err)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return err
	}
	if err := checkBinary(binary, bom); err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	return checkComplete(info.Path, *bom.Components)
}

// checkSchema takes the schemas from the module that writes the bill, so that nothing is fetched.
func checkSchema(text []byte) error {
	directory, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		return fmt.Errorf("find the schemas: %w", err)
	}
	schemas := filepath.Join(strings.TrimSpace(string(directory)), "schema")
	compiler := jsonschema.NewCompiler()
	for name, kept := range map[string]string{
		"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json",
		"jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		if err := addSchema(compiler, namespace+name, filepath.Join(schemas, kept)); err != nil {
			return err
		}
	}
	schema, err := compiler.Compile(namespace + "bom-1.6.schema.json")
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(document)
}

func addSchema(compiler *jsonschema.Compiler, name, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return compiler.AddResource(name, schema)
}

func checkBinary(binary string, bom cdx.BOM) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	if got := (*bom.Metadata.Component.Hashes)[0].Value; got != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("the bill is for a binary with the hash %s, %s has %x", got, binary, sum)
	}
	return nil
}

func checkComplete(pkg string, components []cdx.Component) error {
	listed := map[string]cdx.Component{}
	for _, c := range components {
		listed[c.Name] = c
	}
	modules, err := linked(pkg)
	if err != nil {
		return err
	}
	var missing []error
	for _, m := range modules {
		if c := listed[m.path]; c.Version != m.version || c.Licenses == nil {
			missing = append(missing, fmt.Errorf("%s %s is linked in, and the bill has it as %q", m.path, m.version, c.Version))
		}
		delete(listed, m.path)
	}
	for path := range listed {
		missing = append(missing, fmt.Errorf("%s is in the bill, and not linked in", path))
	}
	return errors.Join(missing...)
}

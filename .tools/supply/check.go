package main

import (
	"bytes"
	"debug/buildinfo"
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

// check checks a bill of either form against the form's own rules, against the binary, and against what go says is linked.
func check(binary, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	bill, err := read(file, text)
	if err != nil {
		return fmt.Errorf("%s is not valid: %w", file, err)
	}
	if err := checkBinary(binary, bill.hash); err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	modules, err := linked(info.Path, platformOf(info))
	if err != nil {
		return err
	}
	return checkComplete(modules, bill.parts)
}

// bill is what bills of both forms say.
type bill struct {
	// hash is the binary's.
	hash  string
	parts []part
}

type part struct{ path, version, license string }

func read(file string, text []byte) (bill, error) {
	if strings.HasSuffix(file, ".spdx.json") {
		return readSPDX(text)
	}
	return readCycloneDX(text)
}

func readCycloneDX(text []byte) (bill, error) {
	if err := checkSchema(text); err != nil {
		return bill{}, err
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return bill{}, err
	}
	if bom.Metadata == nil || bom.Metadata.Component == nil || bom.Metadata.Component.Hashes == nil || bom.Components == nil {
		return bill{}, errors.New("it does not say what it is for, or what of")
	}
	read := bill{hash: (*bom.Metadata.Component.Hashes)[0].Value}
	for _, c := range *bom.Components {
		p := part{path: c.Name, version: c.Version}
		if c.Licenses != nil && len(*c.Licenses) > 0 {
			p.license = (*c.Licenses)[0].License.ID
		}
		read.parts = append(read.parts, p)
	}
	return read, nil
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

func checkBinary(binary, hash string) error {
	sum, err := hashOf(binary)
	if err != nil {
		return err
	}
	if sum != hash {
		return fmt.Errorf("the bill is for a binary with the hash %s, %s has %s", hash, binary, sum)
	}
	return nil
}

func checkComplete(modules []module, parts []part) error {
	listed := map[string]part{}
	for _, p := range parts {
		listed[p.path] = p
	}
	var missing []error
	for _, m := range modules {
		if p := listed[m.path]; p.version != m.version || p.license == "" {
			missing = append(missing, fmt.Errorf("%s %s is linked in, and the bill has it as %q, licensed as %q", m.path, m.version, p.version, p.license))
		}
		delete(listed, m.path)
	}
	for path := range listed {
		missing = append(missing, fmt.Errorf("%s is in the bill, and not linked in", path))
	}
	return errors.Join(missing...)
}

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOnlyAllowedLicensesAreListed(t *testing.T) {
	t.Chdir("..")
	root, err := ask(nil, "env", "GOROOT")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{"LICENSE": true, "src/crypto/internal/boring/LICENSE": false} {
		text, err := os.ReadFile(filepath.Join(root[0], file))
		if err != nil {
			t.Fatal(err)
		}
		if names, err := identify(text); (err == nil) != want {
			t.Errorf("%s: %v, %v", file, names, err)
		}
	}
	if _, err := identify([]byte("All rights reserved. Pay per call.")); err == nil {
		t.Error("terms of one's own pass for a license")
	}
}

func TestBillThatIsNotCycloneDXIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing in it":          `{}`,
		"a field of its own":     `{"bomFormat":"CycloneDX","specVersion":"1.6","ours":1}`,
		"a license nobody knows": `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"a","licenses":[{"license":{"id":"Ours"}}]}]}`,
	} {
		if err := checkSchema([]byte(text)); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
	if err := checkSchema([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6"}`)); err != nil {
		t.Errorf("an empty bill: %v", err)
	}
}

func TestBillThatIsNotSPDXIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing in it":             `{}`,
		"another version":           `{"spdxVersion":"SPDX-2.2","SPDXID":"SPDXRef-DOCUMENT"}`,
		"for nothing":               `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT"}`,
		"related to what is not in": `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relatedSpdxElement":"SPDXRef-a","relationshipType":"DESCRIBES"}]}`,
	} {
		if _, err := readSPDX([]byte(text)); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestBillThatIsNotCompleteIsRefused(t *testing.T) {
	t.Chdir("..")
	modules, err := linked("./cmd/cstproxy", nil)
	if err != nil || len(modules) < 2 {
		t.Fatalf("%d modules, %v", len(modules), err)
	}
	var all []part
	for _, m := range modules {
		all = append(all, part{path: m.path, version: m.version, license: "MIT"})
	}
	if err := checkComplete(modules, all); err != nil {
		t.Errorf("the whole bill: %v", err)
	}
	if err := checkComplete(modules, all[1:]); err == nil || !strings.Contains(err.Error(), all[0].path) {
		t.Errorf("a bill without %s: %v", all[0].path, err)
	}
	if err := checkComplete(modules, append(all, part{path: "example.test/stranger"})); err == nil {
		t.Error("a bill with a stranger in it passes")
	}
	for name, spoil := range map[string]func(*part){
		"another version": func(p *part) { p.version = "v0.0.1" },
		"no license":      func(p *part) { p.license = "" },
	} {
		spoilt := slices.Clone(all)
		spoil(&spoilt[1])
		if err := checkComplete(modules, spoilt); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestBillOfAnotherBinaryIsRefused(t *testing.T) {
	binary := written(t, "binary", "not the one")
	if err := checkBinary(binary, "00"); err == nil {
		t.Error("passes")
	}
}

func TestProvenanceIsOfItsFilesAlone(t *testing.T) {
	one, two := written(t, "one", "1"), written(t, "two", "2")
	statement := written(t, "statement", output(t, func() error { return printProvenance("0.1.0", strings.Repeat("ab", 20), []string{one, two}) }))
	if err := checkProvenance(statement, []string{two, one}); err != nil {
		t.Errorf("its own files: %v", err)
	}
	for name, files := range map[string][]string{
		"one is missing":  {one},
		"another beside":  {one, two, written(t, "three", "3")},
		"one was changed": {one, written(t, "two", "2 and more")},
	} {
		if err := checkProvenance(statement, files); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestStatementWithoutProvenanceIsRefused(t *testing.T) {
	const subject = `"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}}]`
	for name, text := range map[string]string{
		"nothing in it":         `{}`,
		"another predicate":     `{` + subject + `,"predicateType":"https://example.test/v1","predicate":{}}`,
		"an empty provenance":   `{` + subject + `,"predicateType":"` + predicateType + `","predicate":{}}`,
		"a field of its own":    `{` + subject + `,"predicateType":"` + predicateType + `","predicate":{"ours":1}}`,
		"a builder and no more": `{` + subject + `,"predicateType":"` + predicateType + `","predicate":{"runDetails":{"builder":{"id":"a"}}}}`,
	} {
		if _, err := readStatement([]byte(text)); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func written(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// output returns what do prints.
func output(t *testing.T, do func() error) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	out := os.Stdout
	os.Stdout = file
	err = do()
	os.Stdout = out
	text, readErr := os.ReadFile(file.Name())
	if err := errors.Join(err, readErr, file.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

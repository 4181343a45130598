package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func TestOnlyAllowedLicensesAreListed(t *testing.T) {
	t.Chdir("..")
	root, err := ask("env", "GOROOT")
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

func TestBillThatIsNotCompleteIsRefused(t *testing.T) {
	t.Chdir("..")
	const pkg = "./cmd/cstproxy"
	modules, err := linked(pkg)
	if err != nil || len(modules) < 2 {
		t.Fatalf("%d modules, %v", len(modules), err)
	}
	var all []cdx.Component
	for _, m := range modules {
		all = append(all, cdx.Component{Name: m.path, Version: m.version, Licenses: &cdx.Licenses{}})
	}
	if err := checkComplete(pkg, all); err != nil {
		t.Errorf("the whole bill: %v", err)
	}
	if err := checkComplete(pkg, all[1:]); err == nil || !strings.Contains(err.Error(), all[0].Name) {
		t.Errorf("a bill without %s: %v", all[0].Name, err)
	}
	if err := checkComplete(pkg, append(all, cdx.Component{Name: "example.test/stranger"})); err == nil {
		t.Error("a bill with a stranger in it passes")
	}
	all[1].Version = "v0.0.1"
	if err := checkComplete(pkg, all); err == nil {
		t.Error("a bill with another version passes")
	}
}

func TestBillOfAnotherBinaryIsRefused(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(binary, []byte("not the one"), 0o600); err != nil {
		t.Fatal(err)
	}
	bom := cdx.BOM{Metadata: &cdx.Metadata{Component: &cdx.Component{Hashes: &[]cdx.Hash{{Value: "00"}}}}}
	if err := checkBinary(binary, bom); err == nil {
		t.Error("passes")
	}
}

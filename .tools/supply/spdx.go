package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/spdxlib"
)

// unsaid is SPDX's word for what the bill makes no claim about.
const unsaid = "NOASSERTION"

// theBinary is the id of what the bill is for.
const theBinary = common.ElementID("binary")

// printSPDX says the same as printSBOM in SPDX's form. Two runs print the same.
func printSPDX(binary, version string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	sum, err := hashOf(binary)
	if err != nil {
		return err
	}
	document, err := spdxHead(sum)
	if err != nil {
		return err
	}
	modules, err := linked(info.Path, platformOf(info))
	if err != nil {
		return err
	}
	document.add(spdxBinary(info, version, sum), "DESCRIBES")
	for _, m := range modules {
		p, err := spdxModule(m)
		if err != nil {
			return err
		}
		document.add(p, "STATIC_LINK")
	}
	return spdxjson.Write((*v2_3.Document)(document), os.Stdout, spdxjson.Indent("  "))
}

type spdxDocument v2_3.Document

// spdxHead is dated SOURCE_DATE_EPOCH, as everything that is built twice.
func spdxHead(sum string) (*spdxDocument, error) {
	seconds, err := strconv.ParseInt(cmp.Or(os.Getenv("SOURCE_DATE_EPOCH"), "0"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read SOURCE_DATE_EPOCH: %w", err)
	}
	return &spdxDocument{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: "cstproxy",
		DocumentNamespace: "https://github.com/cstproxy/cstproxy/spdx/" + sum,
		CreationInfo: &v2_3.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "cstproxy-supply"}},
			Created:  time.Unix(seconds, 0).UTC().Format(time.RFC3339),
		},
	}, nil
}

// add adds a package that the document describes, or that the binary is related to.
func (d *spdxDocument) add(p *v2_3.Package, relation string) {
	from := common.MakeDocElementID("", string(theBinary))
	if relation == "DESCRIBES" {
		from = common.MakeDocElementID("", "DOCUMENT")
	}
	d.Packages = append(d.Packages, p)
	d.Relationships = append(d.Relationships, &v2_3.Relationship{
		RefA: from, RefB: common.MakeDocElementID("", string(p.PackageSPDXIdentifier)), Relationship: relation,
	})
}

func spdxBinary(info *buildinfo.BuildInfo, version, sum string) *v2_3.Package {
	p := spdxPackage(info.Main.Path, version)
	p.PackageSPDXIdentifier = theBinary
	p.PackageName = info.Path
	p.PrimaryPackagePurpose = "APPLICATION"
	p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: sum}}
	var settings []string
	for _, s := range info.Settings {
		settings = append(settings, s.Key+"="+s.Value)
	}
	p.PackageComment = info.GoVersion + " " + strings.Join(settings, " ")
	return p
}

func spdxModule(m module) (*v2_3.Package, error) {
	names, err := m.licenses()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.path, err)
	}
	p := spdxPackage(m.path, m.version)
	p.PrimaryPackagePurpose = "LIBRARY"
	p.PackageLicenseDeclared = strings.Join(names, " AND ")
	return p, nil
}

func spdxPackage(path, version string) *v2_3.Package {
	return &v2_3.Package{
		PackageName: path, PackageVersion: version, PackageSPDXIdentifier: spdxID(path), PackageDownloadLocation: unsaid,
		IsFilesAnalyzedTagPresent: true, PackageLicenseConcluded: unsaid, PackageLicenseDeclared: unsaid, PackageCopyrightText: unsaid,
		PackageExternalReferences: []*v2_3.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl(path, version),
		}},
	}
}

// spdxID keeps to the letters that an id may have.
func spdxID(path string) common.ElementID {
	return common.ElementID("module-" + regexp.MustCompile(`[^A-Za-z0-9.-]`).ReplaceAllString(path, "-"))
}

func readSPDX(text []byte) (bill, error) {
	document, err := spdxjson.Read(bytes.NewReader(text))
	if err != nil {
		return bill{}, err
	}
	if document.SPDXVersion != v2_3.Version {
		return bill{}, fmt.Errorf("it is %q, want %s", document.SPDXVersion, v2_3.Version)
	}
	if err := spdxlib.ValidateDocument(document); err != nil {
		return bill{}, err
	}
	var read bill
	for _, p := range document.Packages {
		if p.PackageSPDXIdentifier == theBinary {
			read.hash = spdxHash(p)
			continue
		}
		read.parts = append(read.parts, part{path: p.PackageName, version: p.PackageVersion, license: strings.TrimPrefix(p.PackageLicenseDeclared, unsaid)})
	}
	if read.hash == "" {
		return bill{}, errors.New("it does not say what it is for")
	}
	return read, nil
}

func spdxHash(p *v2_3.Package) string {
	for _, sum := range p.PackageChecksums {
		if sum.Algorithm == common.SHA256 {
			return sum.Value
		}
	}
	return ""
}

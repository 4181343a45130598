package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	repository    = "https://github.com/cstproxy/cstproxy"
	predicateType = "https://slsa.dev/provenance/v1"
	// byHand is who built it where no service says so: nobody vouches for it then but the signer.
	byHand = repository + "/blob/main/.tools/release#by-hand"
)

// printProvenance states of which sources, and with which Go, the files were made. BUILDER_ID names who did it.
func printProvenance(version, revision string, files []string) error {
	predicate, err := predicate(version, revision)
	if err != nil {
		return err
	}
	statement := &intoto.Statement{Type: intoto.StatementTypeUri, PredicateType: predicateType, Predicate: predicate}
	for _, file := range files {
		sum, err := hashOf(file)
		if err != nil {
			return err
		}
		statement.Subject = append(statement.Subject,
			&intoto.ResourceDescriptor{Name: filepath.Base(file), Digest: map[string]string{"sha256": sum}})
	}
	text, err := protojson.Marshal(statement)
	if err != nil {
		return err
	}
	// The library varies the blanks on purpose.
	var even bytes.Buffer
	if err := json.Indent(&even, text, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Println(even.String())
	return err
}

func predicate(version, revision string) (*structpb.Struct, error) {
	source := "git+" + repository + "@" + revision
	parameters, err := structpb.NewStruct(map[string]any{"source": source, "version": version})
	if err != nil {
		return nil, err
	}
	text, err := protojson.Marshal(&provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{
			BuildType:          repository + "/blob/main/.tools/release",
			ExternalParameters: parameters,
			ResolvedDependencies: []*intoto.ResourceDescriptor{
				{Uri: source, Digest: map[string]string{"gitCommit": revision}},
				{Uri: "pkg:golang/" + standardLibrary + "@" + runtime.Version()},
			},
		},
		RunDetails: &provenance.RunDetails{Builder: &provenance.Builder{Id: cmp.Or(os.Getenv("BUILDER_ID"), byHand)}},
	})
	if err != nil {
		return nil, err
	}
	fields := &structpb.Struct{}
	return fields, protojson.Unmarshal(text, fields)
}

// checkProvenance checks that the statement is one, with a provenance in it, and of these files and no others.
func checkProvenance(file string, files []string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	statement, err := readStatement(text)
	if err != nil {
		return fmt.Errorf("%s is not valid: %w", file, err)
	}
	// sums :: name → SHA-256
	sums := map[string]string{}
	for _, subject := range statement.GetSubject() {
		sums[subject.GetName()] = subject.GetDigest()["sha256"]
	}
	var wrong []error
	for _, file := range files {
		name := filepath.Base(file)
		sum, err := hashOf(file)
		if err != nil || sum != sums[name] {
			wrong = append(wrong, errors.Join(err, fmt.Errorf("%s has %s, and the statement is of %q", name, sum, sums[name])))
		}
		delete(sums, name)
	}
	for name := range sums {
		wrong = append(wrong, fmt.Errorf("the statement is of %s as well", name))
	}
	return errors.Join(wrong...)
}

func readStatement(text []byte) (*intoto.Statement, error) {
	statement := &intoto.Statement{}
	if err := protojson.Unmarshal(text, statement); err != nil {
		return nil, err
	}
	if err := statement.Validate(); err != nil {
		return nil, err
	}
	if got := statement.GetPredicateType(); got != predicateType {
		return nil, fmt.Errorf("its predicate is %q, want %s", got, predicateType)
	}
	within, err := protojson.Marshal(statement.GetPredicate())
	if err != nil {
		return nil, err
	}
	predicate := &provenance.Provenance{}
	if err := protojson.Unmarshal(within, predicate); err != nil {
		return nil, err
	}
	return statement, predicate.Validate()
}

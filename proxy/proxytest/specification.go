// Package proxytest holds answers of the data API to its OpenAPI document, for whichever tests have some.
package proxytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// servedAt is where the data API serves its specification.
const servedAt = "/openapi.yaml"

// Specification is the OpenAPI document of the data API. It is safe for concurrent use.
type Specification struct {
	document *openapi3.T
	// elsewhere has the answers to what is no operation.
	elsewhere *openapi3.Operation
	// judged :: likeness of exchanges → what is wrong with them. The library reads a schema anew for each answer, which takes
	// longer than the answer.
	judged sync.Map
}

// Read returns the specification that document is, if it is valid by OpenAPI, its examples included.
func Read(ctx context.Context, document []byte) (*Specification, error) {
	read, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("read the specification: %w", err)
	}
	if err := read.Validate(ctx); err != nil {
		return nil, fmt.Errorf("validate the specification: %w", err)
	}
	own := read.Paths.Value(servedAt)
	if own == nil {
		return nil, fmt.Errorf("the specification leaves itself out: no %s", servedAt)
	}
	// What the document itself may be answered with when it is not, so may any path.
	refusals := openapi3.NewResponses()
	refusals.Delete("default")
	for status, response := range own.Get.Responses.Map() {
		if status >= "400" {
			refusals.Set(status, response)
		}
	}
	return &Specification{document: read, elsewhere: &openapi3.Operation{Responses: refusals}}, nil
}

// Version returns the version that the document says it is of.
func (s *Specification) Version() string { return s.document.Info.Version }

// Operations lists every operation as "METHOD path", in order.
func (s *Specification) Operations() []string {
	var all []string
	for path, item := range s.document.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, method+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// Codes returns which codes a problem may have (:: code → status), over all operations.
func (s *Specification) Codes() map[string][]int {
	codes := map[string][]int{}
	for name, schema := range s.document.Components.Schemas {
		if !strings.HasSuffix(name, "Problem") || len(schema.Value.AllOf) == 0 {
			continue
		}
		own := schema.Value.AllOf[1].Value.Properties
		status, _ := own["status"].Value.Const.(float64)
		for _, code := range among(own["code"].Value) {
			codes[code] = append(codes[code], int(status))
		}
	}
	return codes
}

// Known lists the values of the schema for codes, those of every status together.
func (s *Specification) Known() []string { return among(s.document.Components.Schemas["Code"].Value) }

// among returns the values that a schema of a closed set has.
func among(schema *openapi3.Schema) []string {
	if only, ok := schema.Const.(string); ok {
		return []string{only}
	}
	var values []string
	for _, value := range schema.Enum {
		values = append(values, fmt.Sprint(value))
	}
	return values
}

// find returns the exchange's request with the operation it is for; of what is none, one that has only refusals.
func (s *Specification) find(e Exchange) *openapi3filter.RequestValidationInput {
	in := &openapi3filter.RequestValidationInput{
		Request: e.request(),
		Route:   &routers.Route{Spec: s.document, PathItem: &openapi3.PathItem{}, Operation: s.elsewhere},
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	for path, item := range s.document.Paths.Map() {
		operation := item.GetOperation(e.Request.Method)
		if named, ok := match(path, e.Request.URL.EscapedPath()); ok && operation != nil {
			in.PathParams = named
			in.Route = &routers.Route{Spec: s.document, Path: path, PathItem: item, Method: e.Request.Method, Operation: operation}
		}
	}
	return in
}

// match compares a path with a pattern, part by part and as it was sent. A part with a name may be empty, as for the API.
func match(pattern, path string) (named map[string]string, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	named = map[string]string{}
	for i, part := range want {
		name, isName := strings.CutPrefix(part, "{")
		switch {
		case isName:
			named[strings.TrimSuffix(name, "}")] = got[i]
		case part != got[i]:
			return nil, false
		}
	}
	return named, true
}

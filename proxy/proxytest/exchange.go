package proxytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3filter"
)

// clientGone is the status of an answer that nobody was left to read, so it is none of the API's.
const clientGone = 499

// Exchange is a request to the data API, and its answer.
type Exchange struct {
	Request *http.Request
	Body    []byte // of the request, as far as it was read
	Status  int
	Header  http.Header
	Answer  []byte
}

// Check returns what the exchange has that the document does not: an answer with another status, header or field, or a
// request that was done though it is not valid.
func (s *Specification) Check(e Exchange) error {
	if e.Status == clientGone || e.Request.Method == http.MethodOptions && e.Status == http.StatusNoContent {
		return nil // no operation of a path, but what HTTP has for any
	}
	in := s.find(e)
	alike := e.likeness(in)
	if err, ok := s.judged.Load(alike); ok {
		err, _ := err.(error)
		return err
	}
	err := e.judge(in)
	if err != nil {
		err = fmt.Errorf("%s %s, answered %d with %v and %.2000q, is not as the specification says: %w",
			e.Request.Method, e.Request.URL, e.Status, e.Header, e.Answer, err)
	}
	s.judged.Store(alike, err)
	return err
}

// drawn is a request id that the API drew itself.
var drawn = regexp.MustCompile(`\A[A-Z2-7]{26}\z`)

// likeness is the same for exchanges that are judged alike, so that one of them is enough: what was answered but for an
// id that the API drew, and what was asked if it was done.
func (e Exchange) likeness(in *openapi3filter.RequestValidationInput) string {
	text := fmt.Sprintf("%s %s %d %q %s", in.Route.Method, in.Route.Path, e.Status, e.Header, e.Answer)
	if e.done() {
		text += fmt.Sprintf("%s %q %s", e.Request.URL, e.Request.Header, e.Body)
	}
	if id := e.Header.Get("X-Request-Id"); drawn.MatchString(id) {
		text = strings.ReplaceAll(text, id, "drawn")
	}
	return text
}

func (e Exchange) done() bool { return e.Status < http.StatusMultipleChoices }

func (e Exchange) judge(in *openapi3filter.RequestValidationInput) error {
	ctx := context.WithoutCancel(e.Request.Context()) // whoever asked may be gone
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: e.Status, Header: e.Header, Options: in.Options}
	err := errors.Join(openapi3filter.ValidateResponse(ctx, out.SetBodyBytes(e.Answer)), e.undocumented(in))
	if e.done() {
		err = errors.Join(err, openapi3filter.ValidateRequest(ctx, in))
	}
	return err
}

// request returns the request as it is to be judged: with the body it came with, read as JSON whatever it said it was.
func (e Exchange) request() *http.Request {
	r := e.Request.Clone(e.Request.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(e.Body)), int64(len(e.Body))
	r.Header.Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet // an answer to HEAD would not be looked at
	}
	return r
}

// undocumented returns what the library lets pass: headers and bodies that the document does not have.
func (e Exchange) undocumented(in *openapi3filter.RequestValidationInput) error {
	response := in.Route.Operation.Responses.Status(e.Status)
	if response == nil {
		return nil // which is reported already
	}
	known := map[string]bool{"Content-Type": true, "Content-Length": true, "Connection": true, "Date": true}
	for name := range response.Value.Headers {
		known[textproto.CanonicalMIMEHeaderKey(name)] = true
	}
	var err error
	for name := range e.Header {
		if !known[name] {
			err = errors.Join(err, fmt.Errorf("header %s is not documented", name))
		}
	}
	if len(response.Value.Content) == 0 && len(e.Answer) > 0 {
		err = errors.Join(err, errors.New("a body is not documented"))
	}
	return err
}

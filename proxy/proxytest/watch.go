package proxytest

import (
	"bytes"
	"io"
	"net/http"
)

// Watch returns next with each of its exchanges checked, and tells what is wrong with them. It may do so from several
// goroutines.
func (s *Specification) Watch(next http.Handler, tell func(error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := Exchange{Request: r.Clone(r.Context())}
		body, kept := r.Body, &bytes.Buffer{}
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(body, kept), body}
		answer := &recorder{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		e.Body, e.Status, e.Header, e.Answer = kept.Bytes(), answer.status, answer.header, answer.body.Bytes()
		if err := s.Check(e); err != nil {
			tell(err)
		}
	})
}

// recorder keeps what is answered.
type recorder struct {
	http.ResponseWriter
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	r.status, r.header = status, r.Header().Clone()
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(body []byte) (int, error) {
	r.body.Write(body)
	return r.ResponseWriter.Write(body)
}

// Unwrap lets [http.ResponseController] find what it controls.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

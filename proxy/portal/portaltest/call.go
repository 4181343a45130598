package portaltest

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// mostRead bounds the body of a request; more is a 413.
	mostRead = 32 << 20
	// mostKept is how much of a body is kept for who reads it; the rest is only
	// counted, so that large ones cost no memory.
	mostKept = 64 << 10
)

// traceHeader comes back, as it came, in every answer to a request with a CST.
const traceHeader = "X-Portal-Trace-Id"

// call is what counts of a request.
type call struct {
	bearer   string
	clientID string
	query    url.Values
	body     []byte // the beginning of it
	came     arrived
	trace    string
	status   string // statusHeader
	at       time.Time
}

// arrived is what a call with a CST is told about itself.
type arrived struct {
	ClientID  string `json:"clientId"`
	Method    string `json:"method"`
	Path      string `json:"path"`  // percent-encoded as it came
	Query     string `json:"query"` // likewise
	BodyBytes int64  `json:"bodyBytes"`
}

// readCall reads the body to its end: net/http watches for the caller's leaving
// only from then on.
func readCall(w http.ResponseWriter, r *http.Request) (call, error) {
	from := http.MaxBytesReader(w, r.Body, mostRead)
	body, err := io.ReadAll(io.LimitReader(from, mostKept))
	if err != nil {
		return call{}, err
	}
	rest, err := io.Copy(io.Discard, from)
	return call{
		bearer:   bearer(r),
		clientID: r.PathValue("id"),
		query:    r.URL.Query(),
		body:     body,
		came: arrived{
			Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, BodyBytes: int64(len(body)) + rest,
		},
		trace:  r.Header.Get(traceHeader),
		status: r.Header.Get(statusHeader),
	}, err
}

// unreadable is the status for an error of readCall.
func unreadable(err error) int {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

func bearer(r *http.Request) string {
	credential, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return credential
}

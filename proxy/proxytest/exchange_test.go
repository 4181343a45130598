package proxytest_test

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/proxytest"
)

const (
	tokenPath = "/v1/clients/cm0r6nkek00ej10dwwx8wdjmf/token"

	absent = `{"id":"cm0r6nkek00ej10dwwx8wdjmf","state":"absent","expiresIn":0,"next":{"action":"mint","reason":"absent"}}`
	token  = `{"id":"cm0r6nkek00ej10dwwx8wdjmf","clientSessionToken":"x","isAccountAbstracted":false,` +
		`"expiresAt":"2026-11-23T05:19:55Z","expiresIn":86400,"refreshableUntil":"2026-11-29T05:19:55Z",` +
		`"mintedAt":"2026-11-22T05:19:55Z","activeAt":"2026-11-22T05:19:55.1Z","tokenId":"bdb36c9febb7f240a8f44063a464605a","source":"mint"}`
	overloaded = `{"type":"urn:cstproxy:problem:overloaded","title":"Too much to do","status":503,"detail":"d",` +
		`"code":"overloaded","retryable":true,"requestId":"r","error":"d"}`
)

// exchange is one in short; what is left out is that of a fetch that went well.
type exchange struct {
	method, target, body string
	status               int
	header               string // instead of Cache-Status
	answer               string
}

func (e exchange) whole(t *testing.T) proxytest.Exchange {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), cmp.Or(e.method, http.MethodGet), cmp.Or(e.target, tokenPath), http.NoBody)
	header := http.Header{"Cache-Control": {"no-store"}, "X-Request-Id": {"r"}, "Content-Type": {"application/json"}}
	for line := range strings.SplitSeq(cmp.Or(e.header, "Cache-Status: cstproxy; fwd=miss"), "|") {
		name, value, _ := strings.Cut(line, ": ")
		header.Set(name, value)
	}
	if e.status >= http.StatusBadRequest {
		header.Set("Content-Type", "application/problem+json")
	}
	return proxytest.Exchange{
		Request: request, Body: []byte(e.body), Status: cmp.Or(e.status, http.StatusOK), Header: header, Answer: []byte(cmp.Or(e.answer, token)),
	}
}

func read(t *testing.T) *proxytest.Specification {
	t.Helper()
	document, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	specification, err := proxytest.Read(t.Context(), document)
	if err != nil {
		t.Fatal(err)
	}
	return specification
}

func TestWhatTheDocumentHasPasses(t *testing.T) {
	t.Parallel()
	specification := read(t)
	const retry = "Retry-After: 1"
	for name, e := range map[string]exchange{
		"a token":                      {},
		"a token with more wishes":     {target: tokenPath + "?minTtl=1h30m&rejected=bdb36c9febb7f240a8f44063a464605a"},
		"a token, as Portal has it":    {method: "POST", target: "/api/v1/custodians/clients/x/session"},
		"a refusal":                    {status: 503, header: retry, answer: overloaded},
		"a refusal of what is no path": {target: "/v2", status: 503, header: retry, answer: overloaded},
		"a refusal of a HEAD":          {method: "HEAD", status: 503, header: retry, answer: overloaded},
		"a status":                     {target: "/v1/clients/x", header: "Date: now", answer: absent},
		"a request that was not valid": {target: "/v1/clients/!/token", status: 503, header: retry, answer: overloaded},
		"a caller who left":            {status: 499, answer: "anything"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := specification.Check(e.whole(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatTheDocumentDoesNotHaveIsFound(t *testing.T) {
	t.Parallel()
	specification := read(t)
	change := strings.Replace
	for name, e := range map[string]exchange{
		"a field":                          {answer: change(token, `{`, `{"clientApiKey":"x",`, 1)},
		"a field too few":                  {answer: change(token, `"expiresIn":86400,`, "", 1)},
		"a field of another type":          {answer: change(token, `"expiresIn":86400`, `"expiresIn":"86400"`, 1)},
		"a time that is not UTC":           {answer: change(token, `05:19:55Z`, `05:19:55+01:00`, 1)},
		"a time that is none":              {answer: change(token, `2026-11-23`, `2026-11-31`, 1)},
		"another source":                   {answer: change(token, `"mint"}`, `"redis"}`, 1)},
		"a status":                         {status: 418, header: "Retry-After: 1", answer: change(overloaded, "503", "418", 1)},
		"a status of another route":        {status: 412, header: "X-Request-Id: r", answer: overloaded},
		"a success of what is no path":     {target: "/v2"},
		"a code":                           {status: 503, header: "Retry-After: 1", answer: change(overloaded, `"code":"overloaded"`, `"code":"tired"`, 1)},
		"a code of another status":         {status: 503, header: "Retry-After: 1", answer: change(overloaded, `"code":"overloaded"`, `"code":"internal"`, 1)},
		"a code of another route":          {target: "/v1/clients/x", status: 503, header: "Retry-After: 1", answer: change(overloaded, `"code":"overloaded"`, `"code":"portal_unavailable"`, 1)},
		"a problem of another status":      {status: 503, header: "Retry-After: 1", answer: change(overloaded, "503", "500", 1)},
		"a header":                         {header: "Cache-Status: cstproxy; fwd=miss|Access-Control-Allow-Origin: *"},
		"a header too few":                 {header: "Date: now"},
		"a header with another value":      {header: "Cache-Status: cstproxy; fwd=miss|Cache-Control: public"},
		"no Retry-After":                   {status: 503, header: "X-Request-Id: r", answer: overloaded},
		"a Retry-After in words":           {status: 503, header: "Retry-After: soon", answer: overloaded},
		"a type of content":                {header: "Cache-Status: cstproxy; fwd=miss|Content-Type: text/html"},
		"a body where there is none":       {method: "DELETE", status: 204, header: "X-Request-Id: r"},
		"an id that was taken":             {target: "/v1/clients/!/token"},
		"a wish that was taken":            {target: tokenPath + "?minTtl=soon"},
		"a body that was taken":            {method: "POST", target: "/api/v3/custodians/me/clients", body: `{"accountAbstracted":true}`},
		"a method that was taken":          {method: "PUT"},
		"a state that has another's field": {target: "/v1/clients/x", header: "Date: now", answer: change(absent, `"expiresIn":0`, `"expiresIn":0,"tokenId":"bdb36c9febb7f240a8f44063a464605a"`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // what is remembered is so too
				if specification.Check(e.whole(t)) == nil {
					t.Error("passes")
				}
			}
		})
	}
}

func TestADocumentThatIsNoneIsNotRead(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":                    "",
		"no YAML":                    "\t",
		"an example that is not one": strings.Replace(string(document), "source: refresh", "source: redis", 1),
		"a schema that is not there": strings.Replace(string(document), "    ClientId: {type", "    ClientID: {type", 1),
		"a document without itself":  strings.Replace(string(document), "\n  /openapi.yaml:", "\n  /openapi.yml:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := proxytest.Read(t.Context(), []byte(text)); err == nil {
				t.Error("read")
			}
		})
	}
}

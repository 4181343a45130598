package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/proxytest"
)

// TestTheProcessAnswersAsTheSpecificationItServesSays asks a process what its own specification has, and holds it to that.
func TestTheProcessAnswersAsTheSpecificationItServesSays(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{})
	portal.AddClient("alice")
	c := serve(t, environ...)
	served := c.get(c.data + "/openapi.yaml")
	specification, err := proxytest.Read(t.Context(), served.body)
	if err != nil {
		t.Fatal(err)
	}
	if got := specification.Version(); got != build().Version {
		t.Errorf("it is of version %q, want %q", got, build().Version)
	}
	for _, tt := range []struct {
		request, body string
		status        int
	}{
		{"GET /openapi.yaml", "", 200},
		{"GET /v1/clients/alice", "", 200},
		{"GET /v1/clients/alice/token", "", 200},
		{"GET /v1/clients/alice/token?minTtl=24h", "", 200},
		{"GET /v1/clients/alice/token?minTtl=soon", "", 400},
		{"GET /v1/clients/alice", "", 200},
		{"GET /v1/clients/stranger/token", "", 404},
		{"GET /v1/clients/no!id/token", "", 400},
		{"POST /v1/clients/alice/activity", `{"tokenId":"0123456789abcdef0123456789abcdef"}`, 412},
		{"POST /v1/clients/alice/activity", "", 204},
		{"POST /api/v1/custodians/clients/alice/session", "{}", 200},
		{"POST /api/v3/custodians/me/clients/alice/sessions", "", 200},
		{"DELETE /v1/clients/alice/token", "", 204},
		{"POST /v1/clients", `{"isAccountAbstracted":true}`, 201},
		{"POST /api/v1/custodians/clients", "{}", 201},
		{"POST /api/v3/custodians/me/clients", "", 200},
		{"POST /v1/clients", strings.Repeat(" ", 64<<10+1), 413},
		{"PUT /v1/clients", "", 405},
		{"GET /metrics", "", 404},
	} {
		method, target, _ := strings.Cut(tt.request, " ")
		got, err := c.ask(method, c.data+target, tt.body)
		if err != nil {
			t.Fatalf("%s: %v", tt.request, err)
		}
		if got.status != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.request, got.status, tt.status, got.body)
		}
		if err := specification.Check(proxytest.Exchange{
			Request: httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody),
			Body:    []byte(tt.body), Status: got.status, Header: got.header, Answer: got.body,
		}); err != nil {
			t.Error(err)
		}
	}
}

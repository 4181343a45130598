package portal_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// TestEachFailureSaysWhatItWas has Portal fail in every way that is counted by itself.
func TestEachFailureSaysWhatItWas(t *testing.T) {
	t.Parallel()
	var (
		answering = func(status int, body string) http.Handler { return answer{status: status, body: body} }
		mint      = []portaltest.Operation{portaltest.Mint}
		each      = []portaltest.Operation{portaltest.Mint, portaltest.Register, portaltest.Probe}
		wrapped   = document(alice, strings.Repeat("t", 70_000))
	)
	for name, c := range map[string]struct {
		url  func(t *testing.T) string
		asks []portaltest.Operation
		want session.PortalFailure
	}{
		"nobody listens":              {nobody, each, session.FailureConnect},
		"a certificate of a stranger": {strangers, each, session.FailureTLS},
		"no TLS at all":               {plain, each, session.FailureTLS},
		"TLS of another age":          {bygone, each, session.FailureTLS},
		"a connection that breaks":    {served(http.HandlerFunc(breaks)), each, session.FailureBroken},
		"silence":                     {served(http.HandlerFunc(silent)), each, session.FailureTimeout},
		"a 500":                       {served(answering(500, "")), each, session.FailureServerError},
		"a 503":                       {served(answering(503, "")), each, session.FailureServerError},
		"a 429":                       {served(answering(429, "")), each, session.FailureRateLimited},
		"a 418":                       {served(answering(418, "")), each, session.FailureUnexpectedStatus},
		"a 401 to a mint":             {served(answering(401, "")), mint, session.FailureUnauthorized},
		"a 401 to a probe":            {served(answering(401, "")), []portaltest.Operation{portaltest.Probe}, session.FailureRejected},
		"a 404 to a mint":             {served(answering(404, "")), mint, session.FailureNotFound},
		"a 404 to a registration":     {served(answering(404, "")), []portaltest.Operation{portaltest.Register}, session.FailureUnexpectedStatus},
		"no JSON":                     {served(answering(200, "<html>")), each, session.FailureNotJSON},
		"too much":                    {served(answering(200, wrapped)), each, session.FailureTooLarge},
		"no token":                    {served(answering(200, `{"id":"someone"}`)), mint, session.FailureNoToken},
		"another client":              {served(answering(200, document("another", "token"))), []portaltest.Operation{portaltest.Mint, portaltest.Probe}, session.FailureWrongClient},
	} {
		for _, operation := range c.asks {
			t.Run(fmt.Sprintf("%s, %s", name, operation), func(t *testing.T) {
				t.Parallel()
				_, err := operations[operation](t.Context(), newClient(t, c.url(t), within(2*time.Second)), held)
				if err == nil {
					t.Fatal("no error")
				}
				if got := session.FailureOf(err); got != c.want {
					t.Errorf("%v: counted as %s, want %s", err, got, c.want)
				}
			})
		}
	}
}

// The resolver is made up, since a machine without one says nothing for long.
func TestHostWithoutAnAddressIsAFailureOfDNS(t *testing.T) {
	t.Parallel()
	client := newClient(t, "http://portal.invalid")
	portal.Transport(client).DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "portal.invalid", IsNotFound: true}}
	}
	_, err := client.Mint(t.Context(), alice, session.Absent)
	wantError(t, err, session.ErrPortalUnavailable)
	if got := session.FailureOf(err); got != session.FailureDNS {
		t.Errorf("%v: counted as %s, want %s", err, got, session.FailureDNS)
	}
}

func served(handler http.Handler) func(*testing.T) string {
	return func(t *testing.T) string { t.Helper(); return serve(t, handler).URL }
}

func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // or the server would not notice that the client left
	<-r.Context().Done()
}

// nobody returns the URL of a port that nobody listens on any more.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	return "http://" + listener.Addr().String()
}

func strangers(t *testing.T) string {
	t.Helper()
	return serve(t, http.NotFoundHandler(), secured(&tls.Config{MinVersion: tls.VersionTLS12})).URL
}

func bygone(t *testing.T) string {
	t.Helper()
	return serve(t, http.NotFoundHandler(), secured(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})).URL
}

func plain(t *testing.T) string {
	t.Helper()
	return strings.Replace(serve(t, http.NotFoundHandler()).URL, "http://", "https://", 1)
}

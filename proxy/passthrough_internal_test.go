package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestFamilyIsFoundByWhereTheTargetBegins(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]session.Route{
		"/api/v1/clients/me": session.RouteClient, "/api/v2/clients/me?x": session.RouteClient, "/api/v3/clients/me/a/b": session.RouteClient,
		"/api/v4/clients/me": "", "/api/v3/clients/men": "", "/api/v3/clients/other": "", "/api/v3/clients": "",
		"/api/v1/swaps/quote": session.RouteClient, "/api/v3/swaps/": session.RouteClient, "/api/v2/swaps/quote": "", "/api/v1/swaps": "",
		"/api/v1/analytics/track": session.RouteClient, "/api/v1/config/x": session.RouteClient, "/rpc/v1/eip155/1": session.RouteClient, "/rpc/v2/x": "",
		"/enclave/v1/sign": session.RouteEnclave, "/enclave/v2/sign": "", "/v1/sign": "", "/enclave": "",
		"/api/v1/custodians": session.RouteCustodian, "/api/v3/custodians/me/x": session.RouteCustodian, "/api/clients": session.RouteCustodian, "/api/clientsx": "",
		"http://portal/api/v3/clients/me": "", "//api/v3/clients/me": "", "/%61pi/v3/clients/me": "", "/API/v3/clients/me": "", "*": "", "": "", "/": "",
	} {
		if got := familyOf(target); got != want {
			t.Errorf("%q is of the family %q, want %q", target, got, want)
		}
	}
}

func TestTargetThatCouldMeanAnotherPlaceIsRefused(t *testing.T) {
	t.Parallel()
	for target, ok := range map[string]bool{
		"/api/v3/clients/me": true, "/api/v3/clients/me/chains/eip155:1": true, "/a/eip155%3A1": true, "/a/b..c": true, "/a/...": true, "/a?b=%2e%2e/../;\\": true,
		"/a/..": false, "/a/../b": false, "/a/./b": false, "/a//b": false, "/a/": false, "/a/%2e%2e/b": false, "/a/%2E/b": false, "/a/.%2e": false, "/a%2fb": false,
		"/a%5cb": false, "/a\\b": false, "/a;b": false, "/a%3bb": false, "/a%00": false, "/a%0a": false, "/a%7f": false, "/a%25": false, "/a%252e": false, "/a%2": false,
		"/a%": false, "/a%zz": false, "/a#b": false, "/a?b#c": false, "/a b": false, "/a\x80": false, "/a?\x80": false, "/a%80": false, "/a?b c": false, "/a%20b": false,
	} {
		if err := checkTarget(target); (err == nil) != ok || err != nil && !errors.Is(err, session.ErrInvalidRequest) {
			t.Errorf("%q: %v, want it passed on: %t", target, err, ok)
		}
	}
}

func FuzzTargetLeadsNowhereElse(f *testing.F) {
	for _, seed := range []string{"/api/v3/clients/me", "/a/%2e%2e/b", "/a/eip155%3A1?x=%2f", "/a;b", "/a%252e", "/a?", "/a?b?c&;%zz", "/~!$&'()*+,=:@[]_-."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if !strings.HasPrefix(target, "/") || checkTarget(target) != nil {
			t.Skip()
		}
		if got := at(&url.URL{Scheme: "https", Host: "portal.example", Path: "/base"}, target).RequestURI(); got != "/base"+target {
			t.Errorf("%q leaves as %q", target, got)
		}
		way, _, _ := strings.Cut(target, "?")
		for range 3 {
			if path.Clean(way) != way || strings.ContainsAny(way, "\\;#\x00\r\n ") {
				t.Fatalf("%q passes, and leads to %q", target, way)
			}
			decoded, err := url.PathUnescape(way)
			if err != nil {
				t.Fatalf("%q passes, and can't be read: %v", target, err)
			}
			way = decoded
		}
	})
}

func TestHeaderThatIsReadInTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header http.Header
		want   error
	}{
		"nothing of the kind":         {http.Header{"Accept": {"*/*"}, "Connection": {"keep-alive, X-Own"}, "Te": {"trailers"}}, nil},
		"an underscore":               {http.Header{"X_forwarded_for": {"1"}}, session.ErrInvalidRequest},
		"two clients":                 {http.Header{"X-Portal-Client-Id": {"a", "b"}}, session.ErrInvalidRequest},
		"two credentials":             {http.Header{"Authorization": {"a", "a"}}, session.ErrInvalidRequest},
		"a credential that goes":      {http.Header{"Connection": {"close, Authorization"}}, session.ErrInvalidRequest},
		"a client that goes":          {http.Header{"Connection": {"x", "x-PORTAL-client-id"}}, session.ErrInvalidRequest},
		"an upgrade":                  {http.Header{"Upgrade": {"websocket"}}, errUpgrade},
		"an upgrade in the other one": {http.Header{"Connection": {"Upgrade"}}, errUpgrade},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := checkHeader(c.header); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

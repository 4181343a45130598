package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestPlaceAtPortalIsBelowItsBase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ base, target, want string }{
		"no path":                      {"https://portal.example", "/v1/sign", "https://portal.example/v1/sign"},
		"a slash":                      {"https://portal.example/", "/v1/sign", "https://portal.example/v1/sign"},
		"a path":                       {"https://portal.example/a/b", "/v1/sign", "https://portal.example/a/b/v1/sign"},
		"a path with escapes":          {"https://portal.example/a%2Fb/", "/v1/x%3Ay", "https://portal.example/a%2Fb/v1/x%3Ay"},
		"a query":                      {"https://portal.example", "/v1/sign?a=%2F&b;c&%zz&a", "https://portal.example/v1/sign?a=%2F&b;c&%zz&a"},
		"a question mark, and no more": {"https://portal.example", "/v1/sign?", "https://portal.example/v1/sign?"},
	} {
		base, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		if got := at(base, c.target).String(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if base.String() != c.base {
			t.Errorf("%s: the base became %s", name, base)
		}
	}
}

func TestHeadersThatAreNotForPortalAreKnown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"X-Portal-Client-Id", "X-Forwarded-For", "X-Forwarded", "X-Forwarded-Host", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Forwarded", "Via", "Expect", "X-Request-Id",
		"X-Original-Url", "X-Rewrite-Url", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
	} {
		if !isOurs(http.CanonicalHeaderKey(name)) {
			t.Errorf("%s goes to Portal", name)
		}
	}
	for _, name := range []string{"X-Portal-Trace-Id", "X-Portal-Client", "Accept", "Content-Type", "Idempotency-Key", "Origin", "User-Agent", "Viable", "Authorization"} {
		if isOurs(name) {
			t.Errorf("%s does not go to Portal", name)
		}
	}
}

func TestMethodsAreThoseOfTheFamily(t *testing.T) {
	t.Parallel()
	// methods :: method -> the families that take it
	methods := map[string][]session.Route{
		"POST": session.Families(), "GET": {session.RouteClient, session.RouteCustodian}, "HEAD": {session.RouteClient, session.RouteCustodian},
		"PUT": {session.RouteClient, session.RouteCustodian}, "PATCH": {session.RouteClient, session.RouteCustodian}, "DELETE": {session.RouteClient, session.RouteCustodian},
		"OPTIONS": nil, "TRACE": nil, "CONNECT": nil, "PROPFIND": nil, "get": nil, "": nil,
	}
	for method, families := range methods {
		for _, family := range session.Families() {
			if got := checkMethod(family, method) == nil; got != slices.Contains(families, family) {
				t.Errorf("%q, %s: taken %t", method, family, got)
			}
		}
	}
}

func TestCallThatIsListedTellsItsClient(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a", 128)
	const refused = "refused"
	for call, want := range map[string]string{
		"GET /api/v1/custodians/clients":                     "",
		"GET /api/v3/custodians/me/clients":                  "",
		"POST /api/clients":                                  "",
		"GET /api/v1/custodians/clients/A_b-9":               "A_b-9",
		"GET /api/v1/custodians/clients/" + longest:          longest,
		"POST /api/v1/custodians/clients/x/web-otp":          "x",
		"GET /api/v1/custodians/clients/x/web-otp":           "x",
		"POST /api/v1/custodians/clients/x/prepare-eject":    "x",
		"POST /api/v3/custodians/me/clients/x/web-otps":      "x",
		"GET /api/v3/custodians/me/clients/x/web-otps":       refused,
		"GET /api/v3/custodians/me/clients/x":                "x",
		"PATCH /api/v3/custodians/me/clients/x/enable-eject": "x",
		"POST /api/v3/custodians/me/clients/x/prepare-eject": "x",
		"GET /api/v1/custodians/clients/web-otp":             "web-otp", // which no client is called, but could be
		"GET /api/v1/custodians/clients/" + longest + "a":    refused,
		"GET /api/v1/custodians/clients/":                    refused,
		"GET /api/v1/custodians/clients/{}":                  refused,
		"POST /api/v1/custodians/clients/{}/web-otp":         refused,
		"GET /api/v1/custodians/clients/x/":                  refused,
		"GET /api/v1/custodians/clients/x/y":                 refused,
		"GET /api/v1/custodians/clients/x%2Fy":               refused,
		"GET /api/v1/custodians/clients/x.y":                 refused,
		"POST /api/v1/custodians/clients//web-otp":           refused,
		"POST /api/v1/custodians/clients/web-otp":            refused,
		"POST /api/v1/custodians/clients/x/y/web-otp":        refused,
		"POST /api/v1/custodians/clients/x/web-otp/":         refused,
		"POST /api/v1/custodians/clients/x/web-otpx":         refused,
		"POST /api/v1/custodians/clients/x/web-OTP":          refused,
		"PUT /api/v1/custodians/clients/x/web-otp":           refused,
		"HEAD /api/v1/custodians/clients":                    refused,
		"DELETE /api/v1/custodians/clients/x":                refused,
		"POST /api/v1/custodians/clients":                    refused, // a route of our own comes before it
		"POST /api/v1/custodians/clients/x/session":          refused,
		"POST /api/v3/custodians/me/clients/x/sessions":      refused,
		"GET /api/v3/custodians/me/clients/x/sessions":       refused,
		"POST /api/v3/custodians/me/clients/x/enable-eject":  refused,
		"GET /api/v3/custodians/me/clients/x/prepare-eject":  refused,
		"POST /api/v3/custodians/me/clients/x/web-otp":       refused,
		"PATCH /api/v1/custodians/clients/x/enable-eject":    refused,
		"GET /api/v3/custodians/me":                          refused,
		"GET /api/v3/custodians/me/api-keys":                 refused,
		"GET /api/v1/custodians":                             refused,
		"GET /api/clients":                                   refused,
		"POST /api/clients/":                                 refused,
		"POST /api/clients/x":                                refused,
		"get /api/v1/custodians/clients":                     refused,
	} {
		method, path, _ := strings.Cut(call, " ")
		client, err := custodianClient(method, path)
		switch {
		case want == refused && !errors.Is(err, session.ErrCallerForbidden):
			t.Errorf("%s: %q, %v; want it refused", call, client, err)
		case want != refused && (err != nil || string(client) != want):
			t.Errorf("%s: %q, %v; want %q", call, client, err, want)
		}
	}
}

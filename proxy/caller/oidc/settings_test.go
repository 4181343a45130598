package oidc_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/caller/oidc"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestSettingsThatCannotHoldAreRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	one := oidc.Issuer{Name: "one", URL: "https://issuer.example", Audience: "a"}
	changed := func(change func(*oidc.Issuer)) []oidc.Issuer {
		other := one
		change(&other)
		return []oidc.Issuer{other}
	}
	url := func(text string) []oidc.Issuer { return changed(func(i *oidc.Issuer) { i.URL = text }) }
	algorithms := func(names ...string) []oidc.Issuer { return changed(func(i *oidc.Issuer) { i.Algorithms = names }) }
	cases := map[string]struct {
		issuers []oidc.Issuer
		says    string // empty: they are accepted
	}{
		"none":                        {nil, ""},
		"https":                       {[]oidc.Issuer{one}, ""},
		"https with a path":           {url("https://issuer.example/a/"), ""},
		"http on 127.0.0.1":           {url("http://127.0.0.1:8000"), ""},
		"http on ::1":                 {url("http://[::1]:8000"), ""},
		"http on localhost":           {url("http://localhost:8000"), ""},
		"http elsewhere":              {url("http://issuer.example"), "must be https"},
		"http on localhost of others": {url("http://localhost.evil.example"), "must be https"},
		"http on 0.0.0.0":             {url("http://0.0.0.0"), "must be https"},
		"http on 127.0.0.1 of others": {url("http://127.0.0.1.evil.example"), "must be https"},
		"another scheme":              {url("ftp://issuer.example"), "must be https"},
		"no URL":                      {url(""), "a scheme, a host"},
		"no scheme":                   {url("issuer.example"), "a scheme, a host"},
		"no host":                     {url("https:///path"), "a scheme, a host"},
		"a user":                      {url("https://me@issuer.example"), "a scheme, a host"},
		"a query":                     {url("https://issuer.example?a"), "a scheme, a host"},
		"a fragment":                  {url("https://issuer.example#a"), "a scheme, a host"},
		"a space":                     {url("https://issuer.example /"), "a scheme, a host"},
		"no name":                     {changed(func(i *oidc.Issuer) { i.Name = "" }), "required"},
		"no audience":                 {changed(func(i *oidc.Issuer) { i.Audience = "" }), "required"},
		"all algorithms":              {algorithms("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"), ""},
		"HS256":                       {algorithms("RS256", "HS256"), `"HS256"`},
		"none as algorithm":           {algorithms("none"), `"none"`},
		"rs256":                       {algorithms("rs256"), `"rs256"`},
		"an empty algorithm":          {algorithms(""), `""`},
		"a missing CA file":           {changed(func(i *oidc.Issuer) { i.CAFile = empty + "-not" }), "read the authorities"},
		"an empty CA file":            {changed(func(i *oidc.Issuer) { i.CAFile = empty }), "no certificate"},
		"a missing token file":        {changed(func(i *oidc.Issuer) { i.TokenFile = empty + "-not" }), "read the issuer's token"},
		"an empty token file":         {changed(func(i *oidc.Issuer) { i.TokenFile = empty }), "is empty"},
		"a name twice":                {[]oidc.Issuer{one, {Name: "one", URL: "https://two.example", Audience: "a"}}, "another one"},
		"a URL twice":                 {[]oidc.Issuer{one, {Name: "two", URL: one.URL, Audience: "b"}}, "another one"},
	}
	for name, c := range cases {
		verifier, err := oidc.New(oidc.Parts{
			Issuers: c.issuers, Now: time.Now, Dial: (&issuer{away: true}).dial, Log: slog.New(slog.DiscardHandler),
		})
		if err == nil {
			verifier.Close()
		}
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func TestAllMistakesAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := oidc.New(oidc.Parts{Issuers: []oidc.Issuer{
		{Name: "one", URL: "http://issuer.example", Algorithms: []string{"HS256"}}, {URL: "x", Audience: "a"},
	}})
	for _, want := range []string{`issuer "one"`, "audience", "https", "HS256", `issuer ""`, "a name", "a scheme"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}

func TestVerifierWithoutIssuersRefusesAll(t *testing.T) {
	t.Parallel()
	verifier, err := oidc.New(oidc.Parts{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	w := &world{TB: t, url: loopbackURL}
	if _, err := verifier.Verify(t.Context(), w.honest()); !errors.Is(err, session.ErrCallerUnauthenticated) {
		t.Errorf("%v, want %v", err, session.ErrCallerUnauthenticated)
	}
}

func TestTokenInPlaceOfItsFileIsNotShown(t *testing.T) {
	t.Parallel()
	const secret = "eyJhbGciOiJSUzI1NiJ9.hunter2.c2lnbmF0dXJl"
	err := oidc.Check([]oidc.Issuer{
		{Name: "one", URL: "https://one.example", Audience: "a", TokenFile: secret},
		{Name: "two", URL: "https://two.example", Audience: "a", CAFile: secret},
	})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want an error without what was given for a file", err)
	}
}

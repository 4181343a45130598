package caller_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// world is a callers file with two callers, each of which every method knows, and their keys.
type world struct {
	callers            *caller.Callers
	file               string
	alpha, next, beta  string
	alphaLine, newLine string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	var betaLine string
	w.alpha, w.alphaLine = caller.NewKey()
	w.next, w.newLine = caller.NewKey()
	w.beta, betaLine = caller.NewKey()
	w.file = `
issuers: [{name: cluster, url: "https://issuer.test", audience: cstproxy}]
callers:
  - name: alpha
    keys: ["` + w.alphaLine + `", "` + w.newLine + `"]
    certificates: ["spiffe://example.org/ns/app/sa/alpha", "CN=alpha", Alpha.Example]
    subjects: [{issuer: cluster, subject: alpha}]
    routes: [token, forget]
    clients: [a-]
  - name: beta
    keys: ["` + betaLine + `"]
    certificates: ["spiffe://example.org/ns/app/sa/beta", "CN=beta"]
    subjects: [{issuer: cluster, subject: beta}]
    routes: ["*"]
    clients: ["*"]
    rate: 2/s
`
	var err error
	w.callers, err = caller.New([]byte(w.file), caller.Parts{Now: time.Now, Trust: new(trusting).trust})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// show makes a request with these header lines, written "Name: value".
func show(lines ...string) *http.Request {
	r := (&http.Request{Header: http.Header{}, URL: &url.URL{}}).WithContext(context.Background())
	for _, text := range lines {
		name, value, _ := strings.Cut(text, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// with adds a client certificate, as TLS leaves it.
func with(r *http.Request, certificate *x509.Certificate) *http.Request {
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}, VerifiedChains: [][]*x509.Certificate{{certificate}}}
	return r
}

func uris(texts ...string) []*url.URL {
	var all []*url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			panic(err)
		}
		all = append(all, u)
	}
	return all
}

// wantCaller checks who it is; "" is nobody.
func (w *world) wantCaller(t *testing.T, r *http.Request, want string) {
	t.Helper()
	got, err := w.callers.Identify(r)
	if got.Name != want || (err == nil) != (want != "") {
		t.Errorf("it is %q (error %v), want %q", got.Name, err, want)
	}
	if err == nil {
		return
	}
	if !errors.Is(err, session.ErrCallerUnauthenticated) || len(got.Routes)+len(got.Clients) != 0 {
		t.Errorf("caller %+v, error %v", got, err)
	}
	for _, secret := range r.Header["Authorization"] {
		if _, credential, _ := strings.Cut(secret, " "); len(credential) > 8 && strings.Contains(err.Error(), credential) {
			t.Errorf("the error has the credential: %v", err)
		}
	}
}

func TestKeyTellsWhoItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		r    *http.Request
		want string
	}{
		"the key in use":               {show("Authorization: Bearer " + w.alpha), "alpha"},
		"the next key":                 {show("Authorization: Bearer " + w.next), "alpha"},
		"another's key":                {show("Authorization: Bearer " + w.beta), "beta"},
		"the scheme in other letters":  {show("Authorization: bEARER " + w.beta), "beta"},
		"two spaces":                   {show("Authorization: Bearer  " + w.beta), "beta"},
		"no credential":                {show(), ""},
		"an empty one":                 {show("Authorization: "), ""},
		"a scheme alone":               {show("Authorization: Bearer"), ""},
		"another scheme":               {show("Authorization: Basic " + w.alpha), ""},
		"no scheme":                    {show("Authorization: " + w.alpha), ""},
		"a key nobody has":             {show("Authorization: Bearer cstp_" + strings.Repeat("A", 43)), ""},
		"half a key":                   {show("Authorization: Bearer " + w.alpha[:24]), ""},
		"a key and more":               {show("Authorization: Bearer " + w.alpha + "A"), ""},
		"a key and a list":             {show("Authorization: Bearer " + w.alpha + ", Bearer " + w.alpha), ""},
		"a key with padding":           {show("Authorization: Bearer " + w.alpha + "="), ""},
		"a key in capitals":            {show("Authorization: Bearer " + strings.ToUpper(w.alpha)), ""},
		"a key without its prefix":     {show("Authorization: Bearer " + strings.TrimPrefix(w.alpha, "cstp_")), ""},
		"the line of the file":         {show("Authorization: Bearer " + w.alphaLine), ""},
		"the digest after the prefix":  {show("Authorization: Bearer cstp_" + strings.TrimPrefix(w.alphaLine, "sha256:")), ""},
		"a name":                       {show("Authorization: Bearer alpha"), ""},
		"the Portal API Key":           {show("Authorization: Bearer portal-api-key-for-tests"), ""},
		"one key twice":                {show("Authorization: Bearer "+w.alpha, "Authorization: Bearer "+w.alpha), ""},
		"two callers' keys":            {show("Authorization: Bearer "+w.alpha, "Authorization: Bearer "+w.beta), ""},
		"a header for another":         {show("Proxy-Authorization: Bearer " + w.alpha), ""},
		"a header with underscores":    {show("X_Authorization: Bearer "+w.alpha, "Authorization_: Bearer "+w.alpha), ""},
		"headers that name a caller":   {show("X-Forwarded-User: alpha", "X-Caller: alpha", "X-Auth-Request-User: alpha", "X-Client-Cert: CN=alpha", "X-Forwarded-Client-Cert: URI=spiffe://example.org/ns/app/sa/alpha"), ""},
		"a token of an issuer":         {show("Authorization: Bearer h.alpha.s"), "alpha"},
		"another's token":              {show("Authorization: Bearer h.beta.s"), "beta"},
		"a token of nobody":            {show("Authorization: Bearer h.gamma.s"), ""},
		"a token that is not good":     {show("Authorization: Bearer h.bad.s"), ""},
		"a token with a part too many": {show("Authorization: Bearer h.alpha.s.x"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.wantCaller(t, c.r, c.want)
		})
	}
}

func TestCertificateTellsWhoItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const alpha, beta = "spiffe://example.org/ns/app/sa/alpha", "spiffe://example.org/ns/app/sa/beta"
	for name, c := range map[string]struct {
		certificate x509.Certificate
		want        string
	}{
		"its SPIFFE id":                    {x509.Certificate{URIs: uris(alpha)}, "alpha"},
		"its common name":                  {x509.Certificate{Subject: pkix.Name{CommonName: "alpha"}}, "alpha"},
		"its DNS name":                     {x509.Certificate{DNSNames: []string{"other.example", "alpha.example"}}, "alpha"},
		"its DNS name, in other letters":   {x509.Certificate{DNSNames: []string{"ALPHA.Example"}}, "alpha"},
		"several names of one caller":      {x509.Certificate{URIs: uris(alpha), DNSNames: []string{"alpha.example"}, Subject: pkix.Name{CommonName: "alpha"}}, "alpha"},
		"names of two callers":             {x509.Certificate{URIs: uris(alpha), Subject: pkix.Name{CommonName: "beta"}}, ""},
		"two SPIFFE ids":                   {x509.Certificate{URIs: uris(alpha, beta)}, ""},
		"one SPIFFE id twice":              {x509.Certificate{URIs: uris(alpha, alpha)}, ""},
		"a longer SPIFFE id":               {x509.Certificate{URIs: uris(alpha + "/x")}, ""},
		"a SPIFFE id in other letters":     {x509.Certificate{URIs: uris("spiffe://example.org/ns/app/sa/ALPHA")}, ""},
		"a SPIFFE id with a query":         {x509.Certificate{URIs: uris(alpha + "?x")}, ""},
		"a SPIFFE id of another domain":    {x509.Certificate{URIs: uris("spiffe://attacker.org/ns/app/sa/alpha")}, ""},
		"a URI of another scheme":          {x509.Certificate{URIs: uris("https://example.org/ns/app/sa/alpha")}, ""},
		"a SPIFFE id as a DNS name":        {x509.Certificate{DNSNames: []string{alpha}}, ""},
		"a SPIFFE id as a common name":     {x509.Certificate{Subject: pkix.Name{CommonName: alpha}}, ""},
		"a common name as a DNS name":      {x509.Certificate{DNSNames: []string{"CN=alpha"}}, ""},
		"a DNS name as a common name":      {x509.Certificate{Subject: pkix.Name{CommonName: "alpha.example"}}, ""},
		"a common name in other letters":   {x509.Certificate{Subject: pkix.Name{CommonName: "Alpha"}}, ""},
		"a DNS name below":                 {x509.Certificate{DNSNames: []string{"x.alpha.example"}}, ""},
		"a DNS name that ends alike":       {x509.Certificate{DNSNames: []string{"xalpha.example"}}, ""},
		"a DNS name with a pattern":        {x509.Certificate{DNSNames: []string{"*.example"}}, ""},
		"a DNS name and a NUL":             {x509.Certificate{DNSNames: []string{"alpha.example\x00.attacker.org"}}, ""},
		"an organization of a like name":   {x509.Certificate{Subject: pkix.Name{Organization: []string{"alpha"}}}, ""},
		"an address of mail of a like one": {x509.Certificate{EmailAddresses: []string{"alpha"}}, ""},
		"no names":                         {x509.Certificate{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.wantCaller(t, with(show(), &c.certificate), c.want)
		})
	}
	t.Run("one that TLS did not verify", func(t *testing.T) {
		t.Parallel()
		r := show()
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{URIs: uris(alpha)}}}
		w.wantCaller(t, r, "")
	})
}

func TestCredentialsMustAgreeOnWhoItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	certificate := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want string
	}{
		"certificate and key of one":            {with(show("Authorization: Bearer "+w.alpha), certificate("alpha")), "alpha"},
		"certificate of one, key of another":    {with(show("Authorization: Bearer "+w.beta), certificate("alpha")), ""},
		"certificate of one, token of another":  {with(show("Authorization: Bearer h.beta.s"), certificate("alpha")), ""},
		"certificate, and a key nobody has":     {with(show("Authorization: Bearer cstp_x"), certificate("alpha")), ""},
		"certificate, and a token not good":     {with(show("Authorization: Bearer h.bad.s"), certificate("alpha")), ""},
		"certificate, and the Portal API Key":   {with(show("Authorization: Bearer portal-api-key-for-tests"), certificate("alpha")), "alpha"},
		"certificate of nobody, key of one":     {with(show("Authorization: Bearer "+w.beta), certificate("gamma")), "beta"},
		"certificate, and two of Authorization": {with(show("Authorization: Bearer x", "Authorization: Bearer y"), certificate("alpha")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.wantCaller(t, c.r, c.want)
		})
	}
}

func TestCallerComesWithWhatItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got, err := w.callers.Identify(show("Authorization: Bearer " + w.alpha))
	want := session.Caller{Name: "alpha", Routes: []session.Route{session.RouteToken, session.RouteForget}, Clients: []string{"a-"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

func TestTokensOfIssuersAreNobodysWithoutAVerifier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	callers, err := caller.New([]byte(w.file), caller.Parts{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.callers = callers
	w.wantCaller(t, show("Authorization: Bearer h.alpha.s"), "")
	w.wantCaller(t, show("Authorization: Bearer "+w.alpha), "alpha")
}

func TestBrokenFileLeavesTheCallersWhoWereThere(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{
		"nothing": "", "half of it": "callers:\n  - name: alpha\n    keys: [\"sha256:", "no callers": "callers: []", "not YAML": "\x00",
		"everybody, it seems": "callers: [{name: anyone, routes: [\"*\"], clients: [\"*\"]}]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if err := w.callers.Reload([]byte(broken)); err == nil {
				t.Fatal("taken")
			}
			w.wantCaller(t, show("Authorization: Bearer "+w.alpha), "alpha")
			w.wantCaller(t, show("Authorization: Bearer "+w.beta), "beta")
			w.wantCaller(t, show(), "")
			w.wantCaller(t, show("Authorization: Bearer cstp_"+strings.Repeat("A", 43)), "")
		})
	}
}

func TestKeyRotatesWithoutARequestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := strings.ReplaceAll(w.file, `"`+w.alphaLine+`", "`+w.newLine+`"`, `"`+w.alphaLine+`"`)
	fresh := strings.ReplaceAll(w.file, `"`+w.alphaLine+`", "`+w.newLine+`"`, `"`+w.newLine+`"`)
	for step, c := range []struct {
		file       string
		alpha, new string
	}{{old, "alpha", ""}, {w.file, "alpha", "alpha"}, {fresh, "", "alpha"}} {
		if err := w.callers.Reload([]byte(c.file)); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		w.wantCaller(t, show("Authorization: Bearer "+w.alpha), c.alpha)
		w.wantCaller(t, show("Authorization: Bearer "+w.next), c.new)
	}
}

func TestReloadUnderLoadRefusesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.wantCaller(t, show("Authorization: Bearer "+w.next), "alpha")
				}
			}
		})
	}
	for range 200 {
		if err := w.callers.Reload([]byte(w.file)); err != nil {
			t.Error(err)
		}
		_ = w.callers.Reload([]byte(w.file[:len(w.file)/2]))
	}
	close(stop)
	group.Wait()
}

func TestRateIsTheCallersOwnAndOutlivesAReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now()
	callers, err := caller.New([]byte(w.file), caller.Parts{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	beta, alpha := session.Caller{Name: "beta"}, session.Caller{Name: "alpha"}
	admitted := func(c session.Caller) (n int) {
		for range 10 {
			if callers.Admit(c) == nil {
				n++
			}
		}
		return n
	}
	if got := admitted(beta); got != 2 {
		t.Errorf("%d admitted at a rate of 2", got)
	}
	if got := admitted(alpha); got != 10 {
		t.Errorf("%d of 10 admitted without a rate", got)
	}
	refused := callers.Admit(beta)
	if !errors.Is(refused, session.ErrCallerRateLimited) || session.RetryAfter(refused) != 500*time.Millisecond {
		t.Errorf("refused with %v, to wait %s", refused, session.RetryAfter(refused))
	}
	if err := callers.Reload([]byte(w.file)); err != nil || admitted(beta) != 0 {
		t.Errorf("a reload (error %v) gave the caller its rate anew", err)
	}
	if err := callers.Reload([]byte(strings.Replace(w.file, "2/s", "3/s", 1))); err != nil || admitted(beta) != 3 {
		t.Errorf("a reload (error %v) did not give the caller its new rate", err)
	}
	now = now.Add(time.Hour)
	if got := admitted(beta); got != 3 {
		t.Errorf("%d admitted at once after an hour at a rate of 3", got)
	}
}

func TestNewKeysAreUnlikeAndOfFullLength(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		key, line := caller.NewKey()
		if len(key) != len("cstp_")+43 || !strings.HasPrefix(key, "cstp_") || len(line) != len("sha256:")+64 || seen[key] || seen[line] {
			t.Fatalf("key of %d characters, line %q", len(key), line)
		}
		seen[key], seen[line] = true, true
	}
}

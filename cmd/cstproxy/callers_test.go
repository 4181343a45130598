package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// withCallers returns the settings of a proxy whose callers file has one caller, with these credentials.
func withCallers(t *testing.T, head, credentials string) []string {
	t.Helper()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	file := writeFile(t, head+"callers:\n- {name: backend, "+credentials+", routes: [token], clients: [alice]}\n")
	return append(environ, "CSTPROXY_CALLERS_FILE="+file)
}

// wantAnswer wants a request for the client's token to be answered with this status.
func (c *child) wantAnswer(status int, client string, headers ...string) {
	c.t.Helper()
	got, err := c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token", "", headers...)
	if err != nil || got.status != status {
		c.t.Errorf("a request for %s with %q is answered %d, %v; want %d", client, headers, got.status, err, status)
	}
}

// issuer is one of tokens.
type issuer struct {
	*httptest.Server

	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Algorithm: "ES256", Use: "sig"}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// bearer returns the header line with a token that the issuer signs.
func (i *issuer) bearer(t *testing.T, audience, subject string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "one"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims, _ := json.Marshal(map[string]any{"iss": i.URL, "aud": audience, "sub": subject, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + token
}

func TestATokenOfAnIssuerTellsTheProxyWhoAsks(t *testing.T) {
	t.Parallel()
	ours, theirs := newIssuer(t), newIssuer(t)
	head := fmt.Sprintf("issuers:\n- {name: cluster, url: %q, audience: cstproxy}\n", ours.URL)
	c := serve(t, withCallers(t, head, "subjects: [{issuer: cluster, subject: 'system:serviceaccount:app:backend'}]")...)
	good := ours.bearer(t, "cstproxy", "system:serviceaccount:app:backend")
	await(t, "the issuer's keys", func() bool {
		got, err := c.ask(http.MethodGet, c.data+"/v1/clients/alice/token", "", good)
		return err == nil && got.status == http.StatusOK
	})
	c.wantAnswer(http.StatusForbidden, "bob", good)
	for _, header := range []string{
		ours.bearer(t, "vault", "system:serviceaccount:app:backend"),
		ours.bearer(t, "cstproxy", "system:serviceaccount:app:other"),
		theirs.bearer(t, "cstproxy", "system:serviceaccount:app:backend"),
		good + "AA",
	} {
		c.wantAnswer(http.StatusUnauthorized, "alice", header)
	}
	c.wantAnswer(http.StatusUnauthorized, "alice")
	ours.Close()
	c.wantAnswer(http.StatusOK, "alice", good) // its keys are known
}

func TestAProxyWhoseIssuerIsGoneKnowsNobody(t *testing.T) {
	t.Parallel()
	gone := newIssuer(t)
	gone.Close()
	head := fmt.Sprintf("issuers:\n- {name: cluster, url: %q, audience: cstproxy}\n", gone.URL)
	c := serve(t, withCallers(t, head, "subjects: [{issuer: cluster, subject: backend}]")...)
	c.wantAnswer(http.StatusUnauthorized, "alice", gone.bearer(t, "cstproxy", "backend"))
	c.wantAnswer(http.StatusUnauthorized, "alice")
}

func TestACertificateTellsTheProxyWhoAsks(t *testing.T) {
	t.Parallel()
	own, callers := redistest.NewAuthority(t), redistest.NewAuthority(t)
	files := pair(own, "data")
	files["callers"] = string(callers.PEM())
	v := newVolume(t, files)
	c := serve(t, append(withCallers(t, "", "certificates: ['CN=backend']"), "CSTPROXY_TLS_CERT_FILE="+v.path("cert"),
		"CSTPROXY_TLS_KEY_FILE="+v.path("key"), "CSTPROXY_TLS_CLIENT_CA_FILE="+v.path("callers"))...)
	c.secured(own, callers.Certificate("backend")).wantAnswer(http.StatusOK, "alice")
	c.secured(own, callers.Certificate("other")).wantAnswer(http.StatusUnauthorized, "alice")
	c.secured(own).wantAnswer(http.StatusUnauthorized, "alice")
}

func TestTheUserAtASocketTellsTheProxyWhoAsks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ uid, status int }{
		"ours":      {os.Getuid(), http.StatusOK},
		"another's": {os.Getuid() + 1, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(t.TempDir(), "data.sock")
			environ := withCallers(t, "", fmt.Sprintf("uids: [%d]", tc.uid))
			c := start(t, append(environ, "CSTPROXY_LISTEN=unix:"+socket, "CSTPROXY_ADMIN_LISTEN=127.0.0.1:0"), "serve")
			c.data = "http://localhost"
			c.client = &http.Client{Timeout: patience, Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "unix", socket)
				},
			}}
			await(t, "the socket", func() bool {
				_, err := c.ask(http.MethodGet, c.data+"/openapi.yaml", "")
				return err == nil
			})
			c.wantAnswer(tc.status, "alice")
		})
	}
}

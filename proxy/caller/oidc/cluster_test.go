package oidc_test

import (
	"crypto/rsa"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/caller/oidc"
)

const (
	clusterHost = "kubernetes.default.svc.cluster.local"
	clusterURL  = "https://" + clusterHost
)

// cluster is a Kubernetes API server, as the Verifier in one of its pods sees it.
type cluster struct {
	*world

	authorities, bearer string
}

// newCluster starts a server with the certificate that is trusted, and that answers who shows the token "first".
func newCluster(t *testing.T) *cluster {
	t.Helper()
	return startCluster(t, newIssuer())
}

func startCluster(t *testing.T, i *issuer) *cluster {
	t.Helper()
	c := &cluster{authorities: filepath.Join(t.TempDir(), "ca.crt"), bearer: filepath.Join(t.TempDir(), "token")}
	certify(i, rsaKey())
	i.fault = apiServer(i, "first")
	write(t, c.authorities, trust(rsaKey()))
	write(t, c.bearer, "first\n")
	c.world = startWorld(t, i, oidc.Issuer{URL: clusterURL, CAFile: c.authorities, TokenFile: c.bearer})
	return c
}

func certify(i *issuer, key *rsa.PrivateKey) {
	i.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate(key)}, PrivateKey: key}}}
}

func trust(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(key)}))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// apiServer names its keys by its address, as kubeadm has it set up, and answers only who shows the token.
func apiServer(i *issuer, bearer string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+bearer:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/openid/v1/jwks":
			i.serveKeys(w)
		case r.URL.Path == "/.well-known/openid-configuration":
			_, _ = fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"https://10.0.0.1:6443/openid/v1/jwks"}`, clusterURL)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

func TestServiceAccountIsKnownByItsClustersToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		name := `"system:serviceaccount:wallets:backend"`
		raw := honestly(c.claims(`"alice"`, name, `"cstproxy"`, `["cstproxy"]`, exp(), exp()+`,`+at("nbf", time.Now())+`,"kubernetes.io":{"namespace":"wallets"}`))
		identity, err := c.verifier.Verify(t.Context(), raw)
		if want := (oidc.Identity{Issuer: "main", Subject: strings.Trim(name, `"`)}); err != nil || identity != want {
			t.Errorf("%v, %v, want %v", identity, err, want)
		}
		if places := slices.Compact(c.issuer.visited()); len(places) != 1 || places[0] != clusterHost+":443" {
			t.Errorf("the pod's token went to %v, want the cluster's own URL alone", places)
		}
	})
}

func TestClusterIsAskedWithTheTokenAndTheAuthoritiesOfTheMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.mustAccept(c.honest(), "before the rotation")
		c.issuer.set(func(i *issuer) {
			certify(i, attackerKey())
			i.fault = apiServer(i, "second")
			delete(i.keys, "rsa")
		})
		time.Sleep(time.Hour + 10*time.Second)
		c.mustAccept(c.honest(), "by the last good keys, for the files are old")
		write(t, c.bearer, "second")
		write(t, c.authorities, trust(attackerKey()))
		time.Sleep(time.Minute)
		c.mustRefuse(c.honest(), "by a key that the cluster has withdrawn")
		c.mustAccept(sign("ES256", p256Key(), `{"alg":"ES256","kid":"p256"}`, c.claims()), "by a key that it has")
	})
}

func TestClusterThatCannotBeTrustedOrAskedGivesNoKey(t *testing.T) {
	t.Parallel()
	troubles := map[string]func(*testing.T, *cluster){
		"a certificate of others": func(_ *testing.T, c *cluster) { c.issuer.set(func(i *issuer) { certify(i, attackerKey()) }) },
		"no TLS":                  func(_ *testing.T, c *cluster) { c.issuer.set(func(i *issuer) { i.tls = nil }) },
		"TLS 1.1": func(_ *testing.T, c *cluster) {
			c.issuer.set(func(i *issuer) { i.tls.MinVersion, i.tls.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
		},
		"another token":        func(t *testing.T, c *cluster) { write(t, c.bearer, "canary-token") },
		"a token of two lines": func(t *testing.T, c *cluster) { write(t, c.bearer, "canary-token\ncanary-line") },
		"an empty token":       func(t *testing.T, c *cluster) { write(t, c.bearer, "\n") },
		"no token":             func(_ *testing.T, c *cluster) { _ = os.Remove(c.bearer) },
		"no authorities":       func(_ *testing.T, c *cluster) { _ = os.Remove(c.authorities) },
		"empty authorities":    func(t *testing.T, c *cluster) { write(t, c.authorities, "") },
	}
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.away = true // until the trouble is there
				c := startCluster(t, i)
				synctest.Wait()
				trouble(t, c)
				i.set(func(i *issuer) { i.away = false })
				for range 10 {
					c.mustRefuse(c.honest(), "without a key")
					time.Sleep(10 * time.Second)
				}
				if said := c.said(); strings.Contains(said, "canary") || !strings.Contains(said, "issuer keys not fetched") {
					t.Errorf("the log, that must hold the trouble and not the pod's token: %s", said)
				}
			})
		})
	}
}

func TestKeysOfASecuredIssuerComeFromWhereItSaysButNotInTheClear(t *testing.T) {
	t.Parallel()
	for place, want := range map[string]bool{clusterURL: true, "https://localhost": true, "http://localhost": false, "https://me@localhost": false} {
		t.Run(strings.ReplaceAll(place, "/", ""), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				certify(i, rsaKey())
				i.fault = discovering(func(*http.Request) string { return place + "/keys" }, i.answer)
				authorities := filepath.Join(t.TempDir(), "ca.crt")
				write(t, authorities, trust(rsaKey()))
				w := startWorld(t, i, oidc.Issuer{URL: clusterURL, CAFile: authorities})
				if got := w.accepts(w.honest()); got != want {
					t.Errorf("accepted is %v, want %v: %s", got, want, w.said())
				}
			})
		})
	}
}

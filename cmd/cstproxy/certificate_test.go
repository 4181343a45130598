package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// pair returns what a volume holds of a new certificate and its key.
func pair(by *redistest.Authority, name string) map[string]string {
	certificate, key := by.Issue(name)
	return map[string]string{"cert": string(certificate), "key": string(key)}
}

// secured has the child's client speak TLS to both ports, and trust the authority.
func (c *child) secured(trusted *redistest.Authority, shown ...tls.Certificate) *child {
	c.data, c.admin = strings.Replace(c.data, "http:", "https:", 1), strings.Replace(c.admin, "http:", "https:", 1)
	c.client = newcomer(trusted, shown...)
	return c
}

// newcomer returns a client that opens a connection for each request.
func newcomer(trusted *redistest.Authority, shown ...tls.Certificate) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: trusted.Pool(), Certificates: shown},
	}}
}

// shows returns the name in the certificate that a server shows.
func shows(t *testing.T, url string, trusted *redistest.Authority) string {
	t.Helper()
	answer, err := newcomer(trusted).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.TLS.PeerCertificates[0].Subject.CommonName
}

func TestBothPortsSpeakTLSWithTheNewestCertificate(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	data, admin := newVolume(t, pair(authority, "data-1")), newVolume(t, pair(authority, "admin-1"))
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, append(environ,
		"CSTPROXY_TLS_CERT_FILE="+data.path("cert"), "CSTPROXY_TLS_KEY_FILE="+data.path("key"),
		"CSTPROXY_ADMIN_TLS_CERT_FILE="+admin.path("cert"), "CSTPROXY_ADMIN_TLS_KEY_FILE="+admin.path("key"))...)
	plain, err := c.client.Get(c.data + "/v1/clients/alice")
	if err != nil || plain.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %v, %v; want to be told that TLS is wanted", plain, err)
	}
	c.secured(authority)
	c.mustFetch("alice", "")
	if got := []string{shows(t, c.data+"/v1/clients/alice", authority), shows(t, c.admin+"/readyz", authority)}; got[0] != "data-1" || got[1] != "admin-1" {
		t.Errorf("the ports show %q", got)
	}

	kept := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}}}
	mustReach(t, kept, c.admin+"/livez")
	data.write(pair(authority, "data-2"))
	await(t, "the data API's new certificate", func() bool { return shows(t, c.data+"/v1/clients/alice", authority) == "data-2" })
	admin.write(pair(authority, "admin-2"))
	await(t, "the admin port's new certificate", func() bool { return shows(t, c.admin+"/readyz", authority) == "admin-2" })
	if who := mustReach(t, kept, c.admin+"/livez"); who != "admin-1" {
		t.Errorf("a connection that was open shows %q: it was broken", who)
	}

	// Half of a new pair: the old one stays until the other half comes.
	third := pair(authority, "data-3")
	second, err := os.ReadFile(data.path("key"))
	if err != nil {
		t.Fatal(err)
	}
	data.write(map[string]string{"cert": third["cert"], "key": string(second)})
	await(t, "word of the half pair", func() bool { return strings.Contains(c.written.String(), "changed file not used") })
	if got := shows(t, c.data+"/v1/clients/alice", authority); got != "data-2" {
		t.Errorf("with half a pair the port shows %q", got)
	}
	data.write(third)
	await(t, "the other half", func() bool { return shows(t, c.data+"/v1/clients/alice", authority) == "data-3" })
	series := c.series()
	for _, want := range []struct {
		series string
		value  float64
	}{
		{`cstproxy_reloads_total{file="tls_certificate",outcome="used"}`, 2},
		{`cstproxy_reloads_total{file="tls_certificate",outcome="refused"}`, 1},
		{`cstproxy_reloads_total{file="admin_tls_certificate",outcome="used"}`, 1},
	} {
		if got := series[want.series]; got != want.value {
			t.Errorf("%s is %v, want %v", want.series, got, want.value)
		}
	}
	for _, key := range []string{third["key"], string(second)} {
		if block, _ := pem.Decode([]byte(key)); strings.Contains(c.written.String(), strings.Split(key, "\n")[1]) || bytes.Contains([]byte(c.written.String()), block.Bytes[40:60]) {
			t.Error("the log holds a key")
		}
	}
}

// mustReach asks for a URL, keeps the connection, and returns whose certificate it was opened with.
func mustReach(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = new(bytes.Buffer).ReadFrom(answer.Body)
	return answer.TLS.PeerCertificates[0].Subject.CommonName
}

func TestAPortSpeaksNoOldTLSAndNoHTTP2(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	v := newVolume(t, pair(authority, "data"))
	_, environ := simulated(t, portaltest.Options{})
	c := serve(t, append(environ, "CSTPROXY_TLS_CERT_FILE="+v.path("cert"), "CSTPROXY_TLS_KEY_FILE="+v.path("key"))...)
	for version, wanted := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(c.data, "http://"), &tls.Config{
			RootCAs: authority.Pool(), MinVersion: version, MaxVersion: version, NextProtos: []string{"h2", "http/1.1"},
		})
		if (err == nil) != wanted {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err != nil {
			continue
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got == "h2" {
			t.Error("HTTP/2 is spoken")
		}
		_ = conn.Close()
	}
}

func TestACertificateOfACallerIsCheckedIfItIsShown(t *testing.T) {
	t.Parallel()
	authority, callers, strangers := redistest.NewAuthority(t), redistest.NewAuthority(t), redistest.NewAuthority(t)
	files := pair(authority, "data")
	files["callers"] = string(callers.PEM())
	v := newVolume(t, files)
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, append(environ, "CSTPROXY_TLS_CERT_FILE="+v.path("cert"), "CSTPROXY_TLS_KEY_FILE="+v.path("key"),
		"CSTPROXY_TLS_CLIENT_CA_FILE="+v.path("callers"))...)
	url := strings.Replace(c.data, "http:", "https:", 1) + "/v1/clients/alice"
	reaches := func(shown ...tls.Certificate) bool {
		client := newcomer(authority, shown...)
		if len(shown) > 0 { // whatever the server asks for
			client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown[0], nil }
		}
		answer, err := client.Get(url)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil
	}
	if !reaches() || !reaches(callers.Certificate("caller")) || reaches(strangers.Certificate("caller")) {
		t.Error("want nobody's certificate and a caller's to be let in, and a stranger's not")
	}
	files["callers"] = string(strangers.PEM())
	v.write(files)
	await(t, "the new authority", func() bool { return reaches(strangers.Certificate("caller")) })
	if reaches(callers.Certificate("caller")) {
		t.Error("who the old authority vouches for is let in still")
	}
}

func TestASessionIsNotResumedPastTheAuthorityThatOpenedIt(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			authority, callers := redistest.NewAuthority(t), redistest.NewAuthority(t)
			port := &portTLS{}
			if err := errors.Join(port.take(authority.Issue("data")), port.takeClientCA(callers.PEM())); err != nil {
				t.Fatal(err)
			}
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			server.Listener = port.secure(server.Listener)
			server.Start()
			t.Cleanup(server.Close)
			client := newcomer(authority, callers.Certificate("caller"))
			config := client.Transport.(*http.Transport).TLSClientConfig
			config.ClientSessionCache, config.MaxVersion = tls.NewLRUClientSessionCache(1), version
			reaches := func() (reached, resumed bool) {
				answer, err := client.Get(strings.Replace(server.URL, "http:", "https:", 1))
				if err != nil {
					return false, false
				}
				_ = answer.Body.Close()
				return true, answer.TLS.DidResume
			}
			reaches()
			if _, resumed := reaches(); !resumed {
				t.Fatal("no session was resumed before")
			}
			if err := port.takeClientCA(redistest.NewAuthority(t).PEM()); err != nil {
				t.Fatal(err)
			}
			if _, resumed := reaches(); resumed {
				t.Error("a session was resumed that nobody vouches for any more")
			}
		})
	}
}

func TestAPortThatIsTheCertificatesOwnIsTrustedByTheHealthcheck(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	v, other := newVolume(t, pair(authority, "admin-1")), newVolume(t, pair(authority, "other"))
	_, environ := simulated(t, portaltest.Options{})
	c := serve(t, append(environ, "CSTPROXY_ADMIN_TLS_CERT_FILE="+v.path("cert"), "CSTPROXY_ADMIN_TLS_KEY_FILE="+v.path("key"))...)
	admin := strings.TrimPrefix(c.admin, "http://")
	check := func(more ...string) int {
		return finish(t, append([]string{"CSTPROXY_ADMIN_LISTEN=" + admin, "CSTPROXY_ADMIN_TLS_KEY_FILE=/nowhere"}, more...), "healthcheck")
	}
	if code := check("CSTPROXY_ADMIN_TLS_CERT_FILE=" + v.path("cert")); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if code := check("CSTPROXY_ADMIN_TLS_CERT_FILE=" + other.path("cert")); code != exitFailed {
		t.Errorf("exit code %d for another's certificate", code)
	}
	if code := finish(t, []string{"CSTPROXY_ADMIN_LISTEN=" + admin}, "healthcheck"); code != exitFailed {
		t.Errorf("exit code %d without TLS", code)
	}
	v.write(pair(authority, "admin-2"))
	await(t, "the new certificate", func() bool { return check("CSTPROXY_ADMIN_TLS_CERT_FILE="+v.path("cert")) == exitDone })
}

func TestACertificateMustFitItsKeyAtTheStart(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	first, second := newVolume(t, pair(authority, "first")), newVolume(t, pair(authority, "second"))
	_, environ := simulated(t, portaltest.Options{})
	for name, files := range map[string][2]string{
		"another's key":  {first.path("cert"), second.path("key")},
		"no such file":   {first.path("none"), first.path("key")},
		"no certificate": {first.path("key"), first.path("key")},
		"an empty file":  {writeFile(t, ""), first.path("key")},
	} {
		for _, command := range []string{"serve", "check"} {
			t.Run(name+" for "+command, func(t *testing.T) {
				t.Parallel()
				c := start(t, append(environ, "CSTPROXY_TLS_CERT_FILE="+files[0], "CSTPROXY_TLS_KEY_FILE="+files[1]), command)
				if code := c.wait().ExitCode(); code != exitMisuse || !strings.Contains(c.written.String(), "tls_certificate: ") {
					t.Errorf("exit code %d: %s", code, c.written.String())
				}
			})
		}
	}
}

func TestTrustIsInOneCertificateAlone(t *testing.T) {
	t.Parallel()
	nameless := filepath.Join(t.TempDir(), "cert")
	authority := redistest.NewAuthority(t)
	if err := os.WriteFile(nameless, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := trustOnly(nameless); !errors.Is(err, errNameless) {
		t.Errorf("got %v for a certificate of nobody", err)
	}
	for _, file := range []string{"/nowhere", writeFile(t, "no certificate"), writeFile(t, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")} {
		if _, err := trustOnly(file); err == nil {
			t.Errorf("%s is trusted", file)
		}
	}
	v := newVolume(t, pair(authority, "own"))
	config, err := trustOnly(v.path("cert"))
	if err != nil {
		t.Fatal(err)
	}
	own, other := mustParse(t, v.path("cert")), mustParse(t, newVolume(t, pair(authority, "other")).path("cert"))
	options := x509.VerifyOptions{Roots: config.RootCAs, DNSName: config.ServerName, CurrentTime: time.Now()}
	if _, err := own.Verify(options); err != nil {
		t.Error(err)
	}
	if _, err := other.Verify(options); err == nil {
		t.Error("another certificate of the same authority is trusted")
	}
}

func mustParse(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

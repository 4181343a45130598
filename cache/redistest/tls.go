package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Authority vouches for certificates, for servers on this machine and for clients.
type Authority struct {
	tb          testing.TB
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority returns an Authority that nobody trusts yet.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{tb: tb}
	template := describe("test authority " + rand.Text())
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.key = newKey(tb)
	a.certificate = sign(tb, template, &Authority{certificate: template, key: a.key}, a.key)
	return a
}

// PEM returns the authority's own certificate.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.certificate.Raw) }

// Pool returns a pool that trusts the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Issue returns a new certificate under the name, and its key, both in PEM.
func (a *Authority) Issue(name string) (certificate, key []byte) {
	a.tb.Helper()
	template, own := describe(name), newKey(a.tb)
	template.DNSNames, template.IPAddresses = []string{"localhost"}, []net.IP{net.ParseIP(loopback)}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.tb.Fatalf("redistest: encode a key: %v", err)
	}
	return encode("CERTIFICATE", sign(a.tb, template, a, own).Raw), encode("PRIVATE KEY", der)
}

// Certificate is Issue for who wants no PEM.
func (a *Authority) Certificate(name string) tls.Certificate {
	a.tb.Helper()
	pair, err := tls.X509KeyPair(a.Issue(name))
	if err != nil {
		a.tb.Fatalf("redistest: read a certificate: %v", err)
	}
	return pair
}

// describe returns a template under the name that is good for an hour from a while ago.
func describe(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // it can't fail
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("redistest: make a key: %v", err)
	}
	return key
}

func sign(tb testing.TB, template *x509.Certificate, by *Authority, key *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		tb.Fatalf("redistest: sign a certificate: %v", err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("redistest: read a certificate: %v", err)
	}
	return signed
}

func encode(kind string, content []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
}

// SpeakTLS has the server speak TLS on its port from now on, with a new certificate of own. It takes clients alone whose
// certificate one of the others vouches for; without others, anybody.
func (s *Server) SpeakTLS(own *Authority, clients ...*Authority) {
	s.tb.Helper()
	certificate, key := own.Issue("redis")
	vouching, wanted := own.PEM(), "no"
	for _, client := range clients {
		vouching, wanted = append(vouching, client.PEM()...), "yes"
	}
	s.Do("CONFIG", "SET", "tls-auth-clients", wanted, "tls-ca-cert-file", s.write("ca", vouching),
		"tls-cert-file", s.write("cert", certificate), "tls-key-file", s.write("key", key))
	if _, port, _ := net.SplitHostPort(s.Addr()); !s.secured {
		s.Do("CONFIG", "SET", "port", 0)
		s.Do("CONFIG", "SET", "tls-port", port)
		s.secured = true
	}
}

// write writes a file of the server's and returns its path.
func (s *Server) write(name string, content []byte) string {
	s.tb.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.tb.Fatalf("redistest: %v", err)
	}
	return path
}

// SecureURL returns the rediss URL of a server that speaks TLS.
func (s *Server) SecureURL() string { return strings.Replace(s.URL(), "redis:", "rediss:", 1) }

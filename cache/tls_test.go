package cache_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
)

func TestRedisOverTLSIsTrustedOnlyWithACertificateThatHolds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	trusted := speakTLS(t, server)
	target := strings.Replace(server.URL(), "redis:", "rediss:", 1)

	store := fresh(t, target)
	// The first looks take longer than a call may: the system's own certificates are read.
	await(t, "the server's certificate to be refused", func() bool {
		err := store.Ping(t.Context())
		if err == nil {
			t.Fatal("a server was trusted whose certificate nobody signed")
		}
		_, refused := errors.AsType[x509.UnknownAuthorityError](err)
		return refused
	})

	client, _ := connect(t, target).(*redis.Client)
	client.Options().TLSConfig.RootCAs = trusted
	store = cache.NewRedis(partsOf(client, "p", &cache.Changes{}))
	reach(t, store, alice)
	token := newToken(alice)
	save(t, store, token)
	wantLoaded(t, store, alice, token)
}

// speakTLS makes the server speak TLS on its port, and returns the pool that trusts it.
func speakTLS(t *testing.T, server *redistest.Server) *x509.CertPool {
	t.Helper()
	lender := httptest.NewTLSServer(nil) // its certificate is made for tests
	defer lender.Close()
	certificate, dir := lender.TLS.Certificates[0], t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	must(t, err)
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
		return path
	}
	certFile := write("cert", "CERTIFICATE", certificate.Certificate[0])
	_, port, err := net.SplitHostPort(server.Addr())
	must(t, err)
	server.Do("CONFIG", "SET", "tls-auth-clients", "no", "tls-ca-cert-file", certFile, "tls-cert-file", certFile,
		"tls-key-file", write("key", "PRIVATE KEY", key))
	server.Do("CONFIG", "SET", "port", 0)
	server.Do("CONFIG", "SET", "tls-port", port)
	pool := x509.NewCertPool()
	pool.AddCert(lender.Certificate())
	return pool
}

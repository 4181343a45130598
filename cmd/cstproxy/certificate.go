package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
)

// The names by which log and metrics call the files of the ports' certificates.
const (
	fileOfCertificate      = "tls_certificate"
	fileOfClientCA         = "tls_client_ca"
	fileOfAdminCertificate = "admin_tls_certificate"
)

var errNoCertificate = errors.New("there is no certificate in it, in PEM")

// portTLS is what a port speaks TLS with. It may be replaced while the port listens: connections go on, new ones begin
// with what it is then. The zero portTLS is none. It is safe for concurrent use.
type portTLS struct {
	mu      sync.Mutex
	current *tls.Config
}

// ports are what the two ports speak TLS with.
type ports struct{ data, admin *portTLS }

// openPorts returns what config has the ports speak TLS with. Callers of the data API may show a certificate of a client
// authority, if there are any; whether they must is not decided here.
func openPorts(config Config, files *watch) (ports, error) {
	p := ports{data: &portTLS{}, admin: &portTLS{}}
	own, admins := [2]string{config.TLSCertFile, config.TLSKeyFile}, [2]string{config.AdminTLSCertFile, config.AdminTLSKeyFile}
	if _, err := files.addPair(fileOfCertificate, own, p.data.take); err != nil {
		return ports{}, err
	}
	if _, err := files.add(fileOfClientCA, config.TLSClientCAFile, p.data.takeClientCA); err != nil {
		return ports{}, err
	}
	if _, err := files.addPair(fileOfAdminCertificate, admins, p.admin.take); err != nil {
		return ports{}, err
	}
	return p, nil
}

// take takes a certificate and its key, in PEM.
func (p *portTLS) take(certificate, key []byte) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("read the certificate and its key: %w", err)
	}
	p.change(func(config *tls.Config) { config.Certificates = []tls.Certificate{pair} })
	return nil
}

// takeClientCA takes those who vouch for callers, in PEM.
func (p *portTLS) takeClientCA(pem []byte) error {
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return errNoCertificate
	}
	p.change(func(config *tls.Config) {
		config.ClientCAs, config.ClientAuth = authorities, tls.VerifyClientCertIfGiven
	})
	return nil
}

// change replaces the configuration by a changed copy: connections may be looking at the one before. Tickets outlive it, but
// crypto/tls holds whoever resumes a session to the authorities that there are then.
func (p *portTLS) change(with func(*tls.Config)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.current != nil {
		next = p.current.Clone()
	}
	with(next)
	p.current = next
}

func (p *portTLS) config() *tls.Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// secure returns the listener with TLS on its connections, or as it is if there is none. They speak HTTP/1.1: the limits
// of a server are those of a connection, and HTTP/2 would put hundreds of requests on one.
func (p *portTLS) secure(listener net.Listener) net.Listener {
	if p.config() == nil {
		return listener
	}
	return tls.NewListener(listener, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return p.config(), nil },
	})
}

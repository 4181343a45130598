package cache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Access is where Redis is, and what opens it: a user, a password, certificates. These may be replaced while connections
// are open: those go on, new ones are opened with what it is then. It is safe for concurrent use.
type Access struct {
	options *redis.UniversalOptions
	// Refused is called when Redis refuses the user and password, before the command that it happened to is tried once
	// more, with others if there are any by then. It may be nil, and set until Connect is called.
	Refused func()

	mu sync.Mutex
	// login is what the URL says, own what was taken over it.
	login, own  login
	roots       *x509.CertPool
	certificate *tls.Certificate
}

// login opens a connection. The zero value is none.
type login struct{ username, password session.Secret }

var (
	errNoTLS         = errors.New("certificates are for rediss:// only")
	errElsewhere     = errors.New("only the user and the password may change while the proxy runs")
	errNoCertificate = errors.New("there is no certificate in it, in PEM")
)

// NewAccess returns an Access to the Redis of a URL, which is
//
//	redis://user:password@host:6379/0             one server (rediss: over TLS)
//	unix:///run/redis.sock?db=0                   one server on this machine
//	redis://:password@host:26379?master_name=name&addr=host2:26379
//	                                              Sentinels (username=, password= are the servers' own)
//	redis://host:6379?addr=host2:6379             a Cluster (or ?cluster=true with one address)
//
// It may also set pool_size, and skip_verify for TLS. Time-outs and retries are not the URL's to set: they are what keeps
// a hung Redis from costing more than 250 ms.
// An error holds nothing of the URL: a password may turn up anywhere in it.
func NewAccess(target session.Secret) (*Access, error) {
	options, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	return &Access{options: options, login: loginOf(options)}, nil
}

func parseTarget(target session.Secret) (*redis.UniversalOptions, error) {
	u, err := url.Parse(target.Reveal())
	if err != nil || u.Fragment != "" {
		return nil, fmt.Errorf("parse the Redis URL: %w", errNoURL)
	}
	options, err := parse(u)
	if err != nil {
		return nil, fmt.Errorf("parse the Redis URL: %w", err)
	}
	return options, nil
}

func loginOf(o *redis.UniversalOptions) login {
	return login{username: session.NewSecret(o.Username), password: session.NewSecret(o.Password)}
}

// Kind says what kind of Redis it is.
func (a *Access) Kind() Kind {
	switch {
	case a.options.MasterName != "":
		return KindSentinel
	case a.options.IsClusterMode:
		return KindCluster
	}
	return KindServer
}

// Kind is a way in which Redis is run.
type Kind string

// The kinds.
const (
	KindServer   Kind = "server"
	KindSentinel Kind = "sentinel"
	KindCluster  Kind = "cluster"
)

// TakeURL takes the user and the password of the URL, which must lead to the same Redis.
func (a *Access) TakeURL(target session.Secret) error {
	options, err := parseTarget(target)
	if err != nil {
		return err
	}
	if placeOf(options) != placeOf(a.options) {
		return errElsewhere
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.login = loginOf(options)
	return nil
}

// place is all that a URL says besides the user and the password.
type place struct {
	addresses, master, server string
	sentinel                  string // its user and password, which are not taken anew
	database, pool            int
	cluster, unverified       bool
}

func placeOf(o *redis.UniversalOptions) place {
	p := place{
		addresses: strings.Join(o.Addrs, " "), master: o.MasterName, sentinel: o.SentinelUsername + " " + o.SentinelPassword,
		database: o.DB, pool: o.PoolSize, cluster: o.IsClusterMode,
	}
	if o.TLSConfig != nil {
		p.server, p.unverified = o.TLSConfig.ServerName, o.TLSConfig.InsecureSkipVerify
	}
	return p
}

// TakeUsername takes the user instead of the URL's.
func (a *Access) TakeUsername(username session.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own.username = username
}

// TakePassword takes the password instead of the URL's.
func (a *Access) TakePassword(password session.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own.password = password
}

// TakeRoots takes those who vouch for Redis, in PEM, instead of the system's.
func (a *Access) TakeRoots(pem []byte) error {
	roots := x509.NewCertPool()
	if a.options.TLSConfig == nil {
		return errNoTLS
	}
	if !roots.AppendCertsFromPEM(pem) {
		return errNoCertificate
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roots = roots
	return nil
}

// TakeCertificate takes the certificate to show Redis, and its key, in PEM.
func (a *Access) TakeCertificate(certificate, key []byte) error {
	if a.options.TLSConfig == nil {
		return errNoTLS
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("read the certificate and its key: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.certificate = &pair
	return nil
}

// Connect returns a client, which dials when first used.
func (a *Access) Connect() redis.UniversalClient {
	tune(a.options)
	a.options.CredentialsProvider = func() (username, password string) {
		now := a.now()
		return now.username.Reveal(), now.password.Reveal()
	}
	if a.options.TLSConfig != nil {
		a.options.Dialer = a.dial
	}
	client := redis.NewUniversalClient(a.options)
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(once{}) })
		cluster.AddHook(remap{cluster})
	}
	if a.Refused != nil {
		client.AddHook(anew{a})
	}
	return client
}

// now returns the login of the moment.
func (a *Access) now() login {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.own
	if now.username.IsZero() {
		now.username = a.login.username
	}
	if now.password.IsZero() {
		now.password = a.login.password
	}
	return now
}

// dial opens a connection over TLS, with the certificates of the moment.
func (a *Access) dial(ctx context.Context, network, address string) (net.Conn, error) {
	a.mu.Lock()
	config := a.options.TLSConfig.Clone()
	if a.roots != nil {
		config.RootCAs = a.roots
	}
	if a.certificate != nil {
		config.Certificates = []tls.Certificate{*a.certificate}
	}
	a.mu.Unlock()
	dialer := tls.Dialer{Config: config, NetDialer: &net.Dialer{Timeout: opTimeout, KeepAliveConfig: keepAlive()}}
	return dialer.DialContext(ctx, network, address)
}

// keepAlive is what go-redis dials with itself: it finds the dead before load balancers forget a connection.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}
}

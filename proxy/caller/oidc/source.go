package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

const (
	// timeout bounds a fetch: the discovery and the keys.
	timeout = 5 * time.Second
	// maxAnswer is far above what issuers send.
	maxAnswer = 256 << 10

	discoveryPath = "/.well-known/openid-configuration"
	// clusterKeys is where every Kubernetes API server has the keys of its service accounts.
	clusterKeys = "/openid/v1/jwks"
)

// source is where an issuer's keys come from. Its files are read anew for each fetch, because they rotate.
type source struct {
	issuer Issuer
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// fetch returns the issuer's keys of the moment.
func (s source) fetch(ctx context.Context) (keys, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bearer, err := readBearer(s.issuer.TokenFile)
	if err != nil {
		return nil, err
	}
	transport, err := s.transport()
	if err != nil {
		return nil, err
	}
	asking := &asking{transport: transport, bearer: bearer}
	place, err := s.discover(ctx, asking)
	if err != nil {
		return nil, err
	}
	body, err := asking.get(ctx, place)
	if err != nil {
		return nil, err
	}
	return readKeys(body)
}

// discover returns where the keys are.
func (s source) discover(ctx context.Context, asking *asking) (string, error) {
	body, err := asking.get(ctx, strings.TrimSuffix(s.issuer.URL, "/")+discoveryPath)
	if err != nil {
		return "", err
	}
	var found struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"` //nolint:tagliatelle // its name in OpenID Connect Discovery
	}
	if json.Unmarshal(body, &found) != nil || found.Issuer != s.issuer.URL {
		return "", errors.New("the discovery document is not the issuer's")
	}
	return s.keysAt(found.Keys)
}

// keysAt tells where to ask for the keys, when the issuer says that they are at place.
func (s source) keysAt(place string) (string, error) {
	own, err := url.Parse(s.issuer.URL)
	if err != nil {
		return "", err
	}
	if s.issuer.TokenFile != "" {
		return (&url.URL{Scheme: own.Scheme, Host: own.Host, Path: clusterKeys}).String(), nil
	}
	there, err := url.Parse(place)
	if err != nil || there.Scheme != own.Scheme || there.User != nil {
		return "", errors.New("the place of the keys can't be trusted")
	}
	if own.Scheme == "http" && !isLoopback(there.Hostname()) {
		return "", errors.New("the place of the keys can't be trusted")
	}
	return place, nil
}

// transport is made anew for each fetch and keeps no connection: fetches are far apart.
func (s source) transport() (*http.Transport, error) {
	authorities, err := readAuthorities(s.issuer.CAFile)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                  nil, // not from the environment: who stands between could hand out keys
		DialContext:            s.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
		DisableKeepAlives:      true,
		DisableCompression:     true, // the size is bounded as it is on the wire
		MaxResponseHeaderBytes: maxAnswer,
	}, nil
}

// asking asks one issuer, without an [http.Client], which would follow redirects.
type asking struct {
	transport *http.Transport
	bearer    string
}

// get returns the body of a 200.
func (a *asking) get(ctx context.Context, place string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, place, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	if a.bearer != "" {
		request.Header.Set("Authorization", "Bearer "+a.bearer)
	}
	answer, err := a.transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", place, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: status %d", place, answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("the answer is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", place, err)
	}
	return body, nil
}

// readAuthorities returns those in a PEM file; nil, the system's, for no file.
func readAuthorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is a value of crypto/tls
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", withoutPath(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("read the authorities: no certificate is in the file")
	}
	return pool, nil
}

// readBearer returns the token in a file, or none for no file.
func readBearer(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the issuer's token: %w", withoutPath(err))
	}
	bearer := strings.TrimSpace(string(text))
	if bearer == "" {
		return "", errors.New("read the issuer's token: the file is empty")
	}
	return bearer, nil
}

// withoutPath drops the path from an error of a file: it may be the token itself, in the wrong place.
func withoutPath(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}

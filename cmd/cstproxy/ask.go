package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// mostAnswer is far more than any of the proxy's own answers, /metrics included.
const mostAnswer = 16 << 20

// running is a port of the proxy that runs on this machine, for who asks it.
type running struct {
	// at is where it is asked, as a setting spells it.
	at     listenAddress
	scheme string
	client *http.Client
}

// reply is what a port said.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// reachData returns the data API.
func reachData(config Config) (*running, error) {
	return reach(config.Listen, config.TLSCertFile, dataCertFile)
}

// reachAdmin returns the admin port.
func reachAdmin(config Config) (*running, error) {
	return reach(config.AdminListen, config.AdminTLSCertFile, adminCertFile)
}

// reach returns the port that listens there. If it has a certificate, it is asked by TLS, and trusted for showing that one.
func reach(listening listenAddress, certFile, variable string) (*running, error) {
	r := &running{at: dialable(listening), scheme: "http"}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, r.at.Network, r.at.Address)
	}}
	if certFile != "" {
		trusted, err := trustOnly(certFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
		transport.TLSClientConfig, r.scheme = trusted, "https"
	}
	r.client = &http.Client{Transport: transport}
	return r, nil
}

// ask makes a GET, with a credential if there is one.
func (r *running) ask(ctx context.Context, target string, credential session.Secret) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.scheme+"://localhost"+target, http.NoBody)
	if err != nil {
		return reply{}, err
	}
	if !credential.IsZero() {
		request.Header.Set("Authorization", "Bearer "+credential.Reveal()) //nolint:forbidigo // a caller's own key goes to the proxy that knows its hash, and nowhere else
	}
	got, err := r.client.Do(request)
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return reply{}, outer.Err // without the URL, in which ids are
	}
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(got.Body, mostAnswer))
	return reply{status: got.StatusCode, header: got.Header, body: body}, err
}

func (r *running) close() { r.client.CloseIdleConnections() }

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func (p process) healthcheck() *cli.Command {
	return &cli.Command{
		Name:         "healthcheck",
		Usage:        "exit 0 if the running proxy is ready (for an exec probe)",
		Flags:        append(adminPart().flags(), outputFlag()),
		OnUsageError: wrongUsage(),
		Action: alone(func(ctx context.Context, c *cli.Command) error {
			config, err := adminPart().load(p.environ, givenFlags(c))
			if err != nil {
				return err
			}
			return p.askReady(ctx, config, formOf(c))
		}),
	}
}

// readyAnswer is what a healthcheck says in JSON. In text it says nothing if all is well: it is for a probe.
type readyAnswer struct {
	Ready   bool   `json:"ready"`
	Address string `json:"address"`
	// Status is what /readyz answered.
	Status int `json:"status"`
}

func (p process) askReady(ctx context.Context, config Config, as form) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	port, err := reachAdmin(config)
	if err != nil {
		return err
	}
	defer port.close()
	got, err := port.ask(ctx, "/readyz", session.Secret{})
	if err != nil {
		return err
	}
	if as == formJSON {
		err = p.printJSON(readyAnswer{Ready: got.status == http.StatusOK, Address: port.at.String(), Status: got.status})
	}
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("not ready: %s/readyz answered %d", port.at, got.status)
	}
	return err
}

var errNameless = errors.New("the certificate holds no name and no address")

// trustOnly trusts the certificate in the file, by whatever name it goes, and no other: the port is this host's own.
func trustOnly(file string) (*tls.Config, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errNoCertificate
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	names := slices.Clone(certificate.DNSNames)
	for _, address := range certificate.IPAddresses {
		names = append(names, address.String())
	}
	if len(names) == 0 {
		return nil, errNameless
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: names[0]}, nil
}

// dialable returns the address under which this host reaches itself. It is no name, for in a container there may be
// nothing that knows one.
func dialable(listening listenAddress) listenAddress {
	host, port, err := net.SplitHostPort(listening.Address)
	if listening.Network == "unix" || err != nil || !isEveryInterface(host) {
		return listening
	}
	loopback := "127.0.0.1"
	if strings.Contains(host, ":") {
		loopback = "::1"
	}
	return listenAddress{Network: "tcp", Address: net.JoinHostPort(loopback, port)}
}

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
)

func (p process) healthcheck() *cli.Command {
	return &cli.Command{
		Name:         "healthcheck",
		Usage:        "exit 0 if the running proxy is ready (for an exec probe)",
		Flags:        adminFlags(),
		OnUsageError: wrongUsage(),
		Action: alone(func(ctx context.Context, c *cli.Command) error {
			config, err := loadConfig(adminEnviron(p.environ), givenFlags(c))
			if err != nil {
				return err
			}
			return askReady(ctx, config)
		}),
	}
}

func adminFlags() []cli.Flag {
	return slices.DeleteFunc(settingFlags(), func(f cli.Flag) bool { return !isAdminFlag(f.Names()[0]) })
}

func isAdminFlag(name string) bool {
	return name == flagName(adminListen) || name == flagName(adminCertFile) || name == flagName(adminKeyFile)
}

// What an exec probe needs to know of the settings.
const (
	adminListen   = "CSTPROXY_ADMIN_LISTEN"
	adminCertFile = "CSTPROXY_ADMIN_TLS_CERT_FILE"
	adminKeyFile  = "CSTPROXY_ADMIN_TLS_KEY_FILE"
)

// adminEnviron keeps the settings that an exec probe needs, so that it works where nothing else is set (a demo) or
// readable (a secret's file); the key is asked of every configuration, and not used.
func adminEnviron(environ []string) []string {
	kept := slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return !slices.Contains([]string{adminListen, adminCertFile, adminKeyFile}, name)
	})
	// The data address is not known here, and must not seem to clash with the admin port.
	return append(kept, "PORTAL_API_KEY=unused", "CSTPROXY_LISTEN=127.0.0.1:0")
}

func askReady(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	transport, scheme := &http.Transport{}, "http"
	if config.AdminTLSCertFile != "" {
		trusted, err := trustOnly(config.AdminTLSCertFile)
		if err != nil {
			return fmt.Errorf("%s: %w", adminCertFile, err)
		}
		transport.TLSClientConfig, scheme = trusted, "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost/readyz", http.NoBody)
	if err != nil {
		return err
	}
	target := dialable(config.AdminListen)
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, target.Network, target.Address)
	}
	return get(&http.Client{Transport: transport}, request, func(status int) error {
		if status != http.StatusOK {
			return fmt.Errorf("not ready: %s/readyz answered %d", target, status)
		}
		return nil
	})
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

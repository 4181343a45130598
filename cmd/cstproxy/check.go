package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/cache"
)

// reachTime bounds each thing that check and healthcheck reach for.
const reachTime = 5 * time.Second

var errCheckFailed = errors.New("the check failed")

func (p process) check() *cli.Command {
	return &cli.Command{
		Name:         "check",
		Usage:        "validate the configuration and reach Redis and Portal's host; it sends Portal no key",
		Flags:        settingFlags(),
		OnUsageError: wrongUsage(),
		Action: p.configured(func(ctx context.Context, config Config) error {
			if _, err := newSeal(config); err != nil {
				return err
			}
			_ = p.tell("configuration", nil)
			redis := p.checkRedis(ctx, config)
			portal := p.tell("portal "+string(config.PortalAPIURL), reachPortal(ctx, config))
			if redis != nil || portal != nil {
				return errCheckFailed
			}
			return nil
		}),
	}
}

// tell prints one line about what was reached and returns err.
func (p process) tell(name string, err error) error {
	if err != nil {
		_, _ = fmt.Fprintf(p.out, "failed  %s: %v\n", name, err)
		return err
	}
	_, _ = fmt.Fprintf(p.out, "ok      %s\n", name)
	return nil
}

func (p process) checkRedis(ctx context.Context, config Config) error {
	if config.RedisURL.IsZero() {
		_, _ = fmt.Fprintln(p.out, "none    redis: REDIS_URL is not set, tokens are kept in the process")
		return nil
	}
	client, err := cache.Connect(config.RedisURL)
	if err != nil {
		return p.tell("redis", err)
	}
	redis := cache.NewRedis(cache.RedisParts{Client: client, Prefix: config.KeyPrefix, Lifetime: lifetime(config)})
	defer func() { _ = redis.Close() }()
	return p.tell("redis", redis.Ping(ctx))
}

// reachPortal asks for the host's root without a key. Any answer shows that it is there.
func reachPortal(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, string(config.PortalAPIURL)+"/", http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return get(&client, request, nil)
}

// get makes the request and, if accept is given, asks it about the status.
func get(client *http.Client, request *http.Request, accept func(status int) error) error {
	defer client.CloseIdleConnections()
	answer, err := client.Do(request)
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err // without the URL, which the line names already
	}
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, 1<<16)
	if accept == nil {
		return nil
	}
	return accept(answer.StatusCode)
}

func (p process) healthcheck() *cli.Command {
	return &cli.Command{
		Name:         "healthcheck",
		Usage:        "exit 0 if the running proxy is ready (for an exec probe)",
		Flags:        []cli.Flag{adminFlag()},
		OnUsageError: wrongUsage(),
		Action: alone(func(ctx context.Context, c *cli.Command) error {
			config, err := loadConfig(adminEnviron(p.environ), givenFlags(c))
			if err != nil {
				return err
			}
			return askReady(ctx, config.AdminListen)
		}),
	}
}

func adminFlag() cli.Flag {
	all := settingFlags()
	return all[slices.IndexFunc(all, func(f cli.Flag) bool { return slices.Contains(f.Names(), "admin-listen") })]
}

// adminEnviron keeps the one setting that an exec probe needs, so that it works where nothing else is set (a demo) or
// readable (a secret's file); the key is asked of every configuration, and not used.
func adminEnviron(environ []string) []string {
	kept := slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		return !strings.HasPrefix(pair, "CSTPROXY_ADMIN_LISTEN=")
	})
	// The data address is not known here, and must not seem to clash with the admin port.
	return append(kept, "PORTAL_API_KEY=unused", "CSTPROXY_LISTEN=127.0.0.1:0")
}

func askReady(ctx context.Context, admin listenAddress) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", http.NoBody)
	if err != nil {
		return err
	}
	target := dialable(admin)
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, target.Network, target.Address)
		},
	}}
	return get(&client, request, func(status int) error {
		if status != http.StatusOK {
			return fmt.Errorf("not ready: %s/readyz answered %d", target, status)
		}
		return nil
	})
}

// dialable returns the address under which this host reaches itself.
func dialable(listening listenAddress) listenAddress {
	host, port, err := net.SplitHostPort(listening.Address)
	if listening.Network == "unix" || err != nil || !isEveryInterface(host) {
		return listening
	}
	return listenAddress{Network: "tcp", Address: net.JoinHostPort("localhost", port)}
}

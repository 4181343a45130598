package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/metrics"
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
			files := &watch{log: slog.New(slog.DiscardHandler), metrics: metrics.New(metrics.Parts{})}
			if _, err := newSeal(config, files); err != nil {
				return err
			}
			if _, err := openPorts(config, files); err != nil {
				return err
			}
			_ = p.tell("configuration", nil)
			redis := p.checkRedis(ctx, config, files)
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

func (p process) checkRedis(ctx context.Context, config Config, files *watch) error {
	if config.RedisURL.IsZero() {
		_, _ = fmt.Fprintln(p.out, "none    redis: REDIS_URL is not set, tokens are kept in the process")
		return nil
	}
	access, err := openAccess(config, files)
	if err != nil {
		return p.tell("redis", err)
	}
	client := access.Connect()
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
	client := http.Client{Transport: &http.Transport{Proxy: config.PortalProxy.of()}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
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

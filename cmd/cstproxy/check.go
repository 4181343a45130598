package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// reachTime bounds each thing that check and healthcheck reach for.
const reachTime = 5 * time.Second

var errCheckFailed = errors.New("the check failed")

func (p process) check() *cli.Command {
	return &cli.Command{
		Name:         "check",
		Usage:        "validate the configuration and reach Redis and Portal's host; it sends Portal no key",
		Flags:        append(settingFlags(), outputFlag()),
		OnUsageError: wrongUsage(),
		Action: func(ctx context.Context, c *cli.Command) error {
			return p.configured(func(ctx context.Context, config Config) error {
				return p.examine(ctx, config, formOf(c))
			})(ctx, c)
		},
	}
}

func (p process) examine(ctx context.Context, config Config, as form) error {
	files := &watch{log: slog.New(slog.DiscardHandler), metrics: metrics.New(metrics.Parts{})}
	if _, err := newSeal(config, files); err != nil {
		return err
	}
	if _, err := openPorts(config, files); err != nil {
		return err
	}
	all := checked{OK: true}
	looks := []func() finding{
		func() finding { return found("configuration", "", nil) },
		func() finding { return checkRedis(ctx, config, files) },
		func() finding { return checkPortal(ctx, "portal", config.PortalAPIURL, config.PortalProxy) },
	}
	if slices.Contains(config.Passthrough, session.RouteEnclave) {
		looks = append(looks, func() finding { return checkPortal(ctx, "portal_mpc", config.PortalMPCURL, config.PortalProxy) })
	}
	for _, look := range looks {
		f := look()
		all.Checks = append(all.Checks, f)
		all.OK = all.OK && f.State != stateFailed
		if as == formText {
			_, _ = fmt.Fprintln(p.out, f)
		}
	}
	if as == formJSON {
		_ = p.printJSON(all)
	}
	if !all.OK {
		return errCheckFailed
	}
	return nil
}

// checked is what a check found, in JSON.
type checked struct {
	OK     bool      `json:"ok"`
	Checks []finding `json:"checks"`
}

// finding is what was found of one thing.
type finding struct {
	Name   string `json:"name"`
	Target string `json:"target,omitempty"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
}

// The states of a finding.
const (
	stateOK     = "ok"
	stateFailed = "failed"
	stateNone   = "none"
)

func found(name, target string, err error) finding {
	if err != nil {
		return finding{Name: name, Target: target, State: stateFailed, Detail: err.Error()}
	}
	return finding{Name: name, Target: target, State: stateOK}
}

// String is the finding on a line.
func (f finding) String() string {
	line := fmt.Sprintf("%-6s  %s", f.State, f.Name)
	if f.Target != "" {
		line += " " + f.Target
	}
	if f.Detail != "" {
		line += ": " + f.Detail
	}
	return line
}

func checkRedis(ctx context.Context, config Config, files *watch) finding {
	if config.RedisURL.IsZero() {
		return finding{Name: "redis", State: stateNone, Detail: "REDIS_URL is not set, tokens are kept in the process"}
	}
	access, err := openAccess(config, files)
	if err != nil {
		return found("redis", "", err)
	}
	client := access.Connect()
	redis := cache.NewRedis(cache.RedisParts{Client: client, Prefix: config.KeyPrefix, Lifetime: lifetime(config)})
	defer func() { _ = redis.Close() }()
	return found("redis", "", redis.Ping(ctx))
}

func checkPortal(ctx context.Context, name string, at baseURL, through portalProxy) finding {
	return found(name, string(at), reachPortal(ctx, at, through))
}

// reachPortal asks for the host's root without a key. Any answer shows that it is there.
func reachPortal(ctx context.Context, at baseURL, through portalProxy) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, string(at)+"/", http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{Proxy: through.of()}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	answer, err := client.Do(request)
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err // without the URL, which the line names already
	}
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.CopyN(io.Discard, answer.Body, 1<<16)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

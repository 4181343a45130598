package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func (p process) simulate() *cli.Command {
	return &cli.Command{
		Name:  "simulate",
		Usage: "run a simulated Portal alone",
		Description: "It keeps Portal's rules of a token's life, and has a switch for each point that Portal does not state. " +
			"It takes the Portal API Key " + portaltest.DefaultKey + ". Faults are set while it runs: PUT /_sim/behavior.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8081", Usage: "host:port to listen on"},
			speedFlag(1),
			lifeFlag("idle-ttl", 24*time.Hour, "how long a token lives without use, in simulated time"),
			lifeFlag("refresh-window", 168*time.Hour, "how long after its mint use extends a token, in simulated time"),
			&cli.IntFlag{Name: "rate-limit", Value: 200, Usage: "requests a rolling minute of simulated time for each API, 0 for no limit", Validator: notNegative},
			&cli.BoolFlag{Name: "mint-kills-older", Usage: "a new mint ends the client's older tokens"},
			&cli.BoolFlag{Name: "outlives-window", Usage: "a token lives out its last idle time beyond the refresh window"},
			&cli.BoolFlag{Name: "slide-on-error", Usage: "a 4xx other than 401 extends a token as well"},
			&cli.IntFlag{Name: "unknown-client-status", Value: 404, Usage: "answer for an unknown client: 400, 401, 403 or 404", Validator: unknownStatus},
			&cli.BoolFlag{Name: "any-client", Usage: "a mint for an unknown client makes it"},
		},
		OnUsageError: wrongUsage(),
		Action:       alone(p.runSimulated),
	}
}

func (p process) runSimulated(ctx context.Context, c *cli.Command) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.String("listen"))
	if err != nil {
		return fmt.Errorf("listen for the simulated Portal: %w", err)
	}
	simulated := portaltest.New(portaltest.Options{
		Now:                 portaltest.Clock(time.Now(), c.Float("speed")),
		IdleTTL:             c.Duration("idle-ttl"),
		RefreshWindow:       c.Duration("refresh-window"),
		RateLimit:           c.Int("rate-limit"),
		MintKillsOlder:      c.Bool("mint-kills-older"),
		OutlivesWindow:      c.Bool("outlives-window"),
		SlideOnError:        c.Bool("slide-on-error"),
		UnknownClientStatus: c.Int("unknown-client-status"),
		AnyClient:           c.Bool("any-client"),
	})
	_, _ = fmt.Fprintf(p.out, "PORTAL_API_URL=http://%s PORTAL_API_KEY=%s\n", listener.Addr(), portaltest.DefaultKey)
	return serveSimulated(ctx, listener, simulated)
}

func lifeFlag(name string, fallback time.Duration, usage string) cli.Flag {
	return &cli.DurationFlag{Name: name, Value: fallback, Usage: usage, Validator: func(life time.Duration) error {
		if life <= 0 {
			return fmt.Errorf("got %s, want a duration above 0", life)
		}
		return nil
	}}
}

func notNegative(number int) error {
	if number < 0 {
		return fmt.Errorf("got %d, want 0 or more", number)
	}
	return nil
}

func unknownStatus(status int) error {
	if !slices.Contains([]int{400, 401, 403, 404}, status) {
		return fmt.Errorf("got %d, want 400, 401, 403 or 404", status)
	}
	return nil
}

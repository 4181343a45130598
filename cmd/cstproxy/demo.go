package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

const demoClient = "cm0r6nkek00ej10dwwx8wdjmf"

func (p process) demo() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "run the proxy in front of a simulated Portal; no setting needed",
		Description: "Simulated users fetch their tokens, and time runs fast, for the proxy and the simulated Portal alike: with " +
			"--speed 3600 an hour passes in a second, so that a token's week takes less than three minutes. Its status page, on the " +
			"admin port, shows it. With REDIS_URL the time is Redis's, and runs no faster.",
		Flags:        demoFlags(),
		OnUsageError: wrongUsage(),
		Action:       alone(p.runDemo),
	}
}

// demoSpeed has a token's week take less than three minutes.
const demoSpeed = 3600

// demoFlags leaves out the flags of what demoEnviron sets: a flag would win over it.
func demoFlags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range settings() {
		if s.flag != "" && !s.client && !strings.HasPrefix(s.variable, portalPrefix) {
			flags = append(flags, s.cliFlag())
		}
	}
	return append(flags, speedFlag(demoSpeed),
		&cli.IntFlag{Name: "users", Value: 24, Usage: "how many simulated users fetch their tokens, 0 to 1000", Validator: func(users int) error {
			if users < 0 || users > 1000 {
				return fmt.Errorf("got %d, want 0 to 1000", users)
			}
			return nil
		}})
}

func speedFlag(fallback float64) cli.Flag {
	return &cli.FloatFlag{Name: "speed", Value: fallback, Usage: "how many times as fast as ours simulated time runs, from 0.001 to 1000000", Validator: func(speed float64) error {
		if !(speed >= 0.001 && speed <= 1_000_000) {
			return fmt.Errorf("got %v, want 0.001 to 1000000", speed)
		}
		return nil
	}}
}

func (p process) runDemo(ctx context.Context, c *cli.Command) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the simulated Portal: %w", err)
	}
	config, err := loadConfig(demoEnviron(p.environ, listener.Addr().String()), givenFlags(c))
	if err != nil {
		_ = listener.Close()
		return err
	}
	show := newShow(config, c.Float("speed"), c.Int("users"))
	now := portaltest.Clock(p.clock(), show.speed)
	if show.sharesClock {
		now = p.clock
	}
	a, err := wire(config, surroundings{local: now, err: p.err, log: newLog(config, p.err), demo: show.page()})
	if err != nil {
		_ = listener.Close()
		return err
	}
	simulated := portaltest.New(portaltest.Options{
		Now: now, IdleTTL: config.IdleTTL, RefreshWindow: config.RefreshWindow, RateLimit: 200, AnyClient: true,
	})
	group, running := errgroup.WithContext(ctx)
	a.ready = func(data, admin net.Addr) {
		show := show.at(data, admin)
		_, _ = io.WriteString(p.out, show.text())
		group.Go(func() error { show.play(running, now); return nil })
	}
	group.Go(func() error { return serveSimulated(running, listener, simulated) })
	group.Go(func() error { return a.serve(running) })
	return group.Wait()
}

// portalPrefix begins every variable that says where Portal is and what it lets in.
const portalPrefix = "PORTAL_"

// demoEnviron points the proxy at the simulated Portal, whatever Portal the environment names.
func demoEnviron(environ []string, address string) []string {
	own := slices.DeleteFunc(slices.Clone(environ), func(pair string) bool { return strings.HasPrefix(pair, portalPrefix) })
	// First, so that one who sets it has it: simulated tokens must not turn up where real ones are looked for.
	own = slices.Insert(own, 0, "CSTPROXY_KEY_PREFIX=cstproxy-demo", "CSTPROXY_LOG_LEVEL=warn") // its users would fill the screen
	return append(own, "PORTAL_API_URL=http://"+address, "PORTAL_MPC_URL=http://"+address, "PORTAL_API_KEY="+portaltest.DefaultKey)
}

// serveSimulated serves a simulated Portal until ctx ends.
func serveSimulated(ctx context.Context, listener net.Listener, simulated *portaltest.Portal) error {
	server := &http.Server{Handler: simulated, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		simulated.Close()
		_ = server.Close()
	})
	defer stop()
	return until(server.Serve(listener))
}

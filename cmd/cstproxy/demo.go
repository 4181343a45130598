package main

import (
	"context"
	"fmt"
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
		Description: "With --speed 3600 an hour passes in a second, for the proxy and the simulated Portal alike, so that a " +
			"token's week takes less than three minutes.",
		Flags:        demoFlags(),
		OnUsageError: wrongUsage(),
		Action:       alone(p.runDemo),
	}
}

// demoFlags leaves out the flags of what demoEnviron sets: a flag would win over it.
func demoFlags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range settings() {
		if s.flag != "" && !s.client && !strings.HasPrefix(s.variable, portalPrefix) {
			flags = append(flags, s.cliFlag())
		}
	}
	return append(flags, speedFlag())
}

func speedFlag() cli.Flag {
	return &cli.FloatFlag{Name: "speed", Value: 1, Usage: "how many times as fast as ours simulated time runs, from 0.001 to 1000000", Validator: func(speed float64) error {
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
	now := portaltest.Clock(time.Now(), c.Float("speed"))
	local := now
	if !config.RedisURL.IsZero() {
		local = p.clock // its time is Redis's, which runs no faster
	}
	a, err := wire(config, surroundings{local: local, err: p.err, log: newLog(config, p.err)})
	if err != nil {
		_ = listener.Close()
		return err
	}
	simulated := portaltest.New(portaltest.Options{
		Now: now, IdleTTL: config.IdleTTL, RefreshWindow: config.RefreshWindow, RateLimit: 200, AnyClient: true,
	})
	p.printDemo(config)
	group, running := errgroup.WithContext(ctx)
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
	own = slices.Insert(own, 0, "CSTPROXY_KEY_PREFIX=cstproxy-demo")
	return append(own, "PORTAL_API_URL=http://"+address, "PORTAL_MPC_URL=http://"+address, "PORTAL_API_KEY="+portaltest.DefaultKey)
}

func (p process) printDemo(config Config) {
	_, _ = fmt.Fprintf(p.out, `A token for a client, minted the first time and from the cache after that:
  curl -s %[1]s/v1/clients/%[3]s/token
What is known about it, without the token:
  curl -s %[1]s/v1/clients/%[3]s
As a backend asks Portal itself today:
  curl -s -X POST %[1]s/api/v1/custodians/clients/%[3]s/session
What it cost:
  curl -s %[2]s/metrics | grep ^cstproxy_mints
Stop with Ctrl-C.
`, target(config.Listen), target(config.AdminListen), demoClient)
}

// target returns curl's arguments for a server that listens there, but for a path at the end.
func target(listening listenAddress) string {
	if listening.Network == "unix" {
		return "--unix-socket " + listening.Address + " http://localhost"
	}
	return "http://" + dialable(listening).Address
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

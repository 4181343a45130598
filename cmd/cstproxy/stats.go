package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// shortestInterval keeps the reading of /metrics from being what the proxy is busy with.
const shortestInterval = 100 * time.Millisecond

func (p process) stats() *cli.Command {
	return &cli.Command{
		Name:  "stats",
		Usage: "show what the running proxy does: live in a terminal, else once",
		Description: "It reads /metrics of the admin port. Rates are over one interval, the rest is since the start of the proxy. " +
			"What the proxy does not tell is - in text and null in JSON; what has no limit is \"unlimited\". " +
			"With --output json there is one object for each interval until Ctrl-C, with --once a single one.",
		Flags: append([]cli.Flag{
			&cli.DurationFlag{Name: "interval", Value: 2 * time.Second, Usage: "time between two looks", Validator: func(interval time.Duration) error {
				if interval < shortestInterval {
					return fmt.Errorf("got %s, want %s or more", interval, shortestInterval)
				}
				return nil
			}},
			&cli.BoolFlag{Name: "once", Usage: "look for one interval, say what there was, and end"},
			outputFlag(),
		}, adminPart().flags()...),
		OnUsageError: wrongUsage(),
		Action:       alone(p.runStats),
	}
}

func (p process) runStats(ctx context.Context, c *cli.Command) error {
	config, err := adminPart().load(p.environ, givenFlags(c))
	if err != nil {
		return err
	}
	port, err := reachAdmin(config)
	if err != nil {
		return err
	}
	defer port.close()
	looks := &looks{port: port, interval: c.Duration("interval"), clock: p.clock}
	if err := looks.first(ctx); err != nil {
		return err
	}
	_, isTerminal := terminal(p.out)
	switch {
	case formOf(c) == formJSON && c.Bool("once"):
		return looks.once(ctx, func(r report) error { return p.printJSON(r) })
	case formOf(c) == formJSON:
		return looks.each(ctx, func(r report) error { return p.printJSON(r) })
	case c.Bool("once") || !isTerminal || p.isDumb():
		return looks.once(ctx, p.printReport)
	}
	return p.watchReports(ctx, looks)
}

// looks are looks at /metrics, one after the other.
type looks struct {
	port     *running
	interval time.Duration
	clock    func() time.Time
	// last is the reading before.
	last reading
}

// look reads /metrics.
func (l *looks) look(ctx context.Context) (reading, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	got, err := l.port.ask(ctx, "/metrics", session.Secret{})
	if err != nil {
		return reading{}, fmt.Errorf("no answer from %s: %w\nwhat to do: is the proxy running? %s, or --%s, says where its admin port listens",
			l.port.at, err, adminListen, flagName(adminListen))
	}
	found, err := readMetrics(got.body, l.clock())
	if got.status != http.StatusOK || err != nil || !found.has("cstproxy_build_info") {
		return reading{}, fmt.Errorf("%s/metrics answered with status %d, and not as cstproxy does\nwhat to do: is %s that of the proxy? If it speaks TLS, set %s too",
			l.port.at, got.status, adminListen, adminCertFile)
	}
	return found, nil
}

func (l *looks) first(ctx context.Context) (err error) {
	l.last, err = l.look(ctx)
	return err
}

// next reports on one interval, once it is over. It returns ctx's error when that ends.
func (l *looks) next(ctx context.Context) (report, error) {
	wait := time.NewTimer(l.interval)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return report{}, ctx.Err()
	case <-wait.C:
	}
	now, err := l.look(ctx)
	if err != nil {
		return report{}, err
	}
	before := l.last
	l.last = now
	return compareReadings(before, now), nil
}

// once shows one interval.
func (l *looks) once(ctx context.Context, show func(report) error) error {
	r, err := l.next(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // whoever ends it has seen enough
	}
	if err != nil {
		return err
	}
	return show(r)
}

// each shows every interval until ctx ends.
func (l *looks) each(ctx context.Context, show func(report) error) error {
	for ctx.Err() == nil {
		if err := l.once(ctx, show); err != nil {
			return err
		}
	}
	return nil
}

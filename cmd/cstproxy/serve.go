package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
)

const (
	// drainTime is how long requests in flight have at the end: less than the 10 s that container engines give.
	drainTime = 7 * time.Second
	// lastWords is how long those cut off then have to be told so.
	lastWords = time.Second
)

func (p process) serve() *cli.Command {
	return &cli.Command{
		Name:         "serve",
		Usage:        "run the proxy",
		Flags:        settingFlags(),
		OnUsageError: wrongUsage(),
		Action: p.configured(func(ctx context.Context, config Config) error {
			around := surroundings{local: p.clock, err: p.err, log: newLog(config, p.err)}
			warn(config, around.log)
			limitMemory(ctx, memlimit.FromCgroup, around.log)
			memory := debug.SetMemoryLimit(-1)
			collectSooner(memory, p.environ)
			config.MemoryEntries = entries(ctx, config.MemoryEntries, memory, around.log)
			a, err := wire(config, around)
			if err != nil {
				return err
			}
			return a.serve(ctx)
		}),
	}
}

// serve listens, serves until ctx ends, drains, and returns nil if all went well.
func (a *application) serve(ctx context.Context) error {
	defer a.close()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	a.store.look(ctx)
	data, err := listen(ctx, a.config.Listen, a.config.SocketMode)
	if err != nil {
		return fmt.Errorf("listen for the data API: %w", err)
	}
	admin, err := listen(ctx, a.config.AdminListen, a.config.SocketMode)
	if err != nil {
		_ = data.Close()
		return fmt.Errorf("listen for the admin port: %w", err)
	}
	servers := &servers{data: a.server(a.data), admin: a.server(a.admin)}
	servers.data.ConnContext = caller.ConnContext
	a.health.Dismiss(servers.data)
	open := a.bound(servers.data, portData, connections(ctx, a.config.MaxConnections, a.log))
	a.bound(servers.admin, portAdmin, adminConnections)
	strict := a.strictly(servers.data, a.answering(servers.data, open, a.ports.data.secure(data)))
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return until(servers.data.Serve(strict)) })
	group.Go(func() error { return until(servers.admin.Serve(a.ports.admin.secure(admin))) })
	group.Go(func() error { a.store.run(background); return nil })
	group.Go(func() error { a.files.run(background); return nil })
	group.Go(func() error { a.audit.follow(background); return nil })
	group.Go(func() error { <-running.Done(); defer stop(); return a.drain(ctx, servers) })
	a.health.Started()
	a.announce(ctx, data.Addr(), admin.Addr())
	if a.ready != nil {
		a.ready(data.Addr(), admin.Addr())
	}
	return group.Wait()
}

// announce says in one line what this replica is, and where.
func (a *application) announce(ctx context.Context, data, admin net.Addr) {
	a.log.InfoContext(ctx, "serving", "version", build().Version, "listen", data.String(), "admin_listen", admin.String(),
		"portal", hostOf(a.config.PortalAPIURL), "store", a.store.kind, "callers", a.whoMayAsk(), "refresh", string(a.config.Refresh),
		"mint_rate", a.config.MintRate.String(), "probe_rate", a.config.ProbeRate.String(), "mint_ahead", a.config.MintAhead.String(), "traces", a.traces(),
		"passthrough", cmp.Or(a.config.Passthrough.String(), "off"))
}

// traces says where traces go.
func (a *application) traces() string {
	if a.config.CollectorURL == "" {
		return "off"
	}
	return hostOf(a.config.CollectorURL)
}

// hostOf returns the host of a URL that was checked, with its port.
func hostOf(u baseURL) string {
	return u.parsed().Host
}

// whoMayAsk is what an operator must not be wrong about.
func (a *application) whoMayAsk() string {
	if a.config.CallersFile == "" {
		return "anybody on this machine"
	}
	return "those in the callers file"
}

type servers struct{ data, admin *http.Server }

// server bounds what a connection may cost. Answers may take as long as a flight.
func (a *application) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second, // shorter than the drain
		WriteTimeout:      10*time.Second + 2*flightDeadline(a.config),
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// The ports, as those who count name them.
const (
	portData  = "data"
	portAdmin = "admin"

	// adminConnections are more than probes and scrapers make, and none of them the data API's.
	adminConnections = 128
)

func portNames() []string { return []string{portData, portAdmin} }

// bound keeps a server to so many connections.
func (a *application) bound(server *http.Server, port string, most int) *proxy.Connections {
	open := proxy.NewConnections(most, func() { a.metrics.Dropped(port) })
	open.Guard(server)
	return open
}

// answering has hits answered on the connections of the data API, where there is nothing to them but a token.
func (a *application) answering(server *http.Server, open *proxy.Connections, listener net.Listener) net.Listener {
	if a.config.CallersFile != "" || a.audit != nil || a.config.CollectorURL != "" || len(a.config.Passthrough) > 0 {
		return listener
	}
	a.hits = proxy.NewHits(proxy.HitParts{Server: a.api, Host: caller.AnonymousHost, Connections: open})
	a.hits.Guard(server)
	return a.hits.Listener(listener)
}

// until makes a server's ordinary end no error.
func until(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// drain ends the servers: readiness first, and the rest once whoever goes by it had time to see that, if there is a signal
// to end and nothing failed. Then there are no new connections, and requests in flight finish. What has not finished by
// then is told that this replica is shutting down. The admin port goes last, so that readiness can be seen to end.
func (a *application) drain(serving context.Context, servers *servers) error {
	ctx := context.WithoutCancel(serving)
	a.health.Drain()
	if a.hits != nil {
		a.hits.Stop()
	}
	a.log.InfoContext(ctx, "draining", "delay", a.config.DrainDelay.String())
	if serving.Err() != nil {
		<-time.After(a.config.DrainDelay)
	}
	patience, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	err := servers.data.Shutdown(patience)
	a.broker.Close(patience)
	if err != nil {
		cut, cancel := context.WithTimeout(ctx, lastWords)
		defer cancel()
		err = servers.data.Shutdown(cut)
	}
	if err != nil {
		a.log.WarnContext(ctx, "connections cut off", "error", err)
	}
	err = errors.Join(servers.admin.Close(), servers.data.Close())
	a.log.InfoContext(ctx, "ended")
	return err
}

func (a *application) close() {
	var group sync.WaitGroup
	group.Go(a.endSpans)
	defer group.Wait()
	a.portal.Close()
	if callers, ok := a.callers.(*caller.Callers); ok {
		callers.Close()
	}
	a.audit.close()
	if err := a.store.close(); err != nil {
		a.log.Warn("store not closed", "error", err)
	}
}

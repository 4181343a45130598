package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/metrics/spans"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// application is the proxy, wired and not yet listening.
type application struct {
	config  Config
	log     *slog.Logger
	metrics *metrics.Metrics
	spans   *spans.Tracer
	files   *watch
	store   store
	portal  *portal.Client
	broker  *session.Broker
	callers proxy.Callers
	audit   *audit
	health  *proxy.Health
	data    http.Handler
	// api is what data serves at last, hits what serves without it where it can; nil where nothing does.
	api   *proxy.Server
	hits  *proxy.Hits
	admin http.Handler
	ports ports
	// ready, if there is one, is told where the ports are once they are open.
	ready func(data, admin net.Addr)
}

// surroundings is what the proxy has of the process that it runs in.
type surroundings struct {
	// local is the clock of this machine.
	local func() time.Time
	// err is where log writes, and the audit may.
	err io.Writer
	log *slog.Logger
	// demo is what the status page says of it, should this be one.
	demo proxy.Demo
}

// wire puts the parts together, from the inside out. This is the only place where they meet.
func wire(config Config, around surroundings) (*application, error) {
	log, local := around.log, around.local
	a := &application{config: config, log: log}
	a.metrics = newMetrics(traceOf(config))
	a.files = &watch{log: log, metrics: a.metrics}
	var err error
	if a.audit, err = newAudit(config, a.metrics, log, around.err); err != nil {
		return nil, err
	}
	key, err := a.open(local)
	if err != nil {
		return nil, err
	}
	a.portal = newPortal(config, key, a.spans)
	guard := a.guarded(key)
	a.metrics.Look(a.looks(guard))
	a.broker = a.newBroker(guard)
	a.health = &proxy.Health{Checks: []proxy.Check{{
		Name: "store", Probe: a.store.ping, Optional: config.RedisDown == redisDownMint,
	}}}
	a.answer(key, around.demo)
	return a, nil
}

// answer makes what the two ports answer.
func (a *application) answer(key *portalKey, demo proxy.Demo) {
	parts := proxy.Parts{
		Callers: a.callers, Broker: a.broker, Lifetime: lifetime(a.config), Meter: a.metrics, Now: a.store.now, Log: a.log,
		MaxInFlight: a.config.MaxInFlight, Audit: a.auditor(), Trace: traceOf(a.config), Version: build().Version,
		Passthrough: a.passthrough(key),
	}
	a.api = proxy.New(parts)
	a.data = a.spans.Requests(a.api)
	parts.Callers, parts.Passthrough = caller.NewPage(), nil
	a.admin = proxy.NewAdmin(proxy.AdminParts{
		Health: a.health, Metrics: a.metrics.Handler(), Lifeline: proxy.NewLifeline(parts), Version: build(), Demo: demo,
	})
}

// newBroker returns the Broker, which asks Portal through guard.
func (a *application) newBroker(guard *portal.Guard) *session.Broker {
	return session.NewBroker(session.Parts{
		Store: a.store.tokens, Leaser: a.metrics.Leases(a.store.leases), Registry: a.store.registry,
		Portal:    a.audit.portal(a.metrics.Mints(guard)),
		Lifetime:  lifetime(a.config),
		StoreDown: session.StoreDown(a.config.RedisDown),
		Limits:    session.Limits{Waiting: a.config.MaxWaiting, Flights: a.config.MaxAtPortal},
		Deadline:  flightDeadline(a.config),
		Now:       a.store.now,
		Sent:      a.store.sent,
		Log:       a.log,
		Index:     a.store.index,
		Replaced:  a.metrics.Replaced,
	})
}

// open opens all that files are part of, and returns the Portal API Key.
func (a *application) open(local func() time.Time) (key *portalKey, err error) {
	if a.ports, err = openPorts(a.config, a.files); err != nil {
		return nil, err
	}
	if a.callers, err = openCallers(a.config, a.files); err != nil {
		return nil, err
	}
	if key, err = newPortalKey(a.config, a.files); err != nil {
		return nil, err
	}
	if a.spans, err = openSpans(a.config, a.files); err != nil {
		return nil, err
	}
	if a.store, err = openStore(a.config, a.files, a.spans, local); err != nil {
		return nil, err
	}
	key.tellTo(a.store.rekeyed)
	return key, nil
}

// auditor returns nothing at all if there is no audit.
func (a *application) auditor() proxy.Auditor {
	if a.audit == nil {
		return nil
	}
	return a.audit
}

// guarded wraps what asks Portal: each attempt within the budget, a retry of it, and nothing that is sure to be refused.
func (a *application) guarded(key *portalKey) *portal.Guard {
	paced := portal.NewPaced(a.metrics.PortalAttempts(a.portal), a.metrics.Budget(a.store.budget))
	key.check = func(ctx context.Context, other session.Secret) error {
		return paced.KeyCheck(a.metrics.KeyChecks(a.portal.With(other).CheckKey))(ctx)
	}
	return portal.NewGuard(portal.GuardParts{
		Next:     portal.NewRetry(paced),
		CheckKey: paced.KeyCheck(a.metrics.KeyChecks(a.portal.CheckKey)),
		Budget:   a.store.budget,
		Key:      key.current,
		Refused:  key.reread,
		Succeed:  key.succeed,
	})
}

// flightDeadline leaves room for one retry, or for waiting as long as an attempt may take.
func flightDeadline(config Config) time.Duration { return 2 * config.PortalTimeout }

func lifetime(config Config) session.Lifetime {
	return session.Lifetime{
		IdleTTL: config.IdleTTL, RefreshWindow: config.RefreshWindow,
		SafetyMargin: config.SafetyMargin, MinTTL: config.MinTTL, Refresh: config.Refresh,
		MintAhead: config.MintAhead,
	}
}

func newPortal(config Config, key *portalKey, tracer *spans.Tracer) *portal.Client {
	paths := portal.V1
	if config.PortalAPIVersion == apiV3 {
		paths = portal.V3
	}
	return portal.New(portal.Parts{
		BaseURL: string(config.PortalAPIURL), Paths: paths, Timeout: config.PortalTimeout,
		Key: key.current, UserAgent: "cstproxy/" + build().Version, Proxy: config.PortalProxy.of(),
		Wrap: tracer.Portal(portal.Asked),
	})
}

func newLog(config Config, to io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: config.LogLevel}
	if config.LogFormat == logText {
		return slog.New(slog.NewTextHandler(to, options))
	}
	return slog.New(slog.NewJSONHandler(to, options))
}

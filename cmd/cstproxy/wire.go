package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// application is the proxy, wired and not yet listening.
type application struct {
	config  Config
	log     *slog.Logger
	metrics *metrics.Metrics
	store   store
	portal  *portal.Client
	broker  *session.Broker
	health  *proxy.Health
	data    http.Handler
	admin   http.Handler
}

// store is what the chosen store gives besides tokens.
type store struct {
	session.Store
	session.Registry
	ping  func(context.Context) error
	close func() error
}

// wire puts the parts together, from the inside out. This is the only place where they meet.
func wire(config Config, log *slog.Logger, now func() time.Time) (*application, error) {
	a := &application{config: config, log: log}
	life := lifetime(config)
	a.metrics = metrics.New(metrics.Parts{Version: build().Version, Revision: build().Revision, Codes: proxy.Codes()})
	var err error
	if a.store, err = openStore(config, a.metrics, now); err != nil {
		return nil, err
	}
	a.portal = newPortal(config)
	a.broker = session.NewBroker(session.Parts{
		Store:     a.store,
		Registry:  a.store,
		Portal:    a.metrics.Mints(portal.NewRetry(budget(config, a.metrics.PortalAttempts(a.portal)))),
		Lifetime:  life,
		StoreDown: session.StoreDown(config.RedisDown),
		Deadline:  flightDeadline(config),
		Now:       now,
		Log:       log,
	})
	a.health = &proxy.Health{Checks: []proxy.Check{{
		Name: "store", Probe: a.store.ping, Optional: config.RedisDown == redisDownMint,
	}}}
	a.data = proxy.New(proxy.Parts{Broker: a.broker, Lifetime: life, Meter: a.metrics, Log: log})
	a.admin = proxy.NewAdmin(proxy.AdminParts{Health: a.health, Metrics: a.metrics.Handler(), Version: build()})
	return a, nil
}

// flightDeadline leaves room for one retry, or for waiting as long as an attempt may take.
func flightDeadline(config Config) time.Duration { return 2 * config.PortalTimeout }

func lifetime(config Config) session.Lifetime {
	return session.Lifetime{
		IdleTTL: config.IdleTTL, RefreshWindow: config.RefreshWindow,
		SafetyMargin: config.SafetyMargin, MinTTL: config.MinTTL, Refresh: config.Refresh,
	}
}

func newPortal(config Config) *portal.Client {
	paths := portal.V1
	if config.PortalAPIVersion == apiV3 {
		paths = portal.V3
	}
	return portal.New(portal.Parts{
		BaseURL: string(config.PortalAPIURL), Paths: paths, Timeout: config.PortalTimeout,
		Key:       func() session.Secret { return config.PortalAPIKey },
		UserAgent: "cstproxy/" + build().Version,
	})
}

// budget uses the real clock: Portal's minute is real, even where a demo's days are not.
func budget(config Config, next session.Portal) *portal.Budget {
	return portal.NewBudget(portal.BudgetParts{
		Next: next, Mint: portal.Limit(config.MintRate), Probe: portal.Limit(config.ProbeRate), Now: time.Now,
	})
}

// openStore returns Redis, with the process standing by for it unless it must fail closed, or the process alone.
func openStore(config Config, m *metrics.Metrics, now func() time.Time) (store, error) {
	memory := cache.NewMemory(cache.MemoryParts{Entries: config.MemoryEntries, Lifetime: lifetime(config), Now: now})
	if config.RedisURL.IsZero() {
		return store{m.Store(metrics.TierMemory, memory), memory, memory.Ping, memory.Close}, nil
	}
	client, err := cache.Connect(config.RedisURL)
	if err != nil {
		return store{}, configError{[]string{"REDIS_URL: " + err.Error()}}
	}
	redis := cache.NewRedis(cache.RedisParts{Client: client, Prefix: config.KeyPrefix, Lifetime: lifetime(config)})
	opened := store{m.Store(metrics.TierRedis, redis), redis, redis.Ping, closeBoth(redis, memory)}
	if config.RedisDown == redisDownMint {
		opened.Store = cache.NewStandby(cache.StandbyParts{Store: opened.Store, Memory: memory, Now: time.Now})
	}
	return opened, nil
}

func closeBoth(redis, memory io.Closer) func() error {
	return func() error {
		_ = memory.Close()
		return redis.Close()
	}
}

func newLog(config Config, to io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: config.LogLevel}
	if config.LogFormat == logText {
		return slog.New(slog.NewTextHandler(to, options))
	}
	return slog.New(slog.NewJSONHandler(to, options))
}

package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// unobserved makes a process under test be a proxy of which nothing is seen: no series, no line of the log, no trace.
const unobserved = "UNOBSERVED"

// serveUnobserved serves as `cstproxy serve` does, without all that watches.
func serveUnobserved(ctx context.Context) error {
	config, err := loadConfig(os.Environ(), nil)
	if err != nil {
		return err
	}
	a, err := wire(config, surroundings{local: time.Now, err: os.Stderr, log: slog.New(slog.NewJSONHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	silent := slog.New(slog.DiscardHandler)
	memory := cache.NewMemory(cache.MemoryParts{Entries: config.MemoryEntries, Lifetime: lifetime(config), Now: a.store.now})
	broker := session.NewBroker(session.Parts{
		Store: memory, Leaser: memory, Registry: memory, Portal: a.portal, Lifetime: lifetime(config),
		StoreDown: session.StoreDownMint, Limits: session.Limits{Waiting: config.MaxWaiting, Flights: config.MaxAtPortal},
		Deadline: flightDeadline(config), Now: a.store.now, Sent: a.store.sent, Log: silent,
	})
	a.data = proxy.New(proxy.Parts{
		Callers: a.callers, Broker: broker, Lifetime: lifetime(config), Meter: blind{}, Now: a.store.now, Log: silent, MaxInFlight: config.MaxInFlight,
	})
	return a.serve(ctx)
}

// blind is a [proxy.Meter] that costs nothing.
type blind struct{}

func (blind) Began() func(route, method string, status int, trace string) {
	return func(string, string, int, string) {}
}
func (blind) Handed(session.Source, time.Duration, string) {}
func (blind) Granted(session.Grant, time.Duration)         {}
func (blind) Hit(string, time.Duration, time.Duration)     {}
func (blind) Refused(string)                               {}
func (blind) Shed(string)                                  {}
func (blind) Skipped()                                     {}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"bufio"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// inProcess says how a proxy in this process is made.
type inProcess struct {
	// entries is how many tokens memory holds, ttl how long it serves one without Redis; 0 is an hour.
	entries int
	ttl     time.Duration
	// metrics counts; nil counts nothing.
	metrics *metrics.Metrics
}

// served is the proxy from its handler on, in this process: the way of a request but for net/http's part. It can't mint.
type served struct {
	tier    *cache.Tier
	broker  *session.Broker
	handler http.Handler
	misses  *misses
}

// errNoPortal: whatever is asked for must be in the store.
var errNoPortal = errors.New("asked Portal, where nothing is to be asked")

type noPortal struct{}

func (noPortal) Mint(context.Context, session.ClientID, session.Reason) (session.Token, error) {
	return session.Token{}, errNoPortal
}
func (noPortal) Probe(context.Context, session.Token) error { return errNoPortal }
func (noPortal) Register(context.Context, session.Registration) (session.Token, error) {
	return session.Token{}, errNoPortal
}

// misses is a [cache.TierMeter] that counts them.
type misses struct{ atomic.Int64 }

func (*misses) MemoryHit()    {}
func (m *misses) MemoryMiss() { m.Add(1) }

// unmetered is a [proxy.Meter] that costs nothing.
type unmetered struct{}

func (unmetered) Began() func(route, method string, status int, trace string) {
	return func(string, string, int, string) {}
}
func (unmetered) Handed(session.Source, time.Duration, string) {}
func (unmetered) Granted(session.Grant, time.Duration)         {}
func (unmetered) Hit(string, time.Duration, time.Duration)     {}
func (unmetered) Refused(string)                               {}
func (unmetered) Shed(string)                                  {}
func (unmetered) Skipped()                                     {}

// serveInProcess returns a proxy on what is kept.
func serveInProcess(store *kept, how inProcess) *served {
	s := &served{misses: &misses{}}
	life, log := portalsRule(), slog.New(slog.DiscardHandler)
	parts := cache.TierParts{
		Store: store, Restore: store.Restore, Lifetime: life, Entries: how.entries, TTL: how.ttl, Now: time.Now, Sent: time.Now, Meter: s.misses,
	}
	if how.ttl == 0 {
		parts.TTL = time.Hour
	}
	var meter proxy.Meter = unmetered{}
	if how.metrics != nil {
		parts.Store, parts.Meter, meter = how.metrics.Store(metrics.TierRedis, store), how.metrics, how.metrics
	}
	s.tier = cache.NewTier(parts)
	s.broker = session.NewBroker(session.Parts{
		Store: s.tier, Leaser: store, Registry: store, Portal: noPortal{}, Lifetime: life, StoreDown: session.StoreDownFail,
		Deadline: time.Second, Now: time.Now, Sent: time.Now, Log: log,
	})
	s.handler = proxy.New(proxy.Parts{Callers: caller.Anonymous{}, Broker: s.broker, Lifetime: life, Meter: meter, Now: time.Now, Log: log})
	return s
}

func (s *served) close(ctx context.Context) error {
	s.broker.Close(ctx)
	return s.tier.Close()
}

// request asks the handler as net/http would: with a request that was read from bytes, whose texts are parts of its lines.
func (s *served) request(ctx context.Context, number int) error {
	text := "GET /v1/clients/" + string(numbered(number)) + "/token HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return fmt.Errorf("read a request: %w", err)
	}
	request.RemoteAddr = "127.0.0.1:1"
	answer := statusOnly{header: http.Header{}}
	s.handler.ServeHTTP(&answer, request.WithContext(ctx))
	if answer.status != http.StatusOK {
		return fmt.Errorf("%w: status %d", errWrongAnswer, answer.status)
	}
	return nil
}

// grant asks the broker.
func (s *served) grant(ctx context.Context, number int) error {
	grant, err := s.broker.Grant(ctx, session.Ask{Client: numbered(number)})
	if err == nil && grant.Source != session.SourceCache {
		err = fmt.Errorf("%w: a token by %s", errWrongAnswer, grant.Source)
	}
	return err
}

// remembers returns an error unless memory has the tokens of the first n clients.
func (s *served) remembers(ctx context.Context, n int) error {
	before := s.misses.Load()
	for number := range n {
		if err := s.grant(ctx, number); err != nil {
			return err
		}
	}
	if missed := s.misses.Load() - before; missed != 0 {
		return fmt.Errorf("%d of %d tokens are not in memory", missed, n)
	}
	return nil
}

// statusOnly is a [http.ResponseWriter] that keeps the status.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header            { return s.header }
func (s *statusOnly) WriteHeader(status int)         { s.status = status }
func (s *statusOnly) Write(body []byte) (int, error) { return len(body), nil }

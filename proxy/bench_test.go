package proxy_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// silent is a proxy.Meter that costs nothing.
type silent struct{}

func (silent) Began() func(route, method string, status int, trace string) {
	return func(string, string, int, string) {}
}
func (silent) Handed(session.Source, time.Duration, string) {}
func (silent) Granted(session.Grant, time.Duration)         {}
func (silent) Hit(string, time.Duration, time.Duration)     {}
func (silent) Refused(string)                               {}
func (silent) Shed(string)                                  {}
func (silent) Skipped()                                     {}

// sink is a http.ResponseWriter that keeps nothing but the status.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header                { return s.header }
func (s *sink) WriteHeader(status int)             { s.status = status }
func (s *sink) Write(body []byte) (n int, _ error) { return len(body), nil }

// BenchmarkTokenHit measures the data API from its handler on, without HTTP's own cost.
func BenchmarkTokenHit(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		memory := cache.NewMemory(cache.MemoryParts{Entries: 1000, Lifetime: lifetime(), Now: time.Now})
		b.Cleanup(func() { _ = memory.Close() })
		benchmarkTokenHit(b, memory, memory)
	})
	b.Run("redis", func(b *testing.B) {
		access, err := cache.NewAccess(session.NewSecret(redistest.Start(b).URL()))
		if err != nil {
			b.Fatal(err)
		}
		seal, err := cache.NewSeal(cache.SealParts{Prefix: "bench", Window: lifetime().RefreshWindow, Key: session.NewSecret("key")})
		if err != nil {
			b.Fatal(err)
		}
		redis := cache.NewRedis(cache.RedisParts{
			Client: access.Connect(), Prefix: "bench", Seal: seal, Lifetime: lifetime(), Sent: time.Now, Unreadable: func() {},
		})
		b.Cleanup(func() { _ = redis.Close() })
		benchmarkTokenHit(b, redis, redis)
	})
}

func benchmarkTokenHit(b *testing.B, store session.Store, registry session.Registry) {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	broker := session.NewBroker(session.Parts{
		Store: store, Leaser: &sessiontest.Store{}, Registry: registry, Portal: &sessiontest.Portal{Lifetime: lifetime(), Now: time.Now}, Lifetime: lifetime(),
		StoreDown: session.StoreDownFail, Deadline: 10 * time.Second, Now: time.Now, Sent: time.Now, Log: log,
	})
	b.Cleanup(func() { broker.Close(b.Context()) })
	data := proxy.New(proxy.Parts{Callers: caller.Anonymous{}, Broker: broker, Lifetime: lifetime(), Meter: silent{}, Now: time.Now, Log: log})
	first := httptest.NewRecorder()
	data.ServeHTTP(first, localGet(b.Context(), aliceToken))
	if first.Code != http.StatusOK {
		b.Fatalf("%d %s", first.Code, first.Body)
	}
	b.ReportAllocs()
	b.RunParallel(func(loop *testing.PB) {
		request := localGet(b.Context(), aliceToken)
		for loop.Next() {
			w := &sink{header: make(http.Header, 8)}
			request.Body = http.NoBody // the handler put its own in that place
			data.ServeHTTP(w, request)
			if w.status != http.StatusOK {
				b.Errorf("status %d", w.status)
			}
		}
	})
}

// canned is a Portal that has its answer ready.
type canned struct{}

func (canned) RoundTrip(*http.Request) (*http.Response, error) {
	const body = `{"id":"cm0r6nkek00ej10dwwx8wdjmf","isAccountAbstracted":false,"wallets":[]}`
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// BenchmarkPassthrough measures a request that is passed on, without what HTTP costs on either side.
func BenchmarkPassthrough(b *testing.B) {
	memory := cache.NewMemory(cache.MemoryParts{Entries: 1000, Lifetime: lifetime(), Now: time.Now})
	b.Cleanup(func() { _ = memory.Close() })
	log := slog.New(slog.DiscardHandler)
	broker := session.NewBroker(session.Parts{
		Store: memory, Leaser: memory, Registry: memory, Portal: &sessiontest.Portal{Lifetime: lifetime(), Now: time.Now}, Lifetime: lifetime(),
		StoreDown: session.StoreDownFail, Deadline: 10 * time.Second, Now: time.Now, Sent: time.Now, Log: log,
	})
	b.Cleanup(func() { broker.Close(b.Context()) })
	base := &url.URL{Scheme: "http", Host: "portal.invalid"}
	data := proxy.New(proxy.Parts{
		Callers: caller.Anonymous{}, Broker: broker, Lifetime: lifetime(), Meter: silent{}, Now: time.Now, Log: log,
		Passthrough: &proxy.Passthrough{
			Families: session.Families(), APIURL: base, MPCURL: base, Transport: canned{}, Timeout: time.Minute, Done: func(proxy.Passed) {},
		},
	})
	b.ReportAllocs()
	b.RunParallel(func(loop *testing.PB) {
		for loop.Next() {
			request := localGet(b.Context(), "/api/v3/clients/me")
			request.Header.Set("X-Portal-Client-Id", alice)
			w := &sink{header: make(http.Header, 8)}
			data.ServeHTTP(w, request)
			if w.status != http.StatusOK {
				b.Fatalf("status %d", w.status)
			}
		}
	})
}

package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func TestAKilledProxyFindsItsTokensInRedisAgain(t *testing.T) {
	t.Parallel()
	clients := clientIDs("client", 200)
	retell(t, func() (proxies []*child, check func()) {
		portal, environ := simulated(t, portaltest.Options{AnyClient: true})
		environ = append(environ, "REDIS_URL="+redistest.Start(t).URL(), "CSTPROXY_MINT_RATE=0")
		first := serve(t, environ...)
		minted := first.fetchEach(clients)
		first.kill()
		second := serve(t, environ...)
		served := second.fetchEach(clients)
		return []*child{first, second}, func() {
			checkSource(t, minted, "mint")
			checkSource(t, served, "cache")
			if got := portal.Stats().Mints; got != len(clients) {
				t.Errorf("Portal minted %d tokens, want %d", got, len(clients))
			}
			if !maps.EqualFunc(minted, served, func(a, b token) bool { return a.Secret == b.Secret }) {
				t.Error("a client was served another token than the one it had")
			}
		}
	})
}

// The proxy that starts knows nothing of the tokens either: while one runs, it puts back what it saw.
func TestAWipedRedisCostsMintsAndNothingElse(t *testing.T) {
	t.Parallel()
	clients := clientIDs("client", 50)
	retell(t, func() (proxies []*child, check func()) {
		portal, environ := simulated(t, portaltest.Options{AnyClient: true})
		redis := redistest.Start(t)
		environ = append(environ, "REDIS_URL="+redis.URL(), "CSTPROXY_MINT_RATE=0", "CSTPROXY_MEMORY_TTL=0")
		first := serve(t, environ...)
		minted := first.fetchEach(clients)
		first.kill()
		redis.Do("FLUSHALL")
		second := serve(t, environ...)
		again, served := second.fetchEach(clients), second.fetchEach(clients)
		return []*child{first, second}, func() {
			checkSource(t, minted, "mint")
			checkSource(t, again, "mint")
			checkSource(t, served, "cache")
			if got := portal.Stats().Mints; got != 2*len(clients) {
				t.Errorf("Portal minted %d tokens, want %d", got, 2*len(clients))
			}
		}
	})
}

// retell tells a story again, twice at most, if Redis was too slow in it: where a machine stalls for longer than the
// proxy waits for a command, it mints, and should. tell returns the proxies in it and what must be true at the end.
func retell(t *testing.T, tell func() (proxies []*child, check func())) {
	t.Helper()
	for round := 1; ; round++ {
		proxies, check := tell()
		if round == 3 || !slices.ContainsFunc(proxies, (*child).missedRedis) {
			check()
			return
		}
		t.Log("Redis was too slow for the proxy: once more")
	}
}

// missedRedis reports whether the log says that Redis failed.
func (c *child) missedRedis() bool {
	log := c.written.String()
	return strings.Contains(log, `"msg":"store failed`) || strings.Contains(log, `"msg":"token not stored"`)
}

func TestARegistrationRepeatedAfterARestartMakesNoSecondClient(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{})
	environ = append(environ, "REDIS_URL="+redistest.Start(t).URL())

	first := serve(t, environ...)
	before := first.register("order-4711")
	first.kill()
	second := serve(t, environ...)
	after, other := second.register("order-4711"), second.register("order-4712")

	if after.ID != before.ID || after.Secret != before.Secret {
		t.Errorf("the repeat got client %s with token %s, want client %s with token %s", after.ID, after.TokenID, before.ID, before.TokenID)
	}
	if other.ID == before.ID {
		t.Error("another key got the same client")
	}
	if got := portal.Stats().Registrations; got != 2 {
		t.Errorf("Portal registered %d clients, want 2: one for each key", got)
	}
}

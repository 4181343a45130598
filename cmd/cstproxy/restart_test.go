package main

import (
	"maps"
	"testing"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func TestAKilledProxyFindsItsTokensInRedisAgain(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	environ = append(environ, "REDIS_URL="+redistest.Start(t).URL(), "CSTPROXY_MINT_RATE=0")
	clients := clientIDs("client", 200)

	first := serve(t, environ...)
	minted := first.fetchAll(clients, "mint")
	first.kill()
	served := serve(t, environ...).fetchAll(clients, "cache")

	if got := portal.Stats().Mints; got != len(clients) {
		t.Errorf("Portal minted %d tokens, want %d", got, len(clients))
	}
	if !maps.EqualFunc(minted, served, func(a, b token) bool { return a.Secret == b.Secret }) {
		t.Error("a client was served another token than the one it had")
	}
}

func TestAWipedRedisCostsMintsAndNothingElse(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	redis := redistest.Start(t)
	c := serve(t, append(environ, "REDIS_URL="+redis.URL(), "CSTPROXY_MINT_RATE=0")...)
	clients := clientIDs("client", 50)

	c.fetchAll(clients, "mint")
	redis.Do("FLUSHALL")
	c.fetchAll(clients, "mint")
	c.fetchAll(clients, "cache")

	if got := portal.Stats().Mints; got != 2*len(clients) {
		t.Errorf("Portal minted %d tokens, want %d", got, 2*len(clients))
	}
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

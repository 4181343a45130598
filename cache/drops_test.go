package cache_test

import (
	"errors"
	"testing"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// A replica that starts while others mint hears of each of their tokens, and is to remember what it looks for meanwhile all the
// same: when the store fails, that is all it has.
func TestLookIsRememberedThoughOthersTokensChangeMeanwhile(t *testing.T) {
	t.Parallel()
	const looks, changes = 100, 3
	forgotten := 0
	for range looks {
		store := &sessiontest.Store{}
		token := newToken(alice)
		save(t, store, token)
		slow := newGate(store)
		tier := newTier(t, cache.TierParts{Store: slow, TTL: memoryTTL})
		looked := make(chan struct{})
		go func() { defer close(looked); _, _ = tier.Look(t.Context(), alice) }()
		<-slow.entered
		for range changes {
			tier.Drop(newClient(), session.TokenID{})
		}
		close(slow.release)
		<-looked
		store.Break(errDown)
		got, err := tier.Look(t.Context(), alice)
		if err != nil && !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		if got.ID != token.ID {
			forgotten++
		}
	}
	// Some share a count: 3 of 256.
	if forgotten > looks/10 {
		t.Errorf("%d of %d looks were forgotten for others' changes", forgotten, looks)
	}
}

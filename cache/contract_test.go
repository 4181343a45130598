package cache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// both is what the contract suites are about.
type both interface {
	session.Store
	session.Registry
}

// keepsTheContract runs the suites against one store that all of their tests share.
func keepsTheContract(t *testing.T, store both) {
	t.Helper()
	t.Run("store", func(t *testing.T) {
		t.Parallel()
		sessiontest.TestStore(t, func(*testing.T) session.Store { return store })
	})
	if leasing, ok := store.(*cache.Redis); ok {
		t.Run("leaser", func(t *testing.T) {
			t.Parallel()
			sessiontest.TestLeaser(t, func(*testing.T) sessiontest.Leasing { return leasing })
		})
	}
	t.Run("registry", func(t *testing.T) {
		t.Parallel()
		sessiontest.TestRegistry(t, func(*testing.T) session.Registry { return store })
	})
}

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	keepsTheContract(t, remember(t, time.Now))
}

func TestRedisKeepsTheContractUnderPrefixesOfItsOwn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, prefix := range []string{"cstproxy", "a", "team:a", "with blanks"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			t.Parallel()
			keepsTheContract(t, open(t, server.URL(), prefix))
		})
	}
}

func TestRedisKeepsTheContractOnASocket(t *testing.T) {
	t.Parallel()
	keepsTheContract(t, open(t, redistest.Start(t).SocketURL(), "cstproxy"))
}

func TestRedisKeepsTheContractBehindASentinel(t *testing.T) {
	t.Parallel()
	keepsTheContract(t, open(t, redistest.StartSentinel(t).URL(), "cstproxy"))
}

func TestRedisKeepsTheContractInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	store := open(t, cluster.URL(), "cstproxy")
	followsASlotThatMoves(t, store, cluster)
	keepsTheContract(t, store)
}

func followsASlotThatMoves(t *testing.T, store *cache.Redis, cluster *redistest.Cluster) {
	t.Helper()
	client := newClient()
	wantLoaded(t, store, client, session.Token{}) // so that the Cluster's slots are known
	slot, from := cluster.Slot(keyUnder("cstproxy", client, "token"))
	to := cluster.Primaries()[(from+1)%3]
	for _, node := range cluster.Primaries() {
		node.Do("CLUSTER", "SETSLOT", slot, "NODE", to.Do("CLUSTER", "MYID"))
	}
	token := newToken(client)
	save(t, store, token)
	wantLoaded(t, store, client, token)
	wantMatch(t, session.MatchSame)(store.Forget(t.Context(), client, token.ID))
	if moved, _ := to.Do("INFO", "errorstats").(string); strings.Contains(moved, "MOVED") {
		t.Error("it was not the slot's new owner that answered")
	}
}

func TestTierKeepsTheContract(t *testing.T) {
	t.Parallel()
	store := open(t, redistest.Start(t).URL(), "cstproxy")
	for name, ttl := range map[string]time.Duration{"switched off": 0, "remembering": hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sessiontest.TestStore(t, func(t *testing.T) session.Store {
				t.Helper()
				return newTier(t, cache.TierParts{Store: store, TTL: ttl})
			})
		})
	}
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// heartbeats is the key by which replicas show Redis that they are there, and see that it is.
const heartbeats = "cstproxy:{fleet}:replicas"

func TestFleetSurvivesAFailover(t *testing.T) {
	for name, tt := range map[string]struct {
		fail, comeBack func(primary *redistest.Server)
	}{
		"of a primary that dies":  {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"of a primary that hangs": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			sentinel := redistest.StartSentinel(t)
			f := startFleet(t, 2, portaltest.Options{}, "REDIS_URL="+sentinel.URL(), "CSTPROXY_MEMORY_TTL=50ms")
			clients, cold := clientIDs("warm", 50), clientIDs("cold", 4)
			f.warm(clients)

			pace := f.fetches(clients, 4, 10*time.Millisecond)
			lasting(t, 500*time.Millisecond)
			failed := time.Now()
			tt.fail(sentinel.Primary)
			f.serveMeanwhile(cold)
			await(t, "another primary", func() bool { return sentinel.Named() != sentinel.Primary })
			t.Logf("another server was the primary after %s", time.Since(failed))
			f.awaitHeartbeats(sentinel.Named(), failed)
			t.Logf("all replicas had found it after %s", time.Since(failed))
			tt.comeBack(sentinel.Primary)
			await(t, "the old primary to be demoted", func() bool { return sentinel.Primary.Role() == "slave" })
			t.Logf("the old primary was back and demoted after %s", time.Since(failed))
			lasting(t, longOr(10*time.Second, 500*time.Millisecond))
			pace.expectNoFailure(t)
			t.Logf("Portal minted %d tokens for %d clients", f.portal.Stats().Mints, len(clients)+len(cold))
			lasting(t, 3*time.Second) // no probe leaves while all tell of their turns, and what was minted twice is asked for again
			f.awaitServed(cold)
			f.expectLiveTokens(append(clients, cold...))
		})
	}
}

// serveMeanwhile has each cold client ask one of the replicas, which must serve it as things are.
func (f *fleet) serveMeanwhile(cold []string) {
	f.t.Helper()
	began := time.Now()
	for i, client := range cold {
		if got := f.replica(i).mustFetch(client, ""); !f.portal.Accepts(got.Secret) {
			f.t.Errorf("%s is served the dead token %s", client, got.TokenID)
		}
	}
	f.t.Logf("meanwhile %d cold clients were served in %s", len(cold), time.Since(began))
}

// awaitServed waits until all replicas serve the clients. Where each of two minted while they were alone, Portal is asked
// for what was kept; and where Redis lost turns, nothing leaves for Portal until all had the time to tell of theirs.
func (f *fleet) awaitServed(clients []string) {
	f.t.Helper()
	for _, client := range clients {
		await(f.t, client+" to be served", func() bool {
			return !slices.ContainsFunc(f.all(), func(c *child) bool { _, err := c.fetch(client, ""); return err != nil })
		})
	}
}

// awaitHeartbeats waits until all replicas have written to the server since.
func (f *fleet) awaitHeartbeats(server *redistest.Server, since time.Time) {
	f.t.Helper()
	await(f.t, "all replicas to find the new primary", func() bool {
		return server.Do("ZCOUNT", heartbeats, since.UnixMicro(), "+inf") == int64(len(f.all()))
	})
}

// TestFleetSurvivesTheDeathOfClusterPrimaries kills one after the other: one that the replicas do not look at when they
// look whether Redis is well, and the one that they do.
func TestFleetSurvivesTheDeathOfClusterPrimaries(t *testing.T) {
	cluster := redistest.StartCluster(t)
	f := startFleet(t, 2, portaltest.Options{}, unlimited("REDIS_URL="+cluster.URL(), "CSTPROXY_MEMORY_TTL=0")...)
	clients := clientIDs("warm", 60)
	f.warm(clients)

	pace := f.fetches(clients, 4, 10*time.Millisecond)
	_, lookedAt := cluster.Slot(heartbeats)
	other := (lookedAt + 1) % 3
	ofPrimary := map[int][]string{lookedAt: clientsOf(cluster, lookedAt, 4), other: clientsOf(cluster, other, 4)}
	for _, primary := range []int{other, lookedAt} {
		cold, failed := ofPrimary[primary], time.Now()
		cluster.Nodes[primary].Kill()
		f.serveMeanwhile(cold)
		await(t, "its replica to take over", func() bool { return cluster.TookOver(primary) })
		t.Logf("the replica of primary %d took over after %s", primary, time.Since(failed))
		awaitStored(t, cluster.Replica(primary), cold)
		t.Logf("it had all tokens of the cold clients after %s", time.Since(failed))
		f.expectLiveTokens(cold)
	}
	lasting(t, longOr(10*time.Second, 500*time.Millisecond))
	pace.expectNoFailure(t)
	f.expectMintedOnce(clients)
	f.expectLiveTokens(clients)
}

// clientsOf returns n clients whose tokens a cluster's primary keeps.
func clientsOf(cluster *redistest.Cluster, primary, n int) []string {
	var ids []string
	for i := 0; len(ids) < n; i++ {
		id := fmt.Sprintf("cold-%d-%d", primary, i)
		if _, at := cluster.Slot(redisKey(id, "token")); at == primary {
			ids = append(ids, id)
		}
	}
	return ids
}

// awaitStored waits until the server has the token of each client: what it could not be told, it is told later.
func awaitStored(t *testing.T, server *redistest.Server, clients []string) {
	t.Helper()
	for _, client := range clients {
		await(t, client+"'s token to be stored", func() bool { return server.Do("EXISTS", redisKey(client, "token")) == int64(1) })
	}
}

func TestFleetSurvivesResharding(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	f := startFleet(t, 2, portaltest.Options{}, "REDIS_URL="+cluster.URL(), "CSTPROXY_MEMORY_TTL=0")
	clients := clientIDs("warm", 50)
	f.warm(clients)

	pace := f.fetches(clients, 4, 10*time.Millisecond)
	began := time.Now()
	moved := reshard(cluster, clients)
	t.Logf("%d slots were moved in %s", moved, time.Since(began))
	lasting(t, time.Second)
	pace.expectNoFailure(t)
	if got := f.portal.Stats().Mints; got != len(clients) {
		t.Errorf("Portal minted %d tokens, want %d", got, len(clients))
	}
	f.expectLiveTokens(clients)
}

// reshard moves the slot of each client from the primary that has it to the next, key by key, and returns how many.
func reshard(cluster *redistest.Cluster, clients []string) int {
	names := make([]string, len(cluster.Primaries())) // as they call themselves
	for i, primary := range cluster.Primaries() {
		names[i], _ = primary.Do("CLUSTER", "MYID").(string)
	}
	moved := map[int]bool{}
	for _, client := range clients {
		slot, from := cluster.Slot(redisKey(client, "token"))
		if !moved[slot] {
			moveSlot(cluster, names, slot, from)
		}
		moved[slot] = true
	}
	return len(moved)
}

func moveSlot(cluster *redistest.Cluster, names []string, slot, from int) {
	to := (from + 1) % len(names)
	source, target := cluster.Nodes[from], cluster.Nodes[to]
	target.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", names[from])
	source.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", names[to])
	host, port, _ := strings.Cut(target.Addr(), ":")
	for {
		keys, _ := source.Do("CLUSTER", "GETKEYSINSLOT", slot, 10).([]any)
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			source.Do("MIGRATE", host, port, key, 0, 5000, "REPLACE")
		}
	}
	for _, node := range []*redistest.Server{target, source, cluster.Nodes[3-from-to]} {
		node.Do("CLUSTER", "SETSLOT", slot, "NODE", names[to])
	}
}

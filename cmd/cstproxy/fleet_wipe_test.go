package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestFleetPutsBackWhatRedisLost wipes a Redis, in place or by a crash, of whose tokens one replica alone knows.
func TestFleetPutsBackWhatRedisLost(t *testing.T) {
	t.Parallel()
	for name, wipe := range map[string]func(*redistest.Server){
		"wiped":              func(redis *redistest.Server) { redis.Do("FLUSHALL") },
		"crashed, and empty": func(redis *redistest.Server) { redis.Kill(); redis.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			f := startFleet(t, 2, portaltest.Options{}, unlimited(onRedis(redis))...)
			clients := clientIDs("warm", 30)
			before := f.replica(0).fetchAll(clients, "mint")
			loggedOut := clientIDs("gone", 3)
			f.replica(0).fetchAll(loggedOut, "mint")
			for _, client := range loggedOut {
				if _, err := f.replica(1).ask("DELETE", f.replica(1).data+"/v1/clients/"+client+"/token", ""); err != nil {
					t.Fatal(err)
				}
			}
			// It hears of that by a message, and what is on its way is gone with a Redis that crashes.
			await(t, "the replica that minted to hear of it", func() bool {
				return !slices.ContainsFunc(loggedOut, func(client string) bool {
					got, err := f.replica(0).ask("GET", f.replica(0).data+"/v1/clients/"+client, "")
					return err != nil || !strings.Contains(string(got.body), `"state":"absent"`)
				})
			})
			wipe(redis)
			await(t, "the tokens to be put back", func() bool { return stored(redis, clients) == len(clients) })
			for client, got := range f.replica(1).fetchEach(clients) {
				if got.TokenID != before[client].TokenID {
					t.Errorf("%s has another token since Redis was %s", client, name)
				}
			}
			if n := stored(redis, loggedOut); n > 0 {
				t.Errorf("%d tokens of who logged out were put back", n)
			}
			if got := f.portal.Stats().Mints; got != len(clients)+len(loggedOut) {
				t.Errorf("Portal minted %d tokens for %d clients", got, len(clients)+len(loggedOut))
			}
			f.expectLiveTokens(clients)
		})
	}
}

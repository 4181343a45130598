package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// sealKeys returns a file with new seal keys.
func sealKeys(t *testing.T) (file string) {
	t.Helper()
	content, err := cache.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "seal-keys.json")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRotatedSealKeysCostNoMintAsReplicasTakeThemOneByOne(t *testing.T) {
	t.Parallel()
	clients := clientIDs("client", 50)
	retell(t, func() (proxies []*child, check func()) {
		portal, environ := simulated(t, portaltest.Options{AnyClient: true})
		file := sealKeys(t)
		environ = append(environ, "REDIS_URL="+redistest.Start(t).URL(), "CSTPROXY_MINT_RATE=0", "CSTPROXY_MEMORY_TTL=0",
			"CSTPROXY_SEAL_KEYS_FILE="+file)
		replicas := []*child{serve(t, environ...), serve(t, environ...)}
		proxies = append(proxies, replicas...)
		minted := replicas[0].fetchEach(clients)
		var served []map[string]token
		for _, step := range []string{"--add", "--promote", "--retire"} {
			if code := finish(t, nil, "seal-key", "rotate", step, file); code != exitDone {
				t.Fatalf("%s exits with %d", step, code)
			}
			for i := range replicas {
				replicas[i].kill()
				replicas[i] = serve(t, environ...)
				proxies = append(proxies, replicas[i])
				served = append(served, replicas[0].fetchEach(clients), replicas[1].fetchEach(clients))
			}
		}
		unreadable := replicas[0].series()["cstproxy_corrupt_records_total"] + replicas[1].series()["cstproxy_corrupt_records_total"]
		return proxies, func() {
			checkSource(t, minted, "mint")
			for _, tokens := range served {
				checkSource(t, tokens, "cache")
				if !maps.EqualFunc(minted, tokens, func(a, b token) bool { return a.Secret == b.Secret }) {
					t.Error("a client was served another token than the one it had")
				}
			}
			got := portal.Stats().Mints
			t.Logf("a rotation in three steps on two replicas: %d fetches, %d mints for %d clients, %v records unreadable",
				len(served)*len(clients), got, len(clients), unreadable)
			if got != len(clients) || unreadable != 0 {
				t.Errorf("Portal minted %d tokens for %d clients, and %v records were unreadable", got, len(clients), unreadable)
			}
		}
	})
}

func TestFileOfSealKeysIsItsOwnersAloneOnceItWasRotated(t *testing.T) {
	t.Parallel()
	file := sealKeys(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if code := finish(t, nil, "seal-key", "rotate", "--add", link); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v; want a file with mode 0600", info.Mode(), err)
	}
	if at, err := os.Readlink(link); at != file || err != nil {
		t.Errorf("the link leads to %q, %v", at, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(left) != 1 {
		t.Errorf("files are left: %q", left)
	}
}

func TestRecordOfAnotherClientIsAMissAndCounted(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	redis := redistest.Start(t)
	c := serve(t, append(environ, "REDIS_URL="+redis.URL(), "CSTPROXY_MEMORY_TTL=0")...)
	alice, bob := c.mustFetch("alice", ""), c.mustFetch("bob", "")
	redis.Do("COPY", redisKey("alice", "token"), redisKey("bob", "token"), "REPLACE")
	if got := c.mustFetch("bob", ""); got.Source != "mint" || got.Secret == alice.Secret || got.Secret == bob.Secret || got.ID != "bob" {
		t.Errorf("bob got token %s of %s from %q, want a new one", got.TokenID, got.ID, got.Source)
	}
	if got := c.series()["cstproxy_corrupt_records_total"]; got < 1 {
		t.Errorf("%v unreadable records were counted", got)
	}
	if got := c.mustFetch("bob", ""); got.Source != "cache" {
		t.Errorf("then bob's token came from %q", got.Source)
	}
	if got := portal.Stats().Mints; got != 3 {
		t.Errorf("Portal minted %d tokens, want 3", got)
	}
}

func TestReplicaThatKnowsOnlyTheReplacedPortalAPIKeyFindsTheTokens(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	redis, file := redistest.Start(t), filepath.Join(t.TempDir(), "key")
	environ = append(environ, "REDIS_URL="+redis.URL(), "CSTPROXY_MEMORY_TTL=0")
	writeKey(t, file, "refused")
	// The later of two values counts, and an empty one is none.
	c := serve(t, append(slices.Clip(environ), "PORTAL_API_KEY=", "PORTAL_API_KEY_FILE="+file)...)
	writeKey(t, file, portaltest.DefaultKey)
	var before token
	await(t, "the key to be read again", func() bool {
		var err error
		before, err = c.fetch("alice", "")
		return err == nil
	})
	await(t, "the names to be agreed on for the new key", func() bool {
		names, _ := redis.Do("KEYS", "cstproxy:{names}:*").([]any)
		return len(names) == 2
	})
	fresh := serve(t, environ...)
	if got := fresh.mustFetch("alice", ""); got.Source != "cache" || got.Secret != before.Secret {
		t.Errorf("whoever has the new key alone got token %s from %q, want %s from the cache", got.TokenID, got.Source, before.TokenID)
	}
	if got := portal.Stats().Mints; got != 1 {
		t.Errorf("Portal minted %d tokens, want 1", got)
	}
}

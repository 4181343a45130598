package cache_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func access(t *testing.T, target string) *cache.Access {
	t.Helper()
	a, err := cache.NewAccess(session.NewSecret(target))
	must(t, err)
	return a
}

func connected(t *testing.T, a *cache.Access) redis.UniversalClient {
	t.Helper()
	client := a.Connect()
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// allow has every server know the user by these passwords alone.
func allow(servers []*redistest.Server, user string, passwords ...string) {
	for _, server := range servers {
		rules := []any{"ACL", "SETUSER", user, "reset", "on", "~*", "&*", "+@all"}
		for _, password := range passwords {
			rules = append(rules, ">"+password)
		}
		server.Do(rules...)
	}
}

// hangUp ends every connection to the servers but the test's own.
func hangUp(servers []*redistest.Server) {
	for _, server := range servers {
		server.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}
}

func TestNewConnectionsAreOpenedWithTheNewestLogin(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) (target string, servers []*redistest.Server){
		"one server": func(t *testing.T) (string, []*redistest.Server) {
			server := redistest.Start(t)
			return strings.Replace(server.URL(), "//", "//user:first@", 1), []*redistest.Server{server}
		},
		"a Sentinel": func(t *testing.T) (string, []*redistest.Server) {
			group := redistest.StartSentinel(t)
			return group.URL() + "&username=user&password=first", []*redistest.Server{group.Named()}
		},
		"a Cluster": func(t *testing.T) (string, []*redistest.Server) {
			cluster := redistest.StartCluster(t)
			return strings.Replace(cluster.URL(), "//", "//user:first@", 1), cluster.Nodes
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, servers := start(t)
			allow(servers, "user", "first")
			a := access(t, target)
			store := cache.NewRedis(partsOf(connected(t, a), "p", &cache.Changes{}))
			reach(t, store, alice)

			allow(servers, "user", "second")
			_, err := store.Load(t.Context(), alice)
			must(t, err) // the connection goes on
			hangUp(servers)
			await(t, "the old password to be refused", func() bool {
				_, err := store.Load(t.Context(), alice)
				return redis.IsAuthError(err)
			})
			a.TakePassword(session.NewSecret("second"))
			reach(t, store, alice)

			allow(servers, "other", "third")
			hangUp(servers)
			a.TakeUsername(session.NewSecret("other"))
			a.TakePassword(session.NewSecret("third"))
			reach(t, store, alice)
		})
	}
}

func TestCommandThatMeetsARefusedLoginIsTriedWithTheNewOne(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	servers := []*redistest.Server{server}
	allow(servers, "user", "first")
	a := access(t, strings.Replace(server.URL(), "//", "//user:first@", 1))
	var asked atomic.Int64
	found := "second"
	a.Refused = func() {
		asked.Add(1)
		a.TakePassword(session.NewSecret(found))
	}
	client := connected(t, a)
	must(t, client.Set(t.Context(), "key", "value", 0).Err())

	allow(servers, "user", "second")
	hangUp(servers)
	if got, err := client.Get(t.Context(), "key").Result(); got != "value" || err != nil || asked.Load() != 3 {
		t.Errorf("got %q, %v after %d looks for another password, want 3: its greetings look, and so does it", got, err, asked.Load())
	}

	allow(servers, "user", "third")
	hangUp(servers)
	found = "third"
	piped, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Incr(t.Context(), "count")
		p.Get(t.Context(), "key")
		return nil
	})
	if err != nil || piped[0].Err() != nil || piped[1].Err() != nil || asked.Load() != 5 {
		t.Errorf("got %v, %v after %d looks", piped, err, asked.Load())
	}

	allow(servers, "user", "fourth")
	hangUp(servers)
	if err := client.Get(t.Context(), "key").Err(); !redis.IsAuthError(err) || asked.Load() != 8 {
		t.Errorf("got %v after %d looks, want the refusal after 8", err, asked.Load())
	}
	if got := server.Do("GET", "count"); got != "1" {
		t.Errorf("the command was carried out %v times", got)
	}
}

// No command is around the greeting of a subscription.
func TestSubscriptionThatMeetsARefusedLoginHasTheNewOneLookedFor(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	servers := []*redistest.Server{server}
	allow(servers, "user", "first")
	a := access(t, strings.Replace(server.URL(), "//", "//user:first@", 1))
	a.Refused = func() { a.TakePassword(session.NewSecret("second")) }
	client := connected(t, a)
	allow(servers, "user", "second")
	for tries := 0; ; tries++ {
		subscription := client.Subscribe(t.Context(), "changes")
		_, err := subscription.Receive(t.Context())
		_ = subscription.Close()
		if err == nil {
			return
		}
		if !redis.IsAuthError(err) || tries > 1 {
			t.Fatalf("subscribe: %v, after %d tries", err, tries)
		}
	}
}

func TestURLMayBringAnotherLoginAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first, second string
		taken         bool
	}{
		"another password":         {"redis://user:one@host/1", "redis://user:two@host/1", true},
		"another user":             {"rediss://user:one@host", "rediss://other:one@host", true},
		"a Cluster's password":     {"redis://:one@a?addr=b:1", "redis://:two@a?addr=b:1", true},
		"a Sentinel's servers'":    {"redis://a?master_name=m&password=one", "redis://a?master_name=m&password=two", true},
		"a Sentinel's own":         {"redis://:one@a?master_name=m", "redis://:two@a?master_name=m", false},
		"another host":             {"redis://:one@host", "redis://:one@other", false},
		"another port":             {"redis://:one@host:1", "redis://:one@host:2", false},
		"another database":         {"redis://:one@host/1", "redis://:one@host/2", false},
		"TLS":                      {"redis://:one@host", "rediss://:one@host", false},
		"no TLS":                   {"rediss://:one@host", "redis://:one@host", false},
		"TLS that checks nothing":  {"rediss://:one@host", "rediss://:one@host?skip_verify=true", false},
		"a Cluster":                {"redis://:one@host", "redis://:one@host?cluster=true", false},
		"one more in the Cluster":  {"redis://:one@a?addr=b:1", "redis://:one@a?addr=b:1&addr=c:1", false},
		"another master":           {"redis://a?master_name=m", "redis://a?master_name=n", false},
		"another size of its pool": {"redis://a?pool_size=1", "redis://a?pool_size=2", false},
		"half a URL":               {"redis://user:one@host", "redis://user:on", false},
		"no URL":                   {"redis://user:one@host", "hunter2", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := access(t, tc.first).TakeURL(session.NewSecret(tc.second))
			if (err == nil) != tc.taken {
				t.Errorf("got %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "two") || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("the error says %s", err)
			}
		})
	}
}

func TestRedisAndTheProxyKnowOneAnotherByTheNewestCertificates(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	servers := []*redistest.Server{server}
	own, clients := redistest.NewAuthority(t), redistest.NewAuthority(t)
	server.SpeakTLS(own, clients)
	a := access(t, server.SecureURL())
	store := cache.NewRedis(partsOf(connected(t, a), "p", &cache.Changes{}))
	await(t, "the server's certificate to be refused", func() bool {
		_, refused := errors.AsType[x509.UnknownAuthorityError](store.Ping(t.Context()))
		return refused
	})
	must(t, a.TakeRoots(own.PEM()))
	if err := store.Ping(t.Context()); err == nil {
		t.Error("the server took a client without a certificate")
	}
	must(t, a.TakeCertificate(clients.Issue("cstproxy")))
	reach(t, store, alice)

	nextOwn, nextClients := redistest.NewAuthority(t), redistest.NewAuthority(t)
	server.SpeakTLS(nextOwn, nextClients)
	must(t, store.Ping(t.Context())) // the connection goes on
	hangUp(servers)
	await(t, "the new certificate to be refused", func() bool {
		_, refused := errors.AsType[x509.UnknownAuthorityError](store.Ping(t.Context()))
		return refused
	})
	must(t, a.TakeRoots(append(own.PEM(), nextOwn.PEM()...)))
	must(t, a.TakeCertificate(nextClients.Issue("cstproxy")))
	reach(t, store, alice)
}

func TestWhatIsNoCertificateLeavesTheOneInUse(t *testing.T) {
	t.Parallel()
	own := redistest.NewAuthority(t)
	certificate, key := own.Issue("cstproxy")
	_, otherKey := own.Issue("cstproxy")
	secured, plain := access(t, "rediss://host"), access(t, "redis://host")
	for name, err := range map[string]error{
		"no authority":              secured.TakeRoots([]byte("hunter2")),
		"a key for an authority":    secured.TakeRoots(key),
		"half an authority":         secured.TakeRoots(own.PEM()[:100]),
		"another key":               secured.TakeCertificate(certificate, otherKey),
		"no key":                    secured.TakeCertificate(certificate, certificate),
		"half a certificate":        secured.TakeCertificate(certificate[:100], key),
		"an authority without TLS":  plain.TakeRoots(own.PEM()),
		"a certificate without TLS": plain.TakeCertificate(certificate, key),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
		if said := fmt.Sprint(err); strings.Contains(said, "hunter2") || strings.Contains(said, "PRIVATE") {
			t.Errorf("%s: the error says %s", name, said)
		}
	}
}

func TestKindOfRedisIsWhatTheURLSays(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]cache.Kind{
		"redis://127.0.0.1:6379":    cache.KindServer,
		"rediss://127.0.0.1:6379/1": cache.KindServer,
		"unix:///run/redis.sock":    cache.KindServer,
		"redis://127.0.0.1:26379?master_name=main&addr=127.0.0.1:26380": cache.KindSentinel,
		"redis://127.0.0.1:6379?addr=127.0.0.1:6380":                    cache.KindCluster,
		"redis://127.0.0.1:6379?cluster=true":                           cache.KindCluster,
	} {
		access, err := cache.NewAccess(session.NewSecret(target))
		if err != nil {
			t.Fatal(err)
		}
		if got := access.Kind(); got != want {
			t.Errorf("%s is a %s, want a %s", target, got, want)
		}
	}
}

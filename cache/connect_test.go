package cache_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// target is what a URL comes to.
type target struct {
	Kind, Network, Username, Password string
	Addrs                             []string
	DB, PoolSize                      int
	// TLS is the server's name that is verified, "" without TLS.
	TLS string
}

func describe(t *testing.T, client redis.UniversalClient) target {
	t.Helper()
	switch client := client.(type) {
	case *redis.Client:
		o := client.Options()
		got := target{
			Kind: "single", Network: o.Network, Username: o.Username, Password: o.Password, Addrs: []string{o.Addr}, DB: o.DB,
			PoolSize: o.PoolSize,
		}
		if o.Addr == "FailoverClient" {
			got.Kind, got.Addrs = "sentinel", nil
		}
		if o.TLSConfig != nil {
			got.TLS = o.TLSConfig.ServerName
		}
		return got
	case *redis.ClusterClient:
		o := client.Options()
		got := target{Kind: "cluster", Username: o.Username, Password: o.Password, Addrs: o.Addrs, PoolSize: o.PoolSize}
		if o.TLSConfig != nil {
			got.TLS = o.TLSConfig.ServerName
		}
		return got
	}
	t.Fatalf("Connect returned a %T", client)
	return target{}
}

func TestConnectUnderstandsEveryKindOfRedis(t *testing.T) {
	t.Parallel()
	pool := describe(t, connect(t, "redis://host")).PoolSize
	for name, c := range map[string]struct {
		url  string
		want target
	}{
		"one server": {
			"redis://host:6380/3", target{Kind: "single", Network: "tcp", Addrs: []string{"host:6380"}, DB: 3},
		},
		"one server, and nothing said of it": {
			"redis://", target{Kind: "single", Network: "tcp", Addrs: []string{"localhost:6379"}},
		},
		"one server in capitals": {
			"REDIS://host", target{Kind: "single", Network: "tcp", Addrs: []string{"host:6379"}},
		},
		"one server with a user": {
			"redis://user:p%40ss%2F@host", target{Kind: "single", Network: "tcp", Addrs: []string{"host:6379"}, Username: "user", Password: "p@ss/"},
		},
		"one server over TLS": {
			"rediss://:pw@host", target{Kind: "single", Network: "tcp", Addrs: []string{"host:6379"}, Password: "pw", TLS: "host"},
		},
		"one server and a pool": {
			"redis://host?pool_size=3", target{Kind: "single", Network: "tcp", Addrs: []string{"host:6379"}, PoolSize: 3},
		},
		"no cluster, said so": {
			"redis://host?cluster=false", target{Kind: "single", Network: "tcp", Addrs: []string{"host:6379"}},
		},
		"a socket": {
			"unix:///run/redis.sock?db=2", target{Kind: "single", Network: "unix", Addrs: []string{"/run/redis.sock"}, DB: 2},
		},
		"a socket with a password": {
			"unix://:pw@/run/redis.sock", target{Kind: "single", Network: "unix", Addrs: []string{"/run/redis.sock"}, Password: "pw"},
		},
		"a Sentinel": {
			"redis://host:26379?master_name=main", target{Kind: "sentinel", Network: "tcp"},
		},
		"Sentinels, with the servers' password and database": {
			"redis://:theirs@host:26379/2?master_name=main&addr=two:26379&username=user&password=pw",
			target{Kind: "sentinel", Network: "tcp", Username: "user", Password: "pw", DB: 2},
		},
		"a Sentinel over TLS": {
			"rediss://host:26379?master_name=main", target{Kind: "sentinel", Network: "tcp", TLS: "host"},
		},
		"a Cluster": {
			"redis://user:pw@one:6379?addr=two:6380&addr=three:6381",
			target{Kind: "cluster", Addrs: []string{"one:6379", "two:6380", "three:6381"}, Username: "user", Password: "pw"},
		},
		"a Cluster known by one address": {
			"redis://one?cluster=true", target{Kind: "cluster", Addrs: []string{"one:6379"}},
		},
		"a Cluster, and the one database it has": {
			"redis://one/0?cluster=true", target{Kind: "cluster", Addrs: []string{"one:6379"}},
		},
		"a Cluster, said so": {
			"redis://one?addr=two:6380&cluster=true", target{Kind: "cluster", Addrs: []string{"one:6379", "two:6380"}},
		},
		"a Cluster over TLS": {
			"rediss://one?cluster=true", target{Kind: "cluster", Addrs: []string{"one:6379"}, TLS: "one"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.want.PoolSize == 0 {
				c.want.PoolSize = pool
			}
			got := describe(t, connect(t, c.url))
			if c.want.Kind == "cluster" {
				c.want.PoolSize = got.PoolSize // go-redis has another default there
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.url, diff)
			}
		})
	}
}

func TestConnectRefusesAWrongURLAndSaysNothingOfIt(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]string{
		"nothing":                          "",
		"no URL":                           "hunter2",
		"no URL, with a colon":             "hunter2:6379",
		"no scheme":                        "//:hunter2@host",
		"another scheme":                   "http://:hunter2@host",
		"a broken escape":                  "redis://:hunter2%zz@host",
		"a broken host":                    "redis://:hunter2@[::1",
		"a database that is no number":     "redis://:hunter2@host/hunter2",
		"a path":                           "redis://:hunter2@host/0/hunter2",
		"a fragment":                       "redis://host#hunter2",
		"a parameter not known":            "redis://host?password=hunter2",
		"a parameter that is the password": "redis://host?hunter2",
		"patience, which is not the URL's to ask": "redis://host?read_timeout=9s&master_name=hunter2",
		"a parameter that is not known":           "redis://host?hunter2=9",
		"a pool size that is no number":           "redis://host?pool_size=hunter2",
		"neither a Cluster nor none":              "redis://host?cluster=hunter2",
		"a Cluster's address without a port":      "redis://host?addr=hunter2",
		"a Cluster's database":                    "redis://host/1?cluster=true",
		"a Cluster at a socket":                   "unix:///run/hunter2?cluster=true",
		"a Cluster's parameter not known":         "redis://host?cluster=true&hunter2",
		"a Sentinel without the master's name":    "redis://:hunter2@host?master_name=",
		"a Sentinel at a socket":                  "unix:///run/hunter2?master_name=main",
		"a Sentinel's password with an &":         "redis://host?master_name=main&password=a&hunter2",
		"a Sentinel's database that's no number":  "redis://host?master_name=main&db=hunter2",
		"a socket without a path":                 "unix://:hunter2@",
		"a password with a slash":                 "redis://:hunter2/@host",
		"a password with a slash after digits":    "redis://:1/hunter2@host:6379",
		"a password with a question mark":         "redis://:1?hunter2@host:6379",
		"a password with a number sign":           "redis://:1#hunter2@host:6379",
		"a password with two slashes":             "redis://:1/hunter2/2@host:6379",
		"a Cluster's password with a slash":       "redis://:1/hunter2@host:6379?cluster=true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := cache.NewAccess(session.NewSecret(target))
			if err == nil {
				t.Fatalf("%s was taken", target)
			}
			if said := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(said, "hunter2") {
				t.Errorf("the error says %s", said)
			}
		})
	}
}

func TestConnectIsImpatient(t *testing.T) {
	t.Parallel()
	const most = 120 * time.Millisecond
	type patience struct {
		Dial, Read, Write, Pool time.Duration
		Retries, DialTries      int
		Context                 bool
	}
	want := patience{Dial: most, Read: most, Write: most, Pool: most, DialTries: 1, Context: true}
	for name, target := range map[string]string{
		"one server": "redis://host",
		"a socket":   "unix:///run/redis.sock",
		"a Sentinel": "redis://host?master_name=main",
		"a Cluster":  "redis://host?cluster=true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got patience
			switch client := connect(t, target).(type) {
			case *redis.Client:
				o := client.Options()
				got = patience{o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout, o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled}
			case *redis.ClusterClient:
				o := client.Options()
				got = patience{o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout, max(o.MaxRetries, 0), o.DialerRetries, o.ContextTimeoutEnabled}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("patience (-want +got):\n%s", diff)
			}
		})
	}
}

package redistest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	redis.SetLogger(&logging.VoidLogger{}) // dials fail here by design
	goleak.VerifyTestMain(m)
}

func TestServerAnswersOnItsPortAndItsSocket(t *testing.T) {
	t.Parallel()
	server := Start(t, "--maxmemory", "12mb")
	server.Do("SET", "key", "value")
	for name, target := range map[string]string{"port": server.URL(), "socket": server.SocketURL()} {
		if got, err := connect(t, target).Get(t.Context(), "key").Result(); err != nil || got != "value" {
			t.Errorf("GET through the %s = %q, %v", name, got, err)
		}
	}
	if got, want := server.Do("CONFIG", "GET", "maxmemory"), "12582912"; got.(map[any]any)["maxmemory"] != want {
		t.Errorf("maxmemory = %v, want %s", got, want)
	}
	if got := server.Do("GET", "no such key"); got != nil {
		t.Errorf("a missing value = %v, want nil", got)
	}
}

func TestServersAreApart(t *testing.T) {
	t.Parallel()
	one, two := Start(t), Start(t)
	one.Do("SET", "key", "value")
	if got := two.Do("DBSIZE"); got != int64(0) {
		t.Errorf("the other server has %v keys", got)
	}
}

func TestRestartedServerIsEmptyAndWhereItWas(t *testing.T) {
	t.Parallel()
	server := Start(t)
	before := server.URL()
	server.Do("SET", "key", "value")
	server.Kill()
	server.Kill()
	if err := connect(t, before).Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answered")
	}
	server.Restart()
	if server.URL() != before {
		t.Errorf("restarted at %s, was at %s", server.URL(), before)
	}
	if got := server.Do("DBSIZE"); got != int64(0) {
		t.Errorf("the restarted server has %v keys", got)
	}
}

func TestPausedServerAnswersOnceResumed(t *testing.T) {
	t.Parallel()
	server := Start(t)
	client := connect(t, server.URL())
	server.Pause()
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := client.Ping(brief).Err(); err == nil {
		t.Error("a paused server answered")
	}
	server.Resume()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("ping of a resumed server: %v", err)
	}
}

func TestPortTakenMeanwhileIsTold(t *testing.T) {
	t.Parallel()
	one, two := Start(t), Start(t)
	two.Kill()
	two.port = one.port
	if err := two.launch(); !errors.Is(err, errPortTaken) {
		t.Errorf("launch on another's port: %v, want errPortTaken", err)
	}
}

func TestServerThatRefusesItsArgumentsSaysWhy(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.args = func(int) []string { return []string{"--no-such-setting", "1"} }
	if err := server.launch(); !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("launch: %v", err)
	}
}

func TestMissingRedisServerIsAFailureThatSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := start(command{log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "apt-get install redis-server") {
		t.Errorf("start without redis-server: %v", err)
	}
}

func TestSocketPathIsShortHoweverLongTheTestsNameIsBecauseTheKernelTakesOnlyAHundredBytesOfIt(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	if got := Start(t).socket(); len(got) > 108 {
		t.Errorf("the socket's path has %d bytes", len(got))
	}
}

func TestClockOfAServerCanBeSet(t *testing.T) {
	t.Parallel()
	server := StartClocked(t)
	seconds := func() time.Time {
		said, _ := server.Do("EVAL", "return tonumber(redis.call('TIME')[1])", 0).(int64)
		return time.Unix(said, 0)
	}
	for _, off := range []time.Duration{0, 2 * time.Hour, -3 * time.Hour, 0} {
		server.SetClock(off)
		if got, want := seconds(), time.Now().Add(off); got.Sub(want).Abs() > 5*time.Second {
			t.Errorf("set off by %s, it is %s there, want about %s", off, got, want)
		}
	}
}

func TestSentinelsNameAReplicaOnceThePrimaryIsDead(t *testing.T) {
	t.Parallel()
	sentinel := StartSentinel(t)
	if got := sentinel.Named(); got != sentinel.Primary {
		t.Fatalf("the Sentinels name %v, want the primary", got)
	}
	sentinel.Primary.Do("SET", "key", "value")
	sentinel.Primary.Do("WAIT", primaryReplicas, patience.Milliseconds())
	failed := time.Now()
	sentinel.Primary.Kill()
	await(t, "the Sentinels to name another", func() bool { return sentinel.Named() != sentinel.Primary })
	t.Logf("another was the primary after %s", time.Since(failed))
	client := redis.NewFailoverClient(failoverOptions(t, sentinel.URL()))
	defer func() { _ = client.Close() }()
	if got, err := client.Get(t.Context(), "key").Result(); err != nil || got != "value" {
		t.Errorf("GET from the new primary = %q, %v", got, err)
	}
}

func TestOldPrimaryThatComesBackIsDemoted(t *testing.T) {
	t.Parallel()
	sentinel := StartSentinel(t)
	sentinel.Primary.Pause()
	await(t, "the Sentinels to name another", func() bool { return sentinel.Named() != sentinel.Primary })
	resumed := time.Now()
	sentinel.Primary.Resume()
	await(t, "the old primary to be a replica", func() bool { return sentinel.Primary.Role() == "slave" })
	t.Logf("the old primary was a replica after %s", time.Since(resumed))
	if sentinel.Named().Role() != "master" {
		t.Error("the one that the Sentinels name is no primary")
	}
}

func TestClusterServesEverySlot(t *testing.T) {
	t.Parallel()
	cluster := StartCluster(t)
	client := connectCluster(t, cluster)
	had := map[int]int{} // :: primary → keys
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		if err := client.Set(t.Context(), key, key, 0).Err(); err != nil {
			t.Errorf("SET %s: %v", key, err)
		}
		_, primary := cluster.Slot(key)
		had[primary]++
	}
	for i, primary := range cluster.Primaries() {
		if got := primary.Do("DBSIZE"); got != int64(had[i]) || had[i] == 0 {
			t.Errorf("primary %d has %v keys, want %d, and some", i, got, had[i])
		}
	}
}

func TestClusterGoesOnWithTheReplicaOfADeadPrimary(t *testing.T) {
	t.Parallel()
	cluster := StartCluster(t)
	_, primary := cluster.Slot("key")
	cluster.Nodes[primary].Do("SET", "key", "value")
	cluster.Nodes[primary].Do("WAIT", 1, patience.Milliseconds())
	failed := time.Now()
	cluster.Nodes[primary].Kill()
	await(t, "the replica to take over", func() bool { return cluster.TookOver(primary) })
	t.Logf("the replica took over after %s", time.Since(failed))
	client := connectCluster(t, cluster)
	await(t, "the Cluster to have the key", func() bool {
		client.ReloadState(t.Context()) // a node that has not heard yet may have been asked first
		return client.Get(t.Context(), "key").Val() == "value"
	})
}

func connectCluster(t *testing.T, cluster *Cluster) *redis.ClusterClient {
	t.Helper()
	options, err := redis.ParseClusterURL(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClusterClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func failoverOptions(t *testing.T, target string) *redis.FailoverOptions {
	t.Helper()
	options, err := redis.ParseFailoverURL(target)
	if err != nil {
		t.Fatal(err)
	}
	return options
}

func connect(t *testing.T, target string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(target)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries, options.DialerRetries, options.ContextTimeoutEnabled = -1, 1, true
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

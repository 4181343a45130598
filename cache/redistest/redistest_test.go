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

func TestSentinelNamesItsPrimary(t *testing.T) {
	t.Parallel()
	sentinel := StartSentinel(t)
	address, ok := sentinel.Watcher.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary").([]any)
	if !ok || len(address) != 2 || address[0].(string)+":"+address[1].(string) != sentinel.Primary.Addr() {
		t.Errorf("the Sentinel names %v, want %s", address, sentinel.Primary.Addr())
	}
}

func TestClusterServesEverySlot(t *testing.T) {
	t.Parallel()
	cluster := StartCluster(t)
	options, err := redis.ParseClusterURL(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClusterClient(options)
	defer func() { _ = client.Close() }()
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		if err := client.Set(t.Context(), key, key, 0).Err(); err != nil {
			t.Errorf("SET %s: %v", key, err)
		}
	}
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

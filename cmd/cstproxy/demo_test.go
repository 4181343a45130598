package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/caller"
)

func TestTheDemoSaysHowToReachItWhereverItListens(t *testing.T) {
	t.Parallel()
	for listening, want := range map[string]string{
		"127.0.0.1:8080":     "http://127.0.0.1:8080",
		"[::1]:8080":         "http://[::1]:8080",
		":8080":              "http://127.0.0.1:8080",
		"0.0.0.0:8080":       "http://127.0.0.1:8080",
		"unix:/run/cst.sock": "--unix-socket /run/cst.sock http://localhost",
	} {
		t.Run(listening, func(t *testing.T) {
			t.Parallel()
			var address listenAddress
			if err := address.UnmarshalText([]byte(listening)); err != nil {
				t.Fatal(err)
			}
			if got := target(address); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTheDemoKeepsItsTokensApartUnlessTold(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ []string
		flags   map[string]string
		want    string
	}{
		"nothing is given": {nil, nil, "cstproxy-demo"},
		"a variable":       {[]string{"CSTPROXY_KEY_PREFIX=mine"}, nil, "mine"},
		"a flag":           {nil, map[string]string{"key-prefix": "mine"}, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := loadConfig(demoEnviron(tt.environ, "127.0.0.1:1"), tt.flags)
			if err != nil {
				t.Fatal(err)
			}
			if config.KeyPrefix != tt.want {
				t.Errorf("the prefix is %q, want %q", config.KeyPrefix, tt.want)
			}
		})
	}
}

func TestTheDemoSaysWhatThereIsToSee(t *testing.T) {
	t.Parallel()
	_, line := caller.NewKey()
	callers := writeFile(t, "callers:\n- {name: backend, keys: ["+line+"], routes: ['*'], clients: ['*']}\n")
	for name, c := range map[string]struct {
		environ []string
		speed   float64
		users   int
		want    show
		says    []string
	}{
		"as it comes": {
			nil, demoSpeed, 24, show{speed: demoSpeed, users: 24},
			[]string{"Open http://127.0.0.1:9090/\n", "24 simulated users", "3600 times as fast", "lives for 2m48s at most", "\nafter 24s without a fetch"},
		},
		"at our own speed": {nil, 1, 24, show{speed: 1, users: 24}, []string{"as fast as ours; --speed 3600"}},
		"without users":    {nil, demoSpeed, 0, show{speed: demoSpeed}, []string{"Open http://127.0.0.1:9090/\nTime"}},
		"on a Redis":       {[]string{"REDIS_URL=redis://127.0.0.1"}, demoSpeed, 24, show{speed: 1, users: 24, sharesClock: true}, []string{"Time is Redis's"}},
		"with a Unix socket": {
			[]string{"CSTPROXY_ADMIN_LISTEN=unix:/run/admin.sock"}, demoSpeed, 24, show{speed: demoSpeed, users: 24},
			[]string{"curl -s --unix-socket /run/admin.sock http://localhost/\n"},
		},
		"as fast as can be": {nil, 1_000_000, 24, show{speed: 1_000_000, users: 24}, []string{"Time runs 1000000 times"}},
		"with callers": {
			[]string{"CSTPROXY_CALLERS_FILE=" + callers}, demoSpeed, 24, show{speed: demoSpeed, strangers: true}, []string{"Simulated users stay away"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := loadConfig(demoEnviron(c.environ, "127.0.0.1:1"), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := newShow(config, c.speed, c.users)
			for _, want := range c.says {
				if !strings.Contains(got.text(), want) {
					t.Errorf("it does not say %q:\n%s", want, got.text())
				}
			}
			if got.speed != c.want.speed || got.users != c.want.users || got.sharesClock != c.want.sharesClock || got.strangers != c.want.strangers {
				t.Errorf("got speed %v, %d users, %v, %v", got.speed, got.users, got.sharesClock, got.strangers)
			}
			if watched := got.page().Client; (watched == demoClient) != (got.users == 0) {
				t.Errorf("%s is watched", watched)
			}
		})
	}
}

func TestTheDemoSaysWhichPortItWasGiven(t *testing.T) {
	t.Parallel()
	environ := []string{"CSTPROXY_LISTEN=127.0.0.1:0", "CSTPROXY_ADMIN_LISTEN=[::1]:0"}
	config, err := loadConfig(demoEnviron(environ, "127.0.0.1:1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	bound := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: port} }
	got := newShow(config, demoSpeed, 24).at(bound(4711), bound(4712)).text()
	for _, want := range []string{"curl -s http://127.0.0.1:4711/v1/", "Open http://[::1]:4712/\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
}

func TestTheDemoSaysHowLongAWeekTakes(t *testing.T) {
	t.Parallel()
	for speed, want := range map[float64]time.Duration{3600: 168 * time.Second, 0.5: 336 * time.Hour, 1_000_000: 605 * time.Millisecond} {
		if got := (show{speed: speed}).real(168 * time.Hour); got != want {
			t.Errorf("at %v a week takes %s, want %s", speed, got, want)
		}
	}
}

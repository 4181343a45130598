package main

import "testing"

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

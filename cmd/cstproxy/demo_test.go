package main

import "testing"

func TestTheDemoSaysHowToReachItWhereverItListens(t *testing.T) {
	t.Parallel()
	for listening, want := range map[string]string{
		"127.0.0.1:8080":     "http://127.0.0.1:8080",
		"[::1]:8080":         "http://[::1]:8080",
		":8080":              "http://localhost:8080",
		"0.0.0.0:8080":       "http://localhost:8080",
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

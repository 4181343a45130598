package main

import "testing"

func TestThisHostReachesItselfWithoutAName(t *testing.T) {
	t.Parallel()
	for listening, want := range map[string]string{
		":9090":          "127.0.0.1:9090",
		"0.0.0.0:9090":   "127.0.0.1:9090",
		"[::]:9090":      "[::1]:9090",
		"127.0.0.2:9090": "127.0.0.2:9090",
		"pod:9090":       "pod:9090",
	} {
		if got := dialable(listenAddress{Network: "tcp", Address: listening}); got.Address != want {
			t.Errorf("who listens on %s is asked at %s, want %s", listening, got.Address, want)
		}
	}
	socket := listenAddress{Network: "unix", Address: "/run/admin.sock"}
	if got := dialable(socket); got != socket {
		t.Errorf("who listens on a socket is asked at %s", got)
	}
}

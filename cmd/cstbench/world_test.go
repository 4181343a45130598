package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// TestMain lets this program be the servers that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveName {
		main()
		return
	}
	folder, err := os.MkdirTemp("", "cstbench")
	if err != nil {
		panic(err)
	}
	builtWorld.Dir = folder
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// builtWorld has a cstproxy for all tests: to build one takes longer than most of them.
var (
	builtWorld world
	build      = sync.OnceValue(func() error { return builtWorld.build(context.Background()) })
)

// builtProxy returns its path, and has the test be where make builds.
func builtProxy(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("these tests need redis-server on PATH: %v", err)
	}
	t.Chdir("../..")
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return builtWorld.Proxy
}

// newTestWorld returns a world that ends with the test.
func newTestWorld(t *testing.T) *world {
	t.Helper()
	w, err := newWorld(t.Context(), builtProxy(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestWorldHasTheDocumentThatTheProxyAnswers(t *testing.T) {
	w := newTestWorld(t)
	kept, err := w.Redis.Client.Get(t.Context(), documentKey).Bytes()
	if err != nil || !bytes.Equal(kept, w.Document) {
		t.Fatalf("Redis has %s, %v; want %s", kept, err, w.Document)
	}
	proxy, err := w.startProxy(t.Context(), "proxy")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Stop() }()
	again, err := fetch(t.Context(), proxy.Target)
	if err != nil {
		t.Fatal(err)
	}
	if len(again) != len(w.Document) {
		t.Errorf("got %s, want %s", again, w.Document)
	}
}

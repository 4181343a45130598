package main

import (
	"bytes"
	"os/exec"
	"testing"
)

// newTestWorld returns a world that ends with the test.
func newTestWorld(t *testing.T) *world {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("these tests need redis-server on PATH: %v", err)
	}
	t.Chdir("../..") // where make builds
	w, err := newWorld(t.Context(), "")
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

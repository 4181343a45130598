package main

import (
	"testing"
	"time"
)

// The answer to the first try comes when nobody waits for it any more: Redis has given the lease, and the next try has it.
func TestMintThatIsTriedAgainHasItsOwnLease(t *testing.T) {
	store, err := openKept(t.Context(), newTestWorld(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	client := numbered(1)
	if err := repeat(func() error { _, err := store.Acquire(t.Context(), client, "owner"); return err }); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := repeat(func() error { return store.mint(t.Context(), client, "owner") }); err != nil {
		t.Fatalf("%v, after %s", err, time.Since(began))
	}
	if token, err := store.Load(t.Context(), client); err != nil || token.Client != client {
		t.Errorf("got %+v, %v", token, err)
	}
}

package main

import (
	"context"
	"net/http"
)

// contender is something that answers the document, and can be measured.
type contender struct {
	Name string
	// Start starts it and returns it once it answers. The world has a real redis-server with the document in it.
	Start func(ctx context.Context, w *world) (*running, error)
	// Missing says why it can't run here, "" if it can. Nil is a contender that always can.
	Missing func() string
}

// running is a contender that was started.
type running struct {
	Target target
	// Processes are the pids whose processor time counts as its own (workers included; Redis not).
	Processes []int
	Stop      func() error
}

// target is where to ask and what for.
type target struct {
	Network, Address string // "tcp" "127.0.0.1:1234", or "unix" "/path"
	Path             string
	Header           http.Header // what it needs beyond Host
	// Many: it is asked for the other clients in turn, instead of for Path.
	Many bool
}

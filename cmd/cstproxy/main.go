// Command cstproxy is a caching proxy for Portal's Client Session Tokens.
package main

import (
	"context"
	"fmt"
	"io"
	"log" //nolint:depguard // to silence it
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func main() { begin(time.Now) }

// begin runs the process, whose machine has this clock, to its end.
func begin(clock func() time.Time) {
	// net/http tells the standard logger, and nobody else, what a server sent unasked: that may hold a token.
	log.SetOutput(io.Discard)
	redis.SetLogger(&logging.VoidLogger{}) // it has a form of its own; what matters is an error, and logged as one
	if err := harden(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "cstproxy:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, process{args: os.Args, environ: os.Environ(), out: os.Stdout, err: os.Stderr, clock: clock}))
}

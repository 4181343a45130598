package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	// clockAhead is how far the clock of a process under test is ahead of this machine's.
	clockAhead = "CLOCK_AHEAD"
	// clockBreaks names a file. From when it is there, who asks that clock panics, if called by what the file names.
	clockBreaks = "CLOCK_BREAKS"
)

var update = flag.Bool("update", false, "write the golden texts in testdata/script anew")

// breaks reports whether the file is there, and names who asks.
func breaks(file string) bool {
	caller, err := os.ReadFile(file)
	return err == nil && bytes.Contains(debug.Stack(), caller)
}

// TestMain makes the test binary be cstproxy where it is called by that name, so that tests can run it as a process.
func TestMain(m *testing.M) {
	// Most tests here wait for other processes, so that more of them run at once than there are processors. Those that
	// measure how long something takes are not parallel to any.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"cstproxy": func() {
		dieWithParent()
		if os.Getenv(unobserved) != "" {
			if err := serveUnobserved(context.Background()); err != nil {
				os.Exit(exitFailed)
			}
			return
		}
		ahead, _ := time.ParseDuration(os.Getenv(clockAhead))
		broken := os.Getenv(clockBreaks)
		begin(func() time.Time {
			if broken != "" && breaks(broken) {
				panic("the clock is broken")
			}
			return time.Now().Add(ahead)
		})
	}})
}

package main

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// clockAhead is how far the clock of a process under test is ahead of this machine's.
const clockAhead = "CLOCK_AHEAD"

var update = flag.Bool("update", false, "write the golden texts in testdata/script anew")

// TestMain makes the test binary be cstproxy where it is called by that name, so that tests can run it as a process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cstproxy": func() {
		dieWithParent()
		ahead, _ := time.ParseDuration(os.Getenv(clockAhead))
		begin(func() time.Time { return time.Now().Add(ahead) })
	}})
}

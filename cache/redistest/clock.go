package redistest

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// Clocked is a server whose wall clock can be set.
type Clocked struct {
	*Server
	file string
}

// StartClocked starts a server as [Start] does, with a clock that goes right until it is set. It needs a C compiler, as the
// race detector does, and Linux: elsewhere the test is skipped.
func StartClocked(tb testing.TB, args ...string) *Clocked {
	tb.Helper()
	if runtime.GOOS != "linux" {
		tb.Skip("SKIPPED: a server whose clock can be set needs Linux")
	}
	c := &Clocked{Server: newServer(tb)}
	c.file = filepath.Join(c.dir, "clock")
	c.environ = []string{"LD_PRELOAD=" + compileClock(tb, c.dir), "CLOCK_FILE=" + c.file}
	c.args = c.plain(args)
	c.startAnywhere()
	return c
}

// SetClock sets the server's clock off from the right time, in whole seconds.
func (c *Clocked) SetClock(off time.Duration) {
	c.tb.Helper()
	next := c.file + ".next"
	if err := os.WriteFile(next, []byte(strconv.Itoa(int(off.Seconds()))), 0o600); err != nil {
		c.tb.Fatalf("redistest: set the clock: %v", err)
	}
	if err := os.Rename(next, c.file); err != nil { // so that nobody reads half of it
		c.tb.Fatalf("redistest: set the clock: %v", err)
	}
}

func compileClock(tb testing.TB, dir string) (library string) {
	tb.Helper()
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	if said, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil { //nolint:gosec,noctx // its own files
		tb.Fatalf("redistest: compile the clock: %v\n%s", err, said)
	}
	return library
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// nobody is a user who owns nothing.
const nobody = 65534

var noCore = regexp.MustCompile(`(?m)^Max core file size +0 +0 `)

// The kernel gives what /proc shows of a process that can't be dumped to root, so that others of its user can't look. That
// shows only where the process is not root's.
func TestTheMemoryOfTheProxyIsNobodysToSee(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serveAs(t, nobody, environ...)
	c.mustFetch("alice", "")
	if len(c.series()) == 0 {
		t.Error("the process can't show its metrics")
	}
	proc := fmt.Sprint("/proc/", c.command.Process.Pid)
	limits, err := os.ReadFile(proc + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	if !noCore.Match(limits) {
		t.Errorf("core dumps are on:\n%s", limits)
	}
	for _, file := range []string{"mem", "environ", "maps"} {
		info, err := os.Stat(filepath.Join(proc, file))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
			t.Errorf("%s is the user %d's to read", file, owner)
		}
	}
	c.signal(syscall.SIGABRT)
	if state := c.wait(); state.Sys().(syscall.WaitStatus).CoreDump() {
		t.Error("it left a core dump")
	}
}

// serveAs is serve for another user where this one is root, and for this one elsewhere.
func serveAs(t *testing.T, user uint32, environ ...string) *child {
	t.Helper()
	if os.Getuid() != 0 {
		return serve(t, environ...)
	}
	dir, err := os.MkdirTemp("/tmp", "") //nolint:usetesting // others may not look into the test's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(dir, "cstproxy")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, binary)
	return serveBy(t, starter{binary: binary, attributes: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}}, environ...)
}

// copyFile copies this program.
func copyFile(t *testing.T, to string) {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(own)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(file, from)
	if closed := file.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
}

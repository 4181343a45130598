package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// pseudoTerminal returns both ends of a terminal of that size.
func pseudoTerminal(t *testing.T, width, height uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: no terminal can be made here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	raw := int(master.Fd())
	number, err := unix.IoctlGetInt(raw, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(raw, unix.TIOCSPTLCK, 0), unix.IoctlSetWinsize(raw, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: no terminal can be made here: %v", err)
	}
	return master, slave
}

// onTerminal starts cstproxy on a terminal, and returns what it writes there.
func onTerminal(t *testing.T, environ []string, args ...string) (*exec.Cmd, *transcript) {
	t.Helper()
	master, slave := pseudoTerminal(t, 60, 10)
	command := exec.Command("cstproxy", args...)
	name, value := raceSettings()
	command.Env = append([]string{name + "=" + value}, environ...)
	command.Stdout = slave
	var errs transcript
	command.Stderr = &errs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	seen := &errs
	drained := make(chan struct{})
	go func() { defer close(drained); _, _ = io.Copy(seen, master) }()
	t.Cleanup(func() { _ = command.Process.Kill(); <-drained })
	return command, seen
}

var escapes = regexp.MustCompile(`\x1b\[[?0-9;]*[A-Za-z]`)

func TestStatsLeaveTheTerminalAsItWas(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, environ...)
	c.mustFetch("alice", "")
	admin := "CSTPROXY_ADMIN_LISTEN=" + strings.TrimPrefix(c.admin, "http://")
	command, seen := onTerminal(t, []string{admin, "NO_COLOR=1"}, "stats", "--interval", "100ms")
	await(t, "three screens", func() bool { return strings.Count(seen.String(), screenHome) >= 3 })
	c.signal(syscall.SIGTERM)
	await(t, "the proxy to be missed", func() bool { return strings.Contains(seen.String(), "no answer from") })
	_ = command.Process.Signal(syscall.SIGINT)
	if err := command.Wait(); err != nil {
		t.Errorf("it ended with %v, want 0", err)
	}
	await(t, "the end", func() bool { return strings.HasSuffix(seen.String(), screenLeave) })
	all := seen.String()
	if !strings.HasPrefix(all, screenEnter) || strings.Contains(all, inBold) {
		t.Errorf("it began with %q, and has bold letters: %t", all[:20], strings.Contains(all, inBold))
	}
	for frame := range strings.SplitSeq(all, screenHome) {
		lines := strings.Split(escapes.ReplaceAllString(frame, ""), "\n")
		if len(lines) > 10 {
			t.Errorf("%d lines on a screen of 10", len(lines))
		}
		for _, line := range lines {
			if n := len([]rune(strings.TrimRight(line, "\r"))); n > 60 {
				t.Errorf("%d characters on a screen of 60: %q", n, line)
			}
		}
	}
}

func TestATokenOnATerminalComesWithAWarning(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, environ...)
	command, seen := onTerminal(t, []string{"CSTPROXY_LISTEN=" + strings.TrimPrefix(c.data, "http://")}, "token", "get", "alice")
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	await(t, "the warning", func() bool { return strings.Contains(seen.String(), "This is a secret") })
}

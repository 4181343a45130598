package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what the processes have used so far, by the kernel's own clock of each: to the nanosecond, where
// /proc/PID/stat tells hundredths of a second.
func processorTime(pids ...int) (sum time.Duration, err error) {
	for _, pid := range pids {
		const schedulers = 2 // CPUCLOCK_SCHED of all threads, as clock_getcpuclockid makes it
		var at unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|schedulers), &at); err != nil { //nolint:gosec // a pid fits
			return 0, fmt.Errorf("read the processor time of %d: %w", pid, err)
		}
		sum += time.Duration(at.Nano())
	}
	return sum, nil
}

var errStat = errors.New("/proc/stat is not as it is known")

// busyTime is what all processes of the machine have used so far, and what its host kept from it. Interrupts are left out:
// the kernel counts those of the loopback apart from whose packets they carry.
func busyTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read the machine's time: %w", err)
	}
	return parseBusy(text)
}

func parseBusy(text []byte) (sum time.Duration, err error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	const user, nice, system, steal, tick = 1, 2, 3, 8, 10 * time.Millisecond
	if len(fields) <= steal || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("%w: %q", errStat, line)
	}
	for _, field := range []int{user, nice, system, steal} {
		n, err := strconv.ParseInt(string(fields[field]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %q", errStat, line)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

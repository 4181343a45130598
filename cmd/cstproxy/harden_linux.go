package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// harden keeps the memory of this process, which holds secrets, out of core dumps, and from other processes of its user.
// What the process reads of itself in /proc stays readable to it.
func harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}

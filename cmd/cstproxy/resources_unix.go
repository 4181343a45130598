//go:build linux || darwin

package main

import (
	"math"
	"syscall"
)

// maxFiles returns how many files this process may have open; 0 if there is no telling.
func maxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > math.MaxInt32 {
		return 0
	}
	return int(limit.Cur)
}

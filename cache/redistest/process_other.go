//go:build !linux

package redistest

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }

// stopped takes the signal for arrived: there is no portable way to ask.
func stopped(int) bool { return true }

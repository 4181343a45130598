package main

import "syscall"

// dieWithParent has the kernel kill this process when the one that started it ends, however that ends.
func dieWithParent() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0)
}

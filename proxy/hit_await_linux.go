package proxy

import (
	"syscall"
	"unsafe"
)

// open reports whether the connection is the system's own, so that hits can be read from it.
func (c *hitConn) open() bool {
	system, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := system.SyscallConn()
	c.raw = raw
	return err == nil
}

// await answers hits until something else comes, which it returns: a request, or how the connection ended. It reads the
// socket itself, since net reads once more after each request to find that nothing is there: what fills no buffer was all,
// and of what comes later the poller tells.
func (c *hitConn) await(p []byte) (n int, err error) {
	_ = c.raw.Read(func(fd uintptr) (over bool) {
		for {
			var failure syscall.Errno
			n, failure = atOnce(syscall.SYS_READ, fd, p)
			switch {
			case n <= 0:
				return failure != syscall.EAGAIN
			case !c.hit(p[:n], fd):
				return true
			case n < len(p):
				n = 0
				return false
			}
		}
	})
	if n > 0 {
		return n, nil
	}
	return c.Conn.Read(p) // which finds the same, and says it as net does
}

// write writes an answer to the socket, and waits only where there is no room for it.
func (c *hitConn) write(answer []byte, fd uintptr) error {
	if n, _ := atOnce(syscall.SYS_WRITE, fd, answer); n > 0 {
		answer = answer[n:]
	}
	if len(answer) == 0 {
		return nil
	}
	_, err := c.Write(answer) // which finds what is wrong, if anything is
	return err
}

// atOnce reads or writes a socket, which never blocks since net opened it. The scheduler is not told, as syscall.Read does:
// it would look every 20 µs whether the call lasts, on a thread of its own, and take the processor away from one that does.
func atOnce(call, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, failure := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // as the rules of unsafe have it for calls
		switch failure {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, failure
		}
	}
}

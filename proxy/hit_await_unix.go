//go:build unix

package proxy

import "syscall"

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
			n, err = ignoringInterrupts(int(fd), p)
			switch {
			case n <= 0:
				return err != syscall.EAGAIN //nolint:errorlint // as it comes from the system
			case !c.hit(p[:n]):
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

func ignoringInterrupts(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

package socket

import (
	"net"
	"sync"
	"syscall"
	"unsafe"
)

// Conn is a connection that is read and written without telling the scheduler. Deadlines and errors are those of the
// connection that it is made of.
type Conn struct {
	net.Conn
	raw syscall.RawConn

	// reading is held by who reads, writing by who writes or looks. What they do, what with, and how it went stands here: to
	// make it each time would take memory.
	reading, writing sync.Mutex
	read, write      func(fd uintptr) (over bool)
	look             func(fd uintptr)
	into, from       []byte
	got, wrote       int
	first            [1]byte
	quiet            bool
}

// New returns a Conn made of inner; false if that is not the system's own, as of TLS, or its system is not Linux.
func New(inner net.Conn) (*Conn, bool) {
	system, ok := inner.(syscall.Conn)
	if !ok {
		return nil, false
	}
	raw, err := system.SyscallConn()
	c := &Conn{Conn: inner, raw: raw}
	c.read = func(fd uintptr) bool {
		var failure syscall.Errno
		c.got, failure = atOnce(syscall.SYS_READ, fd, c.into)
		return failure != syscall.EAGAIN
	}
	c.write = func(fd uintptr) bool {
		c.wrote, _ = atOnce(syscall.SYS_WRITE, fd, c.from)
		return true
	}
	c.look = func(fd uintptr) {
		const flags = syscall.MSG_PEEK | syscall.MSG_DONTWAIT
		_, _, failure := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&c.first)), 1, flags, 0, 0) //nolint:gosec // as the rules of unsafe have it for calls
		c.quiet = failure == syscall.EAGAIN
	}
	return c, err == nil
}

// SyscallConn implements [syscall.Conn].
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.into, c.got = p, 0
	_ = c.raw.Read(c.read)
	c.into = nil
	if c.got > 0 {
		return c.got, nil
	}
	return c.Conn.Read(p) // which says as net does how it ended
}

// Await reads until there is something that take does not take, which it returns: a piece of what the peer sends, or how the
// connection ended. It does not read once more to find that nothing is there, as package net does: what fills no buffer was
// all, and of what comes later the poller tells. Of a peer that ended its half together with the last of what it sent, that is
// found only by the deadline.
func (c *Conn) Await(p []byte, take func(text []byte) bool) (n int, err error) {
	_ = c.raw.Read(func(fd uintptr) (over bool) {
		for {
			var failure syscall.Errno
			n, failure = atOnce(syscall.SYS_READ, fd, p)
			switch {
			case n <= 0:
				return failure != syscall.EAGAIN
			case !take(p[:n]):
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
	return c.Conn.Read(p)
}

// Write implements [net.Conn]. It waits only where there is no room for what is left.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.from, c.wrote = p, 0
	_ = c.raw.Write(c.write)
	c.from = nil
	if c.wrote == len(p) {
		return c.wrote, nil
	}
	n = c.wrote
	more, err := c.Conn.Write(p[n:]) // which finds what is wrong, if anything is
	return n + more, err
}

// Quiet reports whether the peer has neither sent what is yet to be read, nor ended the connection.
func (c *Conn) Quiet() bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.quiet = false
	return c.raw.Control(c.look) == nil && c.quiet
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

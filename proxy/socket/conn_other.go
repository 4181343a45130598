//go:build !linux

package socket

import "net"

// Conn is a connection that is read and written without telling the scheduler, which is done on Linux alone.
type Conn struct{ net.Conn }

// New returns false: there is none on this system.
func New(net.Conn) (*Conn, bool) { return nil, false }

// Await is Read.
func (c *Conn) Await(p []byte, _ func([]byte) bool) (int, error) { return c.Conn.Read(p) }

// Quiet returns false: it takes a look to know.
func (c *Conn) Quiet() bool { return false }

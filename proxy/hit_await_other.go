//go:build !linux

package proxy

// open reports whether hits can be read from the connection: on this system, from none.
func (*hitConn) open() bool { return false }

func (c *hitConn) await(p []byte) (int, error) { return c.Conn.Read(p) }

func (c *hitConn) write(answer []byte, _ uintptr) error {
	_, err := c.Write(answer)
	return err
}

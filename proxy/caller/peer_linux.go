package caller

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// peersAreKnown: the callers file may name user ids.
const peersAreKnown = true

var errNoPeer = errors.New("the connection has no process at its other end that is known")

// peerUID returns what SO_PEERCRED (unix(7)) says: the user at the time of connecting, as this process's namespace has it.
func peerUID(socket syscall.Conn) (uint32, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	uid, failed := uint32(0), errNoPeer
	err = raw.Control(func(fd uintptr) {
		if domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_UNIX {
			return // on others the option succeeds as well, with a user id of no meaning
		}
		var peer *unix.Ucred
		if peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed == nil {
			uid = peer.Uid
		}
	})
	return uid, errors.Join(err, failed)
}

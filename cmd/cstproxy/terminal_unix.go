//go:build linux || darwin

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// screen is the size of a terminal, in characters.
type screen struct{ width, height int }

// terminal returns the size of the terminal that w is, if it is one.
func terminal(w io.Writer) (screen, bool) {
	file, ok := w.(*os.File)
	if !ok {
		return screen{}, false
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return screen{}, false
	}
	return screen{width: int(size.Col), height: int(size.Row)}, true
}

package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/socket"
)

// pair returns two ends of a connection, the first of which is a Conn.
func pair(t *testing.T) (own *socket.Conn, peer net.Conn) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	peer, err = (&net.Dialer{}).DialContext(t.Context(), "unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	own, ok := socket.New(accepted)
	if !ok {
		t.Fatal("it is the system's own")
	}
	t.Cleanup(func() { _, _ = own.Close(), peer.Close() })
	return own, peer
}

// More than there is room for on the way comes through whole, both ways.
func TestAllThatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	own, peer := pair(t)
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, way := range map[string][2]net.Conn{"from it": {own, peer}, "to it": {peer, own}} {
		written := make(chan error, 1)
		go func() { _, err := way[0].Write(text); written <- err }()
		got := make([]byte, len(text))
		if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, text) || <-written != nil {
			t.Errorf("%s: %v, and what came is equal: %t", name, err, bytes.Equal(got, text))
		}
	}
}

func TestEndsAreThoseOfNet(t *testing.T) {
	t.Parallel()
	own, peer := pair(t)
	_ = own.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	network := &net.OpError{}
	if n, err := own.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &network) || network.Op != "read" {
		t.Errorf("after the deadline: %d, %v", n, err)
	}
	_ = own.SetReadDeadline(time.Time{})
	_, _ = peer.Write([]byte("last"))
	_ = peer.Close()
	if text, err := io.ReadAll(own); err != nil || string(text) != "last" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := own.Write([]byte("more")); !errors.As(err, &network) || network.Op != "write" {
		t.Errorf("written to nobody: %v", err)
	}
	_ = own.Close()
	if _, err := own.Read(make([]byte, 8)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after it was closed: %v", err)
	}
}

// What is taken is not returned, however it comes.
func TestAwaitReturnsWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	own, peer := pair(t)
	taken := 0
	done := make(chan string)
	go func() {
		p := make([]byte, 4)
		n, _ := own.Await(p, func(text []byte) bool {
			if text[0] != 'a' {
				return false
			}
			taken += len(text)
			_, _ = own.Write([]byte("."))
			return true
		})
		done <- string(p[:n])
	}()
	for _, text := range []string{"a", "aaaa", "aaaaaaaaa"} {
		_, _ = peer.Write([]byte(text))
		if _, err := peer.Read(make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = peer.Write([]byte("b"))
	if left := <-done; left != "b" || taken != 14 {
		t.Errorf("%q was left, and %d were taken", left, taken)
	}
}

// A pool asks before it uses a connection again.
func TestQuietIsWhoHasNothingMoreToSayAndIsThere(t *testing.T) {
	t.Parallel()
	own, peer := pair(t)
	if !own.Quiet() {
		t.Error("a new connection is not quiet")
	}
	_, _ = peer.Write([]byte("a"))
	if own.Quiet() {
		t.Error("quiet, with something to be read")
	}
	if _, err := own.Read(make([]byte, 1)); err != nil || !own.Quiet() {
		t.Errorf("%v, and it is not quiet once that was read", err)
	}
	_ = own.SetDeadline(time.Unix(1, 0))
	if !own.Quiet() {
		t.Error("not quiet after its deadline")
	}
	_ = peer.Close()
	if own.Quiet() {
		t.Error("quiet, with nobody there")
	}
	_ = own.Close()
	if own.Quiet() {
		t.Error("quiet, though it was closed")
	}
}

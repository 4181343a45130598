package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"
)

// listen opens the address. A socket gets mode; one that a dead process left behind is removed first.
func listen(ctx context.Context, address listenAddress, mode fs.FileMode) (net.Listener, error) {
	var config net.ListenConfig
	if address.Network != "unix" {
		return config.Listen(ctx, address.Network, address.Address)
	}
	if err := removeStale(ctx, address.Address); err != nil {
		return nil, err
	}
	listener, err := config.Listen(ctx, address.Network, address.Address)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(address.Address, mode); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("set the socket's mode: %w", err)
	}
	return listener, nil
}

// removeStale removes a socket that nobody listens on. Anything else at that path is not ours to remove.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	return os.Remove(path)
}

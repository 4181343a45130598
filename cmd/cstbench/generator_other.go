//go:build !linux

package main

import "errors"

var errLinuxOnly = errors.New("it is measured on Linux only: the generator waits by epoll, and processor time comes from /proc")

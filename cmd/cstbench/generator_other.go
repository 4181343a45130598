//go:build !linux

package main

import (
	"context"
	"errors"
	"syscall"
	"time"
)

var errLinuxOnly = errors.New("it is measured on Linux only: the generator waits by epoll, and processor time comes from its clocks")

func (t traffic) run() (outcome, error) { return outcome{}, errLinuxOnly }

func processorTime(...int) (time.Duration, error) { return 0, errLinuxOnly }

func busyTime() (time.Duration, error) { return 0, errLinuxOnly }

func describeMachine(context.Context) machine { return machine{} }

func endsWithUs() *syscall.SysProcAttr { return nil }

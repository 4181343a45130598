package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// overtime is how long after the end of a load its last answers may come.
const overtime = 2 * time.Second

// generator carries out a load on one thread: what it costs is the same for all who are measured, and as little as can be.
type generator struct {
	traffic  traffic
	wires    [][]byte
	epoll    int
	timer    int // a timerfd that wakes an open loop
	peers    []peer
	free     []int // peers of an open loop that wait for nothing, the last used last
	turn     int   // of wires
	sent     int   // timed requests of an open loop
	underway int   // requests that wait for an answer
	end      time.Time
	begin    time.Time
	result   outcome
}

// peer is one connection.
type peer struct {
	fd, path, got int
	busy          bool
	since         time.Time // when its request was sent, or meant to be
	in            [mostAnswer]byte
}

// run carries out the load. An answer that is not the right one ends it.
func (t traffic) run() (outcome, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g := &generator{traffic: t, epoll: -1, timer: -1, peers: make([]peer, t.Connections), result: outcome{Latency: newLatency()}}
	for i := range g.peers {
		g.peers[i].fd = -1
	}
	defer g.close()
	if err := g.connect(); err != nil {
		return g.result, err
	}
	return g.result, errors.Join(g.warm(), g.measure())
}

// connect connects all peers.
func (g *generator) connect() (err error) {
	if g.wires, err = g.traffic.wires(); err != nil {
		return err
	}
	if g.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make an epoll: %w", err)
	}
	if g.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return fmt.Errorf("make a timer: %w", err)
	}
	if err := g.watch(g.timer, timerEvent); err != nil {
		return err
	}
	for i := range g.peers {
		if g.peers[i].fd, err = connect(g.traffic.Target); err != nil {
			return err
		}
		if err := g.watch(g.peers[i].fd, int32(i)); err != nil {
			return err
		}
	}
	return nil
}

// timerEvent is what the timer's events carry where those of peers have their index.
const timerEvent = -1

func (g *generator) watch(fd int, mark int32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: mark}
	if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch a connection: %w", err)
	}
	return nil
}

func (g *generator) close() {
	for i := range g.peers {
		closeFD(g.peers[i].fd)
	}
	closeFD(g.timer)
	closeFD(g.epoll)
}

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd) // all was read from it that there was
	}
}

// connect returns a descriptor that does not block.
func connect(t target) (fd int, err error) {
	family, address, err := socketAddress(t)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	err = unix.Connect(fd, address)
	if err == nil && family == unix.AF_INET {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		closeFD(fd)
		return -1, fmt.Errorf("connect to %s: %w", t.Address, err)
	}
	return fd, nil
}

func socketAddress(t target) (family int, address unix.Sockaddr, err error) {
	if t.Network == "unix" {
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: t.Address}, nil
	}
	at, err := netip.ParseAddrPort(t.Address)
	if err != nil {
		return 0, nil, fmt.Errorf("read the address: %w", err)
	}
	return unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, nil
}

// warm has all ask for a while, untimed: every connection is known to the other side then, which is as warm as under load.
func (g *generator) warm() error {
	g.end = time.Now().Add(g.traffic.Warm)
	if err := g.closed(); err != nil {
		return err
	}
	return g.drain()
}

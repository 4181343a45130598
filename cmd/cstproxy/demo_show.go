package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/cstproxy/cstproxy/proxy"
)

// show is what there is to see in a demo.
type show struct {
	config Config
	speed  float64
	users  int
	// sharesClock: the time is Redis's, which runs no faster, whatever was asked for.
	sharesClock bool
	// strangers: the data API asks for credentials or TLS, which the demo's users do not have.
	strangers bool
}

func newShow(config Config, speed float64, users int) show {
	s := show{config: config, speed: speed, users: users}
	if !config.RedisURL.IsZero() {
		s.sharesClock, s.speed = true, 1
	}
	if config.CallersFile != "" || config.TLSCertFile != "" {
		s.strangers, s.users = true, 0
	}
	return s
}

// at returns the show on ports that are open: one asked for as 0 has a number by then.
func (s show) at(data, admin net.Addr) show {
	s.config.Listen, s.config.AdminListen = numbered(s.config.Listen, data), numbered(s.config.AdminListen, admin)
	return s
}

func numbered(asked listenAddress, bound net.Addr) listenAddress {
	host, _, err := net.SplitHostPort(asked.Address)
	if tcp, ok := bound.(*net.TCPAddr); ok && err == nil {
		asked.Address = net.JoinHostPort(host, strconv.Itoa(tcp.Port))
	}
	return asked
}

// watched is the client whose life-line is shown unasked.
func (s show) watched() string {
	if s.users == 0 {
		return demoClient
	}
	return watchedUser
}

func (s show) page() proxy.Demo { return proxy.Demo{Speed: s.speed, Client: s.watched()} }

// play lets the users come until ctx ends.
func (s show) play(ctx context.Context, now func() time.Time) {
	if s.users == 0 {
		return
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // when people come is no secret
	fetch, closeIdle := fetchFrom(s.config.Listen)
	defer closeIdle()
	began := now()
	all := visitors{
		users: newUsers(s.users, random), since: func() time.Duration { return now().Sub(began) },
		speed: s.speed, random: random, fetch: fetch,
	}
	all.run(ctx)
}

// text is what a newcomer reads.
func (s show) text() string {
	data, admin := target(s.config.Listen), target(s.config.AdminListen)
	if s.config.AdminTLSCertFile != "" {
		admin = strings.Replace(admin, "http://", "https://", 1)
	}
	return fmt.Sprintf(`%[1]s
%[2]s
A token for a client, minted the first time and from the cache after that:
  curl -s %[3]s/v1/clients/%[5]s/token
What is known about it, without the token:
  curl -s %[3]s/v1/clients/%[5]s
As a backend asks Portal itself today:
  curl -s -X POST %[3]s/api/v1/custodians/clients/%[5]s/session
What it cost:
  curl -s %[4]s/metrics | grep ^cstproxy_mints
Stop with Ctrl-C.
`, s.invitation(admin), s.clockText(), data, admin, demoClient)
}

// invitation is the first line: where to look, and what there is to see.
func (s show) invitation(admin string) string {
	open := "Open " + admin + "/"
	if s.config.AdminListen.Network == "unix" {
		open = "The status page is on a Unix socket: curl -s " + admin + "/"
	}
	switch {
	case s.strangers:
		return open + "\nSimulated users stay away: the data API asks for credentials or TLS, which they do not have."
	case s.users == 0:
		return open
	}
	return fmt.Sprintf("%s\nand see %d simulated users fetch their tokens.", open, s.users)
}

func (s show) clockText() string {
	switch {
	case s.sharesClock:
		return "Time is Redis's, and runs no faster than ours: for --speed leave REDIS_URL out.\n"
	case s.speed == 1:
		return "Time runs as fast as ours; --speed 3600 lets an hour pass in a second.\n"
	}
	return fmt.Sprintf("Time runs %s times as fast as ours (--speed 1: as fast): a token lives for %s at most, and goes idle\nafter %s without a fetch.\n",
		strconv.FormatFloat(s.speed, 'f', -1, 64), s.real(s.config.RefreshWindow), s.real(s.config.IdleTTL))
}

// real is how long it takes for that much simulated time to pass.
func (s show) real(simulated time.Duration) time.Duration {
	took := time.Duration(float64(simulated) / s.speed)
	if took < 10*time.Second {
		return took.Round(time.Millisecond)
	}
	return took.Round(time.Second)
}

// target returns curl's arguments for a server that listens there, but for a path at the end.
func target(listening listenAddress) string {
	if listening.Network == "unix" {
		return "--unix-socket " + listening.Address + " http://localhost"
	}
	return "http://" + dialable(listening).Address
}

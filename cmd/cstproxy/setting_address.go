package main

import (
	"net"
	"path"
	"regexp"
	"strconv"
	"strings"
)

const (
	unixPrefix = "unix:"
	// longestSocketPath is what Linux has room for in a socket's address (unix(7): 108 bytes with the NUL).
	longestSocketPath = 107
)

// hosts admits names, IPv4 and IPv6 addresses (with a zone). Which of them exist only listening can tell.
var hosts = regexp.MustCompile(`\A[A-Za-z0-9_.:%-]*\z`)

// listenAddress is where a server listens; its fields are the arguments of [net.Listen].
type listenAddress struct {
	Network string // tcp or unix
	Address string // host:port or an absolute path
}

// UnmarshalText reads host:port, :port (every interface) or unix:/path. Port 0 leaves the choice to the system.
func (a *listenAddress) UnmarshalText(text []byte) error {
	parse := parseHostPort
	rest, isSocket := strings.CutPrefix(string(text), unixPrefix)
	if isSocket {
		parse = parseSocket
	}
	address, err := parse(rest)
	if err == nil {
		*a = address
	}
	return err
}

func parseHostPort(text string) (listenAddress, error) {
	host, port, err := net.SplitHostPort(text)
	number, badPort := strconv.ParseUint(port, 10, 16)
	if err != nil || badPort != nil || !hosts.MatchString(host) {
		return listenAddress{}, errNotAllowed
	}
	address := net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(number, 10))
	return listenAddress{Network: "tcp", Address: address}, nil
}

func parseSocket(file string) (listenAddress, error) {
	clean := path.Clean(file)
	if !path.IsAbs(file) || clean == "/" || len(clean) > longestSocketPath {
		return listenAddress{}, errNotAllowed
	}
	return listenAddress{Network: "unix", Address: clean}, nil
}

// String returns what UnmarshalText reads.
func (a listenAddress) String() string {
	if a.Network == "unix" {
		return unixPrefix + a.Address
	}
	return a.Address
}

// clashes reports whether two servers can't listen on both: the same socket, or the same port on the same host or
// where one of them takes every interface.
func (a listenAddress) clashes(other listenAddress) bool {
	if a.Network != other.Network || a.Network == "unix" {
		return a == other
	}
	host, port, _ := net.SplitHostPort(a.Address)
	otherHost, otherPort, _ := net.SplitHostPort(other.Address)
	if port != otherPort || port == "0" {
		return false
	}
	return host == otherHost || isEveryInterface(host) || isEveryInterface(otherHost)
}

// isEveryInterface reports the hosts that [net.Listen] takes for all local addresses.
func isEveryInterface(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }

// isLocal reports an address that nobody reaches from another machine. Of names only localhost is known to be one.
func (a listenAddress) isLocal() bool {
	host, _, _ := net.SplitHostPort(a.Address)
	return a.Network == "unix" || host == "localhost" || net.ParseIP(host).IsLoopback()
}

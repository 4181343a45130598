package caller_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// over is a request for host that came over a connection to address.
func over(address net.Addr, host string) *http.Request {
	r := show().WithContext(context.WithValue(context.Background(), http.LocalAddrContextKey, address))
	r.Host = host
	return r
}

func TestHostMustBeThisMachinesOwn(t *testing.T) {
	t.Parallel()
	socket, tcp := &net.UnixAddr{Name: "/run/cst.sock", Net: "unix"}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	for host, c := range map[string]struct{ socket, tcp bool }{
		"localhost":                {true, true},
		"LOCALHOST:8080":           {true, true},
		"127.0.0.1":                {true, true},
		"127.0.0.1:8080":           {true, true},
		"[::1]:8080":               {true, true},
		"[::ffff:127.0.0.1]:8080":  {true, true},
		"":                         {true, false},
		"unix":                     {true, false},
		"docker":                   {true, false},
		"_":                        {true, false},
		"cstproxy":                 {true, false},
		"%2Frun%2Fcst.sock":        {true, false},
		"%2frun%2fcst.sock":        {true, false},
		"attacker.example":         {false, false},
		"unix.attacker.example":    {false, false},
		"%2Frun.attacker/":         {false, false},
		"attacker:8080":            {false, false},
		"localhost.":               {false, false},
		"localhost.example":        {false, false},
		"127.0.0.1.nip.io":         {false, false},
		"[localhost":               {false, false},
		"0.0.0.0:8080":             {false, false},
		"192.168.1.5":              {false, false},
		"[::]":                     {false, false},
		"[::ffff:192.168.1.5]:80":  {false, false},
		"127.0.0.1:80@attacker:80": {false, false},
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			for address, want := range map[net.Addr]bool{socket: c.socket, tcp: c.tcp} {
				who, err := caller.Anonymous{}.Identify(over(address, host))
				if (err == nil) != want || want != (who.Name == "anonymous") {
					t.Errorf("%s: caller %+v, error %v", address.Network(), who, err)
				}
				if err != nil && !errors.Is(err, session.ErrCallerForbidden) {
					t.Errorf("%s: error %v", address.Network(), err)
				}
			}
		})
	}
}

func TestHostWithoutAKnownConnectionIsNoSockets(t *testing.T) {
	t.Parallel()
	r := show()
	r.Host = "unix"
	if _, err := (caller.Anonymous{}).Identify(r); !errors.Is(err, session.ErrCallerForbidden) {
		t.Errorf("error %v", err)
	}
}

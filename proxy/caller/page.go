package caller

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"golang.org/x/time/rate"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Page lets the status page ask, and whoever else asks so from the proxy's own machine. The admin port has no callers, and
// may listen on every address; what the page asks for is about one client, so it is for those alone who sit at the machine
// or were let in to it (kubectl port-forward, ssh). Make one with [NewPage].
type Page struct{ limiter *rate.Limiter }

// pageName is no caller's in a callers file: it has a space.
const pageName = "status page"

// A page asks every two seconds: these are a handful of them.
const (
	pageRate  = 10
	pageBurst = 20
)

// NewPage returns a Page, with a rate that all who ask share.
func NewPage() Page { return Page{rate.NewLimiter(pageRate, pageBurst)} }

var (
	errElsewhere   = errors.New("it comes from another machine (ask through kubectl port-forward, or ssh -L)")
	errNamedHost   = errors.New("its Host is a name (ask for localhost, or for an address)")
	errForeignPage = errors.New("another page sent it")
)

// Identify refuses by where the request comes from, and takes everybody else for the status page.
func (Page) Identify(r *http.Request) (session.Caller, error) {
	if err := checkPage(r); err != nil {
		return session.Caller{}, fmt.Errorf("%w: life-lines are for who sits at the proxy's own machine, and this request is not let in: %w", session.ErrCallerForbidden, err)
	}
	return session.Caller{Name: pageName, Routes: []session.Route{session.RouteInspect}, Clients: []string{session.Everything}}, nil
}

// Admit counts the request against the rate that all share.
func (p Page) Admit(session.Caller) error {
	if !p.limiter.Allow() {
		return session.ErrCallerRateLimited
	}
	return nil
}

func checkPage(r *http.Request) error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	onSocket := local != nil && local.Network() == "unix"
	switch {
	case r.URL.IsAbs():
		return errWholeURL
	case !onSocket && !isNear(r.RemoteAddr):
		return errElsewhere
	case !isAddress(r.Host) && (!onSocket || !isSocketName(r.Host)):
		return errNamedHost // somebody else's DNS may have pointed it here
	case passedOn(r.Header):
		return errPassedOn // a proxy beside this one is on loopback, whoever it asks for
	case new(http.CrossOriginProtection).Check(r) != nil:
		return errForeignPage
	}
	return nil
}

func isNear(peer string) bool {
	address, err := netip.ParseAddrPort(peer)
	return err == nil && address.Addr().Unmap().IsLoopback()
}

// isAddress takes localhost and any address, with a port or without.
func isAddress(host string) bool {
	if isLoopback(host) {
		return true
	}
	if _, err := netip.ParseAddrPort(host); err == nil {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

func passedOn(header http.Header) bool {
	for name := range header {
		if errors.Is(wayOf(name), errPassedOn) {
			return true
		}
	}
	return false
}

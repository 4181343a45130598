package caller

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Anonymous lets everybody ask who reaches the port, which must be one of this machine's own: loopback, or a Unix socket.
// It turns away what did not come straight from a process here: a page in a browser, a request that another server was
// talked into, one that was passed on.
type Anonymous struct{}

// anonymousName is no caller's in a callers file.
const anonymousName = "anonymous"

// What everybody may ask for, made once.
var (
	allRoutes  = []session.Route{session.Everything}
	allClients = []string{session.Everything}
)

// Identify refuses by what the request's headers tell of its way, and takes everybody else for the same caller.
func (Anonymous) Identify(r *http.Request) (session.Caller, error) {
	if err := checkDirect(r); err != nil {
		return session.Caller{}, fmt.Errorf("%w: without authentication it must ask directly, and %w", session.ErrCallerForbidden, err)
	}
	return session.Caller{Name: anonymousName, Routes: allRoutes, Clients: allClients}, nil
}

// Admit admits everybody: nobody could be told from the others.
func (Anonymous) Admit(session.Caller) error { return nil }

var (
	errForeignHost = errors.New("its Host is not this machine's loopback")
	errBrowser     = errors.New("it has an Origin or Sec- header, as browsers send them")
	errWholeURL    = errors.New("it has a whole URL for its target, as clients send it to a proxy")
	errPassedOn    = errors.New("it has a Forwarded, X-Forwarded-, Via or like header, as proxies send them")
)

func checkDirect(r *http.Request) error {
	if r.URL.IsAbs() {
		return errWholeURL // its host stands in for the Host that came, which is not to be seen any more
	}
	if err := checkHost(r); err != nil {
		return err
	}
	return checkWay(r.Header)
}

// checkHost keeps a name out that somebody else's DNS points at loopback.
func checkHost(r *http.Request) error {
	address, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if AnonymousHost(r.Host, address) {
		return nil
	}
	return errForeignHost
}

// AnonymousHost reports whether an anonymous request that came in at that address may have this Host.
func AnonymousHost(host string, at net.Addr) bool {
	return isLoopback(host) || at != nil && at.Network() == "unix" && isSocketName(host)
}

// isLoopback takes localhost and loopback's addresses, with any port or none. Names that end in them are not them.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if bare, ok := strings.CutSuffix(host, "]"); ok {
		host = strings.TrimPrefix(bare, "[")
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// socketNames are what clients make up for a Host where there is none: a name without a dot (unix, docker, _), which no DNS
// has, or the socket's path with its slashes escaped.
var socketNames = regexp.MustCompile(`\A([A-Za-z0-9_-]*|%2[Ff][A-Za-z0-9_.%-]*)\z`)

func isSocketName(host string) bool { return socketNames.MatchString(host) }

// ways tell by the beginning of a header's name how the request came. A server behind may take an underscore for a dash, so
// that one who strips the one may have let the other through.
var ways = []struct {
	beginning string
	tells     error
}{
	{"origin", errBrowser},
	{"sec-", errBrowser},
	{"forwarded", errPassedOn},
	{"x-forwarded", errPassedOn},
	{"x-real-ip", errPassedOn},
	{"x-client-ip", errPassedOn},
	{"true-client-ip", errPassedOn},
	{"x-original", errPassedOn},
	{"x-rewrite", errPassedOn},
	{"via", errPassedOn},
}

// checkWay looks at the names of headers, but for one: an empty one tells as much.
func checkWay(header http.Header) error {
	for name, values := range header {
		if isFetch(name, values) {
			continue
		}
		if err := wayOf(name); err != nil {
			return err
		}
	}
	return nil
}

// isFetch reports whether a header is the one that a browser's fetch has along in a backend, too: Node.js has the same fetch. A
// page's own comes with a Sec-Fetch-Site beside it (Fetch Metadata, section 2).
func isFetch(name string, values []string) bool {
	return name == "Sec-Fetch-Mode" && len(values) == 1 && values[0] == "cors"
}

func wayOf(name string) error {
	for _, way := range ways {
		if begins(name, way.beginning) {
			return way.tells
		}
	}
	return nil
}

// begins reports whether name begins so, in whatever case and with underscores for dashes.
func begins(name, beginning string) bool {
	if len(name) < len(beginning) {
		return false
	}
	for i := range len(beginning) {
		if spelled(name[i]) != beginning[i] {
			return false
		}
	}
	return true
}

func spelled(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}

package main

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cstproxy/cstproxy/metrics"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// families are those of Portal's routes that are passed on.
type families []session.Route

// UnmarshalText reads names with commas between them.
func (f *families) UnmarshalText(text []byte) error {
	var all families
	for name := range strings.SplitSeq(string(text), ",") {
		family := session.Route(strings.TrimSpace(name))
		if !slices.Contains(session.Families(), family) || slices.Contains(all, family) {
			return errNotAllowed
		}
		all = append(all, family)
	}
	*f = all
	return nil
}

// String returns what UnmarshalText reads.
func (f families) String() string {
	names := make([]string, 0, len(f))
	for _, family := range f {
		names = append(names, string(family))
	}
	return strings.Join(names, ",")
}

// withTokens reports whether requests may come with a token of their own.
func (f families) withTokens() bool {
	return slices.Contains(f, session.RouteClient) || slices.Contains(f, session.RouteEnclave)
}

// passthrough returns what passes requests on to Portal, nil if none is.
func (a *application) passthrough(key *portalKey) *proxy.Passthrough {
	if len(a.config.Passthrough) == 0 {
		return nil
	}
	repeats := []session.Route{session.RouteClient}
	if a.config.RetryEnclave {
		repeats = append(repeats, session.RouteEnclave)
	}
	return &proxy.Passthrough{
		Families: a.config.Passthrough, APIURL: a.config.PortalAPIURL.parsed(), MPCURL: a.config.PortalMPCURL.parsed(),
		Key: key.current, Budget: a.metrics.Budget(a.store.budget), Transport: a.passTransport(), Repeats: repeats,
		Timeout: a.config.PassthroughTimeout, Done: a.passed,
	}
}

func (a *application) passTransport() http.RoundTripper {
	transport := portal.NewTransport(a.config.PortalProxy.of())
	if traced := a.spans.Portal(portal.Asked); traced != nil {
		return traced(transport)
	}
	return transport
}

func (a *application) passed(p proxy.Passed) {
	a.metrics.Passed(metrics.Pass{Family: string(p.Family), Mode: string(p.Mode), Outcome: string(p.Outcome)}, p.Took, p.Trace)
	if p.Repeated {
		a.metrics.Repeated(string(p.Family))
	}
}

// strictly holds requests to the letter, if any are passed on: whoever is next may read them in another way. It comes after
// all else that guards the server.
func (a *application) strictly(server *http.Server, listener net.Listener) net.Listener {
	if len(a.config.Passthrough) == 0 {
		return listener
	}
	framing := proxy.NewFraming()
	framing.Guard(server)
	return framing.Listener(listener)
}

// passes lists what requests that are passed on are counted by.
func passes() (all []metrics.Pass) {
	for _, p := range proxy.Passes() {
		all = append(all, metrics.Pass{Family: string(p.Family), Mode: string(p.Mode), Outcome: string(p.Outcome)})
	}
	return all
}

// parsed returns a URL that was checked.
func (u baseURL) parsed() *url.URL {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return &url.URL{}
	}
	return parsed
}

package proxy_test

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	whoAmI = "/api/v3/clients/me"
	named  = "X-Portal-Client-Id: " + alice
)

// passing has the families passed on, with tokens that tell whose they are.
func passing(s *setup) {
	s.passes, s.repeats = session.Families(), []session.Route{session.RouteClient}
	index := cache.NewIndex(cache.IndexParts{Store: s.Store, Lifetime: lifetime(), Entries: 1000})
	s.Store, s.Index = index, index
}

// passingTo has them passed on to an upstream of the test's own.
func passingTo(upstream http.HandlerFunc) func(*setup) {
	return func(s *setup) {
		passing(s)
		s.upstream = upstream
	}
}

// turns is a Budget that has one for everybody, and counts.
type turns struct {
	waited, paused int
	err            error
}

func (b *turns) Wait(context.Context, session.Class, time.Duration) error { b.waited++; return b.err }
func (b *turns) Spare(context.Context, session.Class) error               { return b.err }
func (b *turns) Pause(context.Context, session.Class, time.Duration)      { b.paused++ }
func (b *turns) Bar(context.Context, session.Class)                       {}

// passthrough returns what the setup passes on, and to where.
func (w *world) passthrough(s setup, simulated string) *proxy.Passthrough {
	if s.passes == nil {
		return nil
	}
	target := simulated
	if s.upstream != nil {
		own := httptest.NewServer(s.upstream)
		w.t.Cleanup(own.Close)
		target = own.URL
	}
	base, err := url.Parse(target)
	if err != nil {
		w.t.Fatal(err)
	}
	w.turns = &turns{}
	return &proxy.Passthrough{
		Families: s.passes, Repeats: s.repeats, APIURL: base, MPCURL: base, Budget: w.turns, Transport: portal.NewTransport(nil), Timeout: cmp.Or(s.passFor, 10*time.Second),
		Key: func() session.Secret { return session.NewSecret(portaltest.DefaultKey) },
		Done: func(p proxy.Passed) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.passed = append(w.passed, p)
		},
	}
}

// outcomes returns what became of the requests that were passed on, once it is known of n.
func (w *world) outcomes(n int) []proxy.Pass {
	w.t.Helper()
	var all []proxy.Pass
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		w.mu.Lock()
		all = nil
		for _, p := range w.passed {
			all = append(all, p.Pass)
		}
		w.mu.Unlock()
		if len(all) >= n {
			break
		}
	}
	return all
}

// tokenOf returns the client's token as it is kept.
func (w *world) tokenOf(client session.ClientID) string {
	w.t.Helper()
	token, err := w.store.Load(w.t.Context(), client)
	if err != nil || token.IsZero() {
		w.t.Fatalf("no token is kept for %s: %v", client, err)
	}
	return token.Secret.Reveal()
}

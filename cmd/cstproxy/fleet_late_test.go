package main

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// wrapFirst is wrap for the first mint of replica 0 alone.
func (m *lateMint) wrapFirst(replica int, portal http.Handler) http.Handler {
	late, came := m.wrap(replica, portal), atomic.Bool{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && came.CompareAndSwap(false, true) {
			late.ServeHTTP(w, r)
			return
		}
		portal.ServeHTTP(w, r)
	})
}

// TestFleetFindsThatALateMintKilledItsToken has Portal carry out a mint so late that another replica has minted since:
// it kills the token that is served. Whoever asked for it has given up or is dead, and no caller reports anything.
func TestFleetFindsThatALateMintKilledItsToken(t *testing.T) {
	t.Parallel()
	die := func(f *fleet, _ *link) { f.replica(0).kill() }
	comeBack := func(f *fleet, l *link) { f.start(0, onLink(l)) }
	cutOff := func(_ *fleet, l *link) { l.down.Store(true) }
	connect := func(f *fleet, l *link) {
		l.down.Store(false)
		l.cut()
		seesRedis(f.replica(0), 1)
	}
	for name, tt := range map[string]struct {
		redisDown    string
		lose, regain func(*fleet, *link)
	}{
		"its minter died":                                   {"mint", die, comeBack},
		"its minter was cut off from Redis":                 {"mint", cutOff, connect},
		"its minter was cut off and may not mint by itself": {"fail", cutOff, connect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mint := lateMint{last: true, arrived: make(chan struct{}, 1), released: make(chan struct{})}
			f, link := startFleetOver(t, redistest.Start(t), portaltest.Options{MintKillsOlder: true}, mint.wrapFirst,
				unlimited("CSTPROXY_REDIS_DOWN="+tt.redisDown)...)
			minter, ended := f.replica(0), make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = minter.fetch("client", "") // whatever comes of it
			}()
			<-mint.arrived
			tt.lose(f, link)
			served := f.replica(1).mustFetch("client", "")
			<-ended
			close(mint.released)
			await(t, "the late mint", func() bool { return !f.portal.Accepts(served.Secret) })
			tt.regain(f, link)
			f.expectLiveAgain("client", 5*time.Second)
		})
	}
}

// expectLiveAgain has every replica be asked for the client twice a second, until all serve a live token.
func (f *fleet) expectLiveAgain(client string, within time.Duration) {
	f.t.Helper()
	began := time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		dead := 0
		for _, c := range f.all() {
			if got := c.mustFetch(client, ""); !f.portal.Accepts(got.Secret) {
				dead++
			}
		}
		took := time.Since(began)
		if dead == 0 {
			f.t.Logf("all replicas served a live token after %s; Portal minted %d", took, f.portal.Stats().Mints)
			return
		}
		if took > within {
			f.t.Fatalf("%s after the late mint %d replicas still serve a dead token", took, dead)
		}
		<-tick.C
	}
}

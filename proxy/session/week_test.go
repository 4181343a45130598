package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// use is the client's own request to Portal, which the Broker does not see.
func (w *world) use(token session.Token) {
	w.t.Helper()
	if err := w.portal.Probe(w.t.Context(), token); err != nil {
		w.t.Fatalf("Portal refuses the client's request: %v", err)
	}
}

// A token is minted, and granted once a minute for as long as its window allows. The minute after, another is.
func TestSevenDaysOfAFetchAMinuteCostOneMint(t *testing.T) {
	t.Parallel()
	memory := func(*testing.T) func(*session.Parts) {
		return func(p *session.Parts) {
			m := cache.NewMemory(cache.MemoryParts{Entries: 100, Lifetime: p.Lifetime, Now: p.Now})
			_ = m.Close() // else it clears up once a second, of which a week has many
			p.Store, p.Leaser, p.Registry = m, m, m
		}
	}
	fake := func(*testing.T) func(*session.Parts) { return func(*session.Parts) {} }
	nothing := func(*world, session.Token, time.Duration) {}
	useEach := func(w *world, token session.Token, _ time.Duration) { w.use(token) }
	reportHourly := func(w *world, token session.Token, age time.Duration) {
		if age%hour != 0 {
			return
		}
		w.use(token)
		if err := w.NoteActivity(w.t.Context(), alice, token.ID); err != nil {
			w.t.Fatalf("activity: %v", err)
		}
	}
	for name, c := range map[string]struct {
		store func(*testing.T) func(*session.Parts)
		mode  session.RefreshMode
		then  func(*world, session.Token, time.Duration)
		// probes at Portal, the client's own ones among them: one each half hour, until the sixth day is over.
		probes int
	}{
		"probing":                          {fake, session.RefreshProbe, nothing, 6 * 48},
		"probing, with the embedded store": {memory, session.RefreshProbe, nothing, 6 * 48},
		"assuming, and used each time":     {fake, session.RefreshAssume, useEach, 7*24*60 - 4},
		"observing a use an hour":          {fake, session.RefreshObserve, reportHourly, 7 * 24},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, inMode(c.mode), c.store(t))
				first := w.fetch(session.Need{})
				last := w.parts.Lifetime.RefreshWindow - w.parts.Lifetime.MinTTL
				for age := time.Duration(0); age <= last; age += time.Minute {
					g := w.fetch(session.Need{})
					if g.Token.ID != first.Token.ID || g.Source != session.SourceCache {
						t.Fatalf("granted from %s after %s", g.Source, age)
					}
					c.then(w, g.Token, age)
					time.Sleep(time.Minute)
				}
				w.settled().wantProbes(c.probes)
				w.wantMints(session.Absent)
				w.fetch(session.Need{}).wantMinted(t, session.WindowClosed, first.Token.ID)
			})
		})
	}
}

// Idle sessions must die: that is Portal's security goal.
func TestNothingRefreshesATokenThatNobodyAsksFor(t *testing.T) {
	t.Parallel()
	for _, mode := range []session.RefreshMode{session.RefreshProbe, session.RefreshAssume, session.RefreshObserve} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, inMode(mode))
				w.aged(time.Minute)
				w.fetch(session.Need{})
				time.Sleep(2 * day)
				w.settled().wantProbes(0)
				w.fetch(session.Need{}).wantMinted(t, session.IdleExpired)
			})
		})
	}
}

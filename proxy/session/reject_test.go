package session_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func TestTokenThatTheCallerSawRejectedIsReplacedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dead := w.aged(hour)
		w.portal.Kill(dead.ID)
		g := w.fetch(session.Need{Rejected: dead.ID})
		g.wantMinted(t, session.Rejected, dead.ID)
		// Whoever still comes with the old one is simply served.
		w.fetch(session.Need{Rejected: dead.ID}).want(t, session.SourceCache, g.Token.ID, 0)
		w.wantMints(session.Absent, session.Rejected)
		w.wantProbes(0)
	})
}

func TestRejectionOfAnotherTokenChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(hour)
		other := sessiontest.NewToken(alice, time.Now())
		w.fetch(session.Need{Rejected: other.ID}).want(t, session.SourceCache, token.ID, 0)
		w.wantMints(session.Absent)
	})
}

func TestTwoHundredReportersOfADeadTokenCostOneMint(t *testing.T) {
	t.Parallel()
	for name, spread := range map[string]time.Duration{"at once": 0, "before, during and after the mint": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				dead := w.aged(hour)
				w.portal.Kill(dead.ID)
				w.portal.Delay = time.Second
				all := make([]got, 200)
				var group sync.WaitGroup
				for i := range all {
					group.Go(func() {
						time.Sleep(time.Duration(i) * spread)
						all[i] = w.ask(t.Context(), session.Need{Rejected: dead.ID})
					})
				}
				group.Wait()
				w.wantMints(session.Absent, session.Rejected)
				for _, g := range all {
					if g.err != nil || g.Token.ID != all[0].Token.ID || g.Token.ID == dead.ID {
						t.Fatalf("granted %s, %v; the first got %s for %s", g.Token.ID, g.err, all[0].Token.ID, dead.ID)
					}
				}
			})
		})
	}
}

// The caller knows better: Portal may accept the token on one host and refuse it on another.
func TestRejectionIsHeardWhileARefreshIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(due)
		w.portal.Delay = 400 * time.Millisecond
		w.fetch(session.Need{})
		w.settled().fetch(session.Need{Rejected: token.ID}).wantMinted(t, session.Rejected, token.ID)
		w.settled().wantProbes(1)
		w.wantMints(session.Absent, session.Rejected)
	})
}

func TestRejectedTokenIsNotServedToTheImpatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(func(context.Context) error { time.Sleep(3 * time.Second); return nil }))
		token := w.aged(due)
		w.fetch(session.Need{})
		g := w.settled().fetch(session.Need{Rejected: token.ID})
		g.wantMinted(t, session.Rejected, token.ID)
		if g.took != 0 {
			t.Errorf("granted after %s: it waited for the refresh of a token that it knows to be dead", g.took)
		}
	})
}

func TestRejectedTokenIsForgottenThoughTheMintFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dead := w.aged(hour)
		w.portal.Fail(session.ErrPortalUnavailable)
		w.ask(t.Context(), session.Need{Rejected: dead.ID}).wantError(t, session.ErrPortalUnavailable, 0)
		w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalUnavailable, 0)
		w.portal.Fail(nil)
		w.fetch(session.Need{}).wantMinted(t, session.Absent, dead.ID)
	})
}

// The flight that the reporter joins is of somebody who does not know, and fails before it could hear.
func TestRejectionIsHeardThoughTheFlightOfAnotherFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		patience time.Duration
		want     error
	}{
		"and the reporter hears of it": {patience: time.Minute, want: session.ErrPortalUnavailable},
		"and the reporter has left":    {patience: time.Second / 2, want: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(p *session.Parts) { p.Store = attentive{p.Store.(*sessiontest.Store)} })
				dead := w.aged(due)
				w.portal.Delay = 2 * time.Second
				w.portal.Fail(session.ErrPortalUnavailable)
				w.fetch(session.Need{})
				ctx, cancel := context.WithTimeout(t.Context(), c.patience)
				defer cancel()
				w.settled().ask(ctx, session.Need{Rejected: dead.ID}).wantError(t, c.want, min(c.patience, 2*time.Second))
				time.Sleep(10 * time.Second)
				w.portal.Fail(nil)
				w.fetch(session.Need{}).wantMinted(t, session.Absent, dead.ID)
			})
		})
	}
}

// samePortal gives one and the same text on every mint.
type samePortal struct {
	*sessiontest.Portal
	token session.Token
	mints *atomic.Int64
}

func (p samePortal) Mint(context.Context, session.ClientID, session.Reason) (session.Token, error) {
	p.mints.Add(1)
	time.Sleep(300 * time.Millisecond)
	return p.token, nil
}

func TestPortalGivingTheRejectedTokenAgainDoesNotLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		same := samePortal{token: sessiontest.NewToken(alice, time.Now()), mints: new(atomic.Int64)}
		w := newWorld(t, func(p *session.Parts) { same.Portal, p.Portal = p.Portal.(*sessiontest.Portal), same })
		w.ask(t.Context(), session.Need{}).wantMinted(t, session.Absent)
		for _, g := range w.crowd(20, session.Need{Rejected: same.token.ID}) {
			g.wantMinted(t, session.Rejected)
		}
		if n := same.mints.Load(); n != 2 {
			t.Errorf("%d mints, want 2", n)
		}
	})
}

// slowToLetGo is a leaser that takes its time to take a lease back.
type slowToLetGo struct{ session.Leaser }

func (l slowToLetGo) LetGo(ctx context.Context, lease session.Lease) error {
	time.Sleep(100 * time.Millisecond)
	return l.Leaser.LetGo(ctx, lease)
}

// The token is in the store, and another replica granted it, while the flight that brought it has not landed yet.
func TestCallerWhoRejectsWhatAFlightUnderWayBringsGetsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(p *session.Parts) { p.Leaser = slowToLetGo{p.Leaser} })
		go w.ask(t.Context(), session.Need{})
		time.Sleep(time.Millisecond)
		dead := w.stored()
		w.portal.Kill(dead.ID)
		w.fetch(session.Need{Rejected: dead.ID}).wantMinted(t, session.Rejected, dead.ID)
		w.wantMints(session.Absent, session.Rejected)
	})
}

// Another replica heard of it too, and was faster: its token is good, and not to be replaced by yet another.
func TestTokenThatTookTheDeadOnesPlaceIsServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var dead, faster session.Token
		var other *session.Broker
		w := newWorld(t, onProbe(func(ctx context.Context) error {
			grant, err := other.Grant(ctx, session.Ask{Client: alice, Need: session.Need{Rejected: dead.ID}})
			faster = grant.Token
			return err
		}))
		other, dead = w.replica(), w.aged(short)
		w.portal.Kill(dead.ID)
		w.fetch(session.Need{}).want(t, session.SourceCache, faster.ID, 0)
		w.wantMints(session.Absent, session.Rejected)
		if w.stored().ID != faster.ID {
			t.Error("another token took the place of the faster one's")
		}
	})
}

// A background refresh of the old token is no reason to wait for the new one.
func TestRefreshThatHangsDoesNotDelayAMint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(func(ctx context.Context) error {
			<-ctx.Done()
			return session.ErrPortalTimeout
		}))
		token := w.aged(due)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		g := w.settled().fetch(session.Need{Rejected: token.ID})
		g.wantMinted(t, session.Rejected, token.ID)
		if g.took != 0 {
			t.Errorf("it took %s", g.took)
		}
	})
}

// choosy has no good answer for one client's token.
type choosy struct {
	session.Portal
	trouble session.ClientID
	err     error
}

func (p choosy) Probe(ctx context.Context, token session.Token) error {
	if token.Client == p.trouble {
		return p.err
	}
	return p.Portal.Probe(ctx, token)
}

// One client's bad token must not let the others go idle.
func TestOneClientsTroubleLeavesTheRefreshOfOthersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const carol session.ClientID = "carol"
		w := newWorld(t, func(p *session.Parts) { p.Portal = choosy{p.Portal, carol, session.ErrPortalBadResponse} })
		troubled := session.Ask{Client: carol}
		token := w.aged(due)
		if _, err := w.Grant(t.Context(), troubled); err != nil {
			t.Fatal(err)
		}
		time.Sleep(due)
		w.fetch(session.Need{}).wantMinted(t, session.IdleExpired, token.ID)
		time.Sleep(due)
		for range 3 {
			if _, err := w.Grant(t.Context(), troubled); err != nil {
				t.Error(err)
			}
			w.fetch(session.Need{})
			synctest.Wait()
		}
		if got := w.stored().ActiveAt; !got.Equal(time.Now().UTC()) {
			t.Errorf("active at %s, want now, %s", got, time.Now().UTC())
		}
	})
}

// gated is a store that is slow to look.
type gated struct {
	*sessiontest.Store
	gate chan struct{}
}

func (s *gated) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	if s.gate != nil {
		<-s.gate
	}
	return s.Store.Look(ctx, client)
}

func TestNothingIsMintedBehindForWhoLoggedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store *gated
		w := newWorld(t, func(p *session.Parts) {
			store = &gated{Store: p.Store.(*sessiontest.Store)}
			p.Store = store
		})
		w.aged(due)
		store.gate = make(chan struct{})
		w.fetch(session.Need{})
		if err := w.Forget(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		close(store.gate)
		w.settled().wantMints(session.Absent)
		if !w.stored().IsZero() {
			t.Error("a token is cached again")
		}
	})
}

func TestClientThatPortalAlwaysFailsLeavesTheRefreshOfOthersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const carol session.ClientID = "carol"
		w := newWorld(t, func(p *session.Parts) { p.Portal = choosy{p.Portal, carol, session.ErrPortalUnavailable} })
		fetch := func(client session.ClientID) {
			if _, err := w.Grant(t.Context(), session.Ask{Client: client}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		fetch(alice)
		fetch(carol)
		time.Sleep(due)
		fetch(carol)
		fetch(alice)
		w.wantProbes(1)
	})
}

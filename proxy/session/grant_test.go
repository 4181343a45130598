package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func TestColdClientCostsOneMint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.fetch(session.Need{})
		first.wantMinted(t, session.Absent)
		w.fetch(session.Need{}).want(t, session.SourceCache, first.Token.ID, 0)
		w.wantMints(session.Absent)
		w.wantProbes(0)
		if diff := cmp.Diff(first.Token, w.stored()); diff != "" {
			t.Errorf("stored (-granted +stored):\n%s", diff)
		}
	})
}

func TestMintIsDatedWhenItsRequestLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = 7 * time.Second
		sent := time.Now()
		g := w.fetch(session.Need{})
		if !g.Token.MintedAt.Equal(sent) || !g.Token.ActiveAt.Equal(sent) || !g.At.Equal(sent.Add(7*time.Second)) {
			t.Errorf("sent %s: minted %s, active %s, granted %s", sent, g.Token.MintedAt, g.Token.ActiveAt, g.At)
		}
	})
}

func TestDatesAreCutToMilliseconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		began := time.Now().UTC()
		time.Sleep(5*time.Millisecond - 1)
		g := w.fetch(session.Need{})
		if want := began.Add(4 * time.Millisecond); g.Token.MintedAt != want || g.At != want {
			t.Errorf("minted %s, granted %s; want %s in UTC, rounded down", g.Token.MintedAt, g.At, want)
		}
	})
}

func TestLiveTokenIsServedThoughPortalFails(t *testing.T) {
	t.Parallel()
	for name, age := range map[string]time.Duration{
		"fresh": 0, "not due": 12 * hour, "due": 12*hour + time.Millisecond, "of the least life": day - 5*time.Minute,
		"shorter than that": short, "a moment before the margin": day - time.Minute - time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				token := w.aged(age)
				w.portal.Fail(session.ErrPortalUnavailable)
				w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
				w.settled().wantMints(session.Absent)
				if w.stored().ID != token.ID {
					t.Error("the token is not in the store any more")
				}
			})
		})
	}
}

func TestEndedTokenIsNotServedThoughPortalFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.aged(day - time.Minute)
		w.portal.Fail(session.ErrPortalUnavailable)
		w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalUnavailable, 0)
		w.portal.Fail(nil)
		w.fetch(session.Need{}).wantMinted(t, session.IdleExpired)
	})
}

func TestTokenThatEndsOnItsWayIsNotServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		brief := func(p *session.Parts) {
			p.Lifetime.IdleTTL, p.Lifetime.SafetyMargin, p.Lifetime.MinTTL = 5*time.Second, 0, 0
		}
		w := newWorld(t, brief)
		w.portal.Delay = 5*time.Second - time.Millisecond
		w.fetch(session.Need{}).wantMinted(t, session.Absent)
		time.Sleep(time.Minute)
		w.portal.Delay = 5 * time.Second
		if g := w.ask(t.Context(), session.Need{}); !errors.Is(g.err, session.ErrPortalUnavailable) || !g.Token.IsZero() {
			t.Errorf("granted a token active at %s, %v", g.Token.ActiveAt, g.err)
		}
	})
}

func TestDueTokenIsServedAtOnceAndRefreshedBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(due)
		w.portal.Delay = 7 * time.Second
		sent := time.Now()
		g := w.fetch(session.Need{})
		g.want(t, session.SourceCache, token.ID, 0)
		if !g.Token.ActiveAt.Equal(token.ActiveAt) {
			t.Errorf("granted as active at %s, before Portal said so", g.Token.ActiveAt)
		}
		time.Sleep(8 * time.Second)
		if got := w.settled().stored(); got.ID != token.ID || !got.ActiveAt.Equal(sent) {
			t.Errorf("stored as active at %s; want %s, when the probe was sent and not when it was answered", got.ActiveAt, sent)
		}
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		w.settled().wantProbes(1)
		w.wantMints(session.Absent)
	})
}

func TestDueTokenIsProbedOnceWhileTheProbeIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(due)
		w.portal.Delay = 5 * time.Second
		for range 4 {
			for _, g := range w.crowd(25, session.Need{}) {
				g.want(t, session.SourceCache, token.ID, 0)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		w.settled().wantProbes(1)
	})
}

func TestFailedRefreshBehindIsLeftAloneForASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(due)
		w.portal.Fail(session.ErrPortalUnavailable)
		for _, step := range []struct {
			wait   time.Duration
			probes int
		}{{0, 1}, {0, 1}, {time.Second - time.Millisecond, 1}, {time.Millisecond, 2}, {time.Millisecond, 2}} {
			time.Sleep(step.wait)
			w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
			w.settled().wantProbes(step.probes)
		}
		w.portal.Fail(nil)
		time.Sleep(time.Second)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		w.settled().wantProbes(3)
		if !w.stored().ActiveAt.Equal(time.Now()) {
			t.Error("not refreshed after Portal was mended")
		}
	})
}

// The clock of a fleet is in doubt, and then it is not.
func TestFailedRefreshIsLeftAloneForNoLongerThoughTheClockStepsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ahead := time.Duration(0)
		w := newWorld(t, func(p *session.Parts) { p.Now = func() time.Time { return time.Now().Add(ahead) } })
		w.aged(due)
		w.portal.Fail(session.ErrPortalUnavailable)
		ahead = 3 * hour
		w.fetch(session.Need{})
		w.settled().wantProbes(1)
		w.portal.Fail(nil)
		ahead = 0
		time.Sleep(time.Second)
		w.fetch(session.Need{})
		w.settled().wantProbes(2)
	})
}

func TestHangingRefreshBehindDelaysNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(hang))
		token := w.aged(due)
		for range 30 {
			w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
			time.Sleep(time.Second)
		}
	})
}

func TestShortTokenIsRefreshedFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age  time.Duration
		need session.Need
	}{
		"a moment under the least life":       {age: day - 5*time.Minute + time.Millisecond},
		"a moment before the margin":          {age: day - time.Minute - time.Millisecond},
		"a moment under what the caller asks": {age: 4*hour + time.Millisecond, need: explicit(20 * hour)},
		"the caller asks for all that can be": {age: time.Millisecond, need: explicit(day)},
		"the caller asks for less, too late":  {age: day - 2*time.Minute, need: explicit(3 * time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				token := w.aged(c.age)
				w.portal.Delay = 300 * time.Millisecond
				sent := time.Now()
				g := w.fetch(c.need)
				g.want(t, session.SourceRefresh, token.ID, 300*time.Millisecond)
				if !g.Token.ActiveAt.Equal(sent) || !w.stored().ActiveAt.Equal(sent) {
					t.Errorf("active at %s, stored %s; want %s, when the probe was sent", g.Token.ActiveAt, w.stored().ActiveAt, sent)
				}
				w.wantMints(session.Absent)
			})
		})
	}
}

func TestNeedOfTheWholeIdleTimeIsMet(t *testing.T) {
	t.Parallel()
	// Both the store and Portal take their time, so less than the whole is left when the token is handed out.
	slow := func(p *session.Parts) {
		p.Store = slowStore{Store: p.Store.(*sessiontest.Store), delay: 2 * time.Millisecond}
	}
	for mode, source := range map[session.RefreshMode]session.Source{
		session.RefreshProbe: session.SourceRefresh, session.RefreshObserve: session.SourceRefresh, session.RefreshAssume: session.SourceCache,
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, slow, inMode(mode))
				w.portal.Delay = 3 * time.Second
				w.fetch(explicit(day)).wantMinted(t, session.Absent)
				time.Sleep(hour)
				if g := w.fetch(explicit(day)); g.Source != source || g.took > 4*time.Second {
					t.Errorf("granted from %s after %s, want from %s", g.Source, g.took, source)
				}
				w.wantMints(session.Absent)
			})
		})
	}
}

func TestNeedThatNoTokenMeetsIsRefusedBeforeAnythingIsAsked(t *testing.T) {
	t.Parallel()
	for name, life := range map[string]time.Duration{"a moment above the idle time": day + 1, "below nothing": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.ask(t.Context(), explicit(life)).wantError(t, session.ErrInvalidRequest, 0)
				w.wantMints()
				if n := w.store.Loads(); n != 0 {
					t.Errorf("the store was asked %d times", n)
				}
			})
		})
	}
}

func TestWindowTooNearForTheNeedMints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.aged(0)
		for range 6 {
			time.Sleep(23 * hour)
			w.fetch(session.Need{})
		}
		w.settled()
		// 6 days less 6 hours after the mint: 30 hours of the window are left.
		time.Sleep(6*hour + time.Millisecond)
		g := w.fetch(explicit(day))
		g.wantMinted(t, session.WindowClosed, first.ID)
		w.wantMints(session.Absent, session.WindowClosed)
	})
}

func TestExplicitNeedThatPortalCantMeetIsPortalsError(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{
		"unavailable":  session.ErrPortalUnavailable,
		"timeout":      session.ErrPortalTimeout,
		"rate limited": &session.RetryError{After: 42 * time.Second, Err: session.ErrPortalRateLimited},
		"bad response": session.ErrPortalBadResponse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				token := w.aged(5 * hour)
				w.portal.Fail(fault)
				// Twice: a failure a moment ago does not excuse from asking for who needs the answer.
				for probes := range 2 {
					g := w.ask(t.Context(), explicit(20*hour))
					g.wantError(t, fault, 0)
					if session.RetryAfter(g.err) != session.RetryAfter(fault) {
						t.Errorf("retry after %s, want %s", session.RetryAfter(g.err), session.RetryAfter(fault))
					}
					w.wantProbes(probes + 1)
				}
				w.fetch(explicit(19*hour)).want(t, session.SourceCache, token.ID, 0)
				w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
				w.wantMints(session.Absent)
			})
		})
	}
}

func TestShortTokenIsServedWithoutAskingWhilePortalJustFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(short)
		w.portal.Fail(session.ErrPortalUnavailable)
		for _, step := range []struct {
			wait   time.Duration
			probes int
		}{{0, 1}, {0, 1}, {time.Second - time.Millisecond, 1}, {time.Millisecond, 2}} {
			time.Sleep(step.wait)
			w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
			w.wantProbes(step.probes)
		}
	})
}

// The need was met by activity that came in while Portal failed to answer for the probe.
func TestExplicitNeedMetMeanwhileIsServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w *world
		w = newWorld(t, onProbe(func(ctx context.Context) error {
			return errors.Join(session.ErrPortalUnavailable, w.NoteActivity(ctx, alice, session.TokenID{}))
		}))
		token := w.aged(5 * hour)
		w.fetch(explicit(20*hour)).want(t, session.SourceCache, token.ID, 0)
	})
}

// What others need fails; what this one asks for is there.
func TestModestNeedIsServedThoughTheFlightOfADemandingOneFails(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"soon": 400 * time.Millisecond, "never": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, inMode(session.RefreshAssume))
				token := w.aged(0)
				for range 6 {
					time.Sleep(23 * hour)
					token = w.fetch(session.Need{}).Token
					w.use(token)
				}
				w.portal.Delay = wait
				w.portal.Fail(session.ErrPortalUnavailable)
				time.Sleep(hour)
				// The window holds 29 hours more; a need of a day is met by a slide, of which Portal hears nothing.
				w.fetch(explicit(day)).want(t, session.SourceCache, token.ID, 0)
				time.Sleep(6 * hour)
				var group sync.WaitGroup
				group.Go(func() {
					if g := w.ask(t.Context(), explicit(day)); g.err == nil {
						t.Errorf("granted from %s", g.Source)
					}
				})
				synctest.Wait()
				// The mint under way may kill the token, so Portal is asked for it, as long as a caller waits who need not.
				w.fetch(explicit(hour)).want(t, session.SourceCache, token.ID, min(wait, time.Second))
				group.Wait()
			})
		})
	}
}

func TestTokenThatPortalRefusesIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dead := w.aged(short)
		w.portal.Kill(dead.ID)
		g := w.fetch(session.Need{})
		g.wantMinted(t, session.Rejected, dead.ID)
		w.fetch(session.Need{}).want(t, session.SourceCache, g.Token.ID, 0)
		w.wantMints(session.Absent, session.Rejected)
	})
}

func TestTokenThatPortalRefusesBehindIsReplacedBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dead := w.aged(due)
		w.portal.Kill(dead.ID)
		// Nobody knows yet.
		w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, dead.ID, 0)
		w.settled().wantMints(session.Absent, session.Rejected)
		if g := w.fetch(session.Need{}); g.Token.ID == dead.ID || g.Source != session.SourceCache {
			t.Errorf("granted %s from %s", g.Token.ID, g.Source)
		}
	})
}

func TestTokenThatPortalRefusesIsForgottenThoughTheMintFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onMint(failAfter(1, session.ErrPortalRateLimited)))
		dead := w.aged(short)
		w.portal.Kill(dead.ID)
		w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalRateLimited, 0)
		if !w.stored().IsZero() {
			t.Error("the dead token is still in the store")
		}
	})
}

// failAfter returns a hook that lets n requests pass and answers the others with err.
func failAfter(n int, err error) func(context.Context) error {
	return func(context.Context) error {
		n--
		if n < 0 {
			return err
		}
		return nil
	}
}

func TestUsableTokenIsServedAfterASecondOfHanging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(hang))
		token := w.aged(short)
		for _, g := range w.crowd(10, session.Need{}) {
			g.want(t, session.SourceCache, token.ID, time.Second)
		}
		// The flight is still there, and they join it.
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, time.Second)
		// Without a usable token there is nothing to serve early.
		w.ask(t.Context(), explicit(hour)).wantError(t, session.ErrPortalTimeout, deadline-2*time.Second)
	})
}

func TestTokenFoundDeadIsNotServedToTheImpatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dead := w.aged(short)
		w.portal.Kill(dead.ID)
		// The probe is refused before patience ends, the mint comes after.
		w.portal.Delay = 600 * time.Millisecond
		for _, g := range w.crowd(10, session.Need{}) {
			g.wantMinted(t, session.Rejected, dead.ID)
			if g.took != 1200*time.Millisecond {
				t.Errorf("took %s", g.took)
			}
		}
		w.wantMints(session.Absent, session.Rejected)
	})
}

// slowStore is a store a network away.
type slowStore struct {
	*sessiontest.Store
	delay time.Duration
}

func (s slowStore) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	time.Sleep(s.delay)
	return s.Store.Load(ctx, client)
}

func (s slowStore) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return s.Load(ctx, client)
}

func (s slowStore) Slide(ctx context.Context, move session.Move) (session.Match, error) {
	time.Sleep(s.delay)
	return s.Store.Slide(ctx, move)
}

package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func TestFailingStoreCountsAsAnEmptyOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(hour)
		w.store.Break(sessiontest.ErrStoreDown)
		w.fetch(session.Need{}).wantMinted(t, session.Absent, token.ID)
		w.fetch(explicit(20*hour)).wantMinted(t, session.Absent, token.ID)
		w.fetch(session.Need{Rejected: token.ID}).wantMinted(t, session.Absent, token.ID)
		w.store.Break(nil)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		w.wantMints(session.Absent, session.Absent, session.Absent, session.Absent)
		w.wantProbes(0)
	})
}

func TestFailingStoreIsAnErrorIfTheFleetFailsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, failClosed)
		token := w.aged(hour)
		w.store.Break(sessiontest.ErrStoreDown)
		g := w.ask(t.Context(), session.Need{})
		g.wantError(t, session.ErrStoreUnavailable, 0)
		if session.RetryAfter(g.err) <= 0 {
			t.Error("the error does not say when to come back")
		}
		w.wantMints(session.Absent)
		w.store.Break(nil)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
	})
}

// The store works when the caller looks, and not any more when the flight looks again.
func TestStoreThatFailsUnderAFlightIsAnErrorIfTheFleetFailsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w *world
		w = newWorld(t, failClosed, func(p *session.Parts) {
			p.Store = afterLoad{p.Store.(*sessiontest.Store), func() { w.store.Break(sessiontest.ErrStoreDown) }}
		})
		g := w.ask(t.Context(), session.Need{})
		g.wantError(t, session.ErrStoreUnavailable, 0)
		w.wantMints()
	})
}

// afterLoad calls then after each load.
type afterLoad struct {
	*sessiontest.Store
	then func()
}

func (s afterLoad) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	defer s.then()
	return s.Store.Load(ctx, client)
}

func (s afterLoad) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return s.Load(ctx, client)
}

func TestCallerWhoLeftIsNotToldOfTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, failClosed)
		w.store.Break(context.Canceled)
		left, leave := context.WithCancel(t.Context())
		leave()
		w.ask(left, session.Need{}).wantError(t, context.Canceled, 0)
		if g := w.ask(left, session.Need{}); errors.Is(g.err, session.ErrStoreUnavailable) {
			t.Errorf("err = %v", g.err)
		}
	})
}

// tornStore holds a record that can't be read, until another takes its place.
type tornStore struct {
	*sessiontest.Store
	torn *atomic.Bool
}

func (s tornStore) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	if s.torn.Load() {
		return session.Token{}, fmt.Errorf("open record: %w", session.ErrRecordUnreadable)
	}
	return s.Store.Load(ctx, client)
}

func (s tornStore) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return s.Load(ctx, client)
}

func (s tornStore) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	s.torn.Store(false)
	return s.Store.Commit(ctx, token, seen)
}

func TestUnreadableRecordIsAMissWhateverTheMode(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]session.StoreDown{"mint": session.StoreDownMint, "fail": session.StoreDownFail} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				torn := new(atomic.Bool)
				torn.Store(true)
				w := newWorld(t, func(p *session.Parts) {
					p.StoreDown, p.Store = mode, tornStore{p.Store.(*sessiontest.Store), torn}
				})
				g := w.fetch(session.Need{})
				g.wantMinted(t, session.Absent)
				w.fetch(session.Need{}).want(t, session.SourceCache, g.Token.ID, 0)
				w.wantMints(session.Absent)
				if !strings.Contains(w.log.String(), "level=WARN msg=\"record unreadable, counted as a miss\"") {
					t.Errorf("logged:\n%s", w.log.String())
				}
			})
		})
	}
}

// unwilling is a store of which single operations fail.
type unwilling struct {
	*sessiontest.Store
	save, slide, forget error
}

func (s unwilling) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	if s.save != nil {
		return session.Token{}, s.save
	}
	return s.Store.Commit(ctx, token, seen)
}

func (s unwilling) Slide(ctx context.Context, move session.Move) (session.Match, error) {
	if s.slide != nil {
		return session.MatchNone, s.slide
	}
	return s.Store.Slide(ctx, move)
}

func (s unwilling) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	if s.forget != nil {
		return session.MatchNone, s.forget
	}
	return s.Store.Forget(ctx, client, id)
}

// failing makes the store unwilling, by a copy of faults.
func failing(faults unwilling) func(*session.Parts) {
	return func(p *session.Parts) {
		faults.Store = p.Store.(*sessiontest.Store)
		p.Store = faults
	}
}

// unleased is a leaser that gives no lease, after something happened.
type unleased struct {
	session.Leaser
	before func()
}

func (u *unleased) Acquire(ctx context.Context, client session.ClientID, owner string) (session.Lease, error) {
	if u.before == nil {
		return u.Leaser.Acquire(ctx, client, owner)
	}
	u.before()
	return session.Lease{}, sessiontest.ErrStoreDown
}

// The fleet's clock was in doubt when the flight began, and is not any more when it gets no lease.
func TestNothingIsMintedWithoutALeaseForATokenThatIsLiveAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ahead, leaser := time.Duration(0), &unleased{}
		w := newWorld(t, func(p *session.Parts) {
			leaser.Leaser, p.Leaser = p.Leaser, leaser
			p.Now = func() time.Time { return time.Now().Add(ahead) }
		})
		token := w.aged(time.Minute)
		ahead, leaser.before = day, func() { ahead = 0 }
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		w.wantMints(session.Absent)
	})
}

func TestTokenThatCantBeSavedIsServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, failClosed, failing(unwilling{save: sessiontest.ErrStoreDown}))
		w.fetch(session.Need{}).wantMinted(t, session.Absent)
		w.fetch(session.Need{}).wantMinted(t, session.Absent)
		grant, err := w.Register(t.Context(), session.Registration{})
		if err != nil || !w.portal.Accepts(grant.Token) {
			t.Errorf("register: %v", err)
		}
	})
}

func TestActivityThatCantBeStoredStillServes(t *testing.T) {
	t.Parallel()
	for mode, source := range map[session.RefreshMode]session.Source{
		session.RefreshProbe: session.SourceRefresh, session.RefreshAssume: session.SourceCache,
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, inMode(mode), failing(unwilling{slide: sessiontest.ErrStoreDown}))
				token := w.aged(short)
				for range 3 {
					g := w.fetch(session.Need{})
					g.want(t, source, token.ID, 0)
					if !g.Token.ActiveAt.Equal(time.Now()) || !w.stored().ActiveAt.Equal(token.ActiveAt) {
						t.Errorf("granted as active at %s, stored %s", g.Token.ActiveAt, w.stored().ActiveAt)
					}
				}
				w.wantMints(session.Absent)
			})
		})
	}
}

func TestDeadTokenThatCantBeForgottenIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, failing(unwilling{forget: sessiontest.ErrStoreDown}))
		dead := w.aged(short)
		w.portal.Kill(dead.ID)
		g := w.fetch(session.Need{})
		g.wantMinted(t, session.Rejected, dead.ID)
		w.fetch(session.Need{}).want(t, session.SourceCache, g.Token.ID, 0)
	})
}

func TestTokenForgottenDuringItsRefreshIsNotServed(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"which ends soon": 400 * time.Millisecond, "which outlasts patience": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, onProbe(func(context.Context) error { time.Sleep(wait); return nil }))
				token := w.aged(short)
				time.AfterFunc(wait/4, func() {
					if err := w.Forget(t.Context(), alice, token.ID); err != nil {
						t.Errorf("forget: %v", err)
					}
				})
				all := w.crowd(20, session.Need{})
				for _, g := range all {
					if g.err != nil || g.took != wait || g.Token.ID != all[0].Token.ID || g.Token.ID == token.ID {
						t.Errorf("granted %s after %s, %v; the first got %s for %s", g.Token.ID, g.took, g.err, all[0].Token.ID, token.ID)
					}
				}
				w.wantMints(session.Absent, session.Absent)
			})
		})
	}
}

// The client logged out, and then Portal's answer came: there is nobody to mint for.
func TestTokenForgottenBeforePortalRefusesItIsNotReplacedBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(func(context.Context) error { time.Sleep(time.Second); return nil }))
		dead := w.aged(due)
		w.fetch(session.Need{})
		w.portal.Kill(dead.ID)
		if err := w.settled().Forget(t.Context(), alice); err != nil {
			t.Fatalf("forget: %v", err)
		}
		time.Sleep(time.Second)
		w.settled().wantMints(session.Absent)
		w.wantProbes(1)
		if !w.stored().IsZero() {
			t.Error("a token is cached again")
		}
	})
}

func TestTokenForgottenBeforePortalRefusesItIsReplacedForWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(func(context.Context) error { time.Sleep(400 * time.Millisecond); return nil }))
		dead := w.aged(short)
		w.portal.Kill(dead.ID)
		time.AfterFunc(100*time.Millisecond, func() {
			if err := w.Forget(t.Context(), alice); err != nil {
				t.Errorf("forget: %v", err)
			}
		})
		w.fetch(session.Need{}).wantMinted(t, session.Absent, dead.ID)
		w.wantMints(session.Absent, session.Absent)
	})
}

func TestTokenReplacedDuringItsRefreshIsNotServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w *world
		var later session.Token
		w = newWorld(t, onProbe(func(ctx context.Context) error {
			later = sessiontest.NewToken(alice, time.Now())
			seen := w.stored().Fence
			later.Fence = seen + 1
			_, err := w.store.Commit(ctx, later, seen)
			return err
		}))
		token := w.aged(short)
		for _, g := range w.crowd(20, session.Need{}) {
			g.want(t, session.SourceCache, later.ID, 0)
		}
		w.wantMints(session.Absent)
		if w.stored().ID == token.ID {
			t.Error("the replaced token came back")
		}
	})
}

// contrary is a store that loads what it then denies to have.
type contrary struct{ *sessiontest.Store }

func (contrary) Slide(context.Context, session.Move) (session.Match, error) {
	return session.MatchNone, nil
}

func TestStoreThatContradictsItselfIsNotAskedForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(p *session.Parts) { p.Store = contrary{p.Store.(*sessiontest.Store)} })
		token := w.aged(short)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		w.ask(t.Context(), explicit(hour)).wantError(t, session.ErrPortalUnavailable, 0)
		if n := w.portal.Probes(); n > 10 {
			t.Errorf("%d probes", n)
		}
	})
}

func TestRetryErrorSaysWhatItWrapsAndWhen(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("mint: %w", &session.RetryError{After: time.Minute, Err: session.ErrPortalRateLimited})
	if !errors.Is(err, session.ErrPortalRateLimited) || session.RetryAfter(err) != time.Minute {
		t.Errorf("after %s: %v", session.RetryAfter(err), err)
	}
	if want := "mint: " + session.ErrPortalRateLimited.Error(); err.Error() != want {
		t.Errorf("says %q, want %q", err, want)
	}
	if after := session.RetryAfter(session.ErrPortalRateLimited); after != 0 {
		t.Errorf("without a wait: after %s", after)
	}
}

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// pause is how long a Standby leaves a store alone that failed.
const pause = 150 * time.Millisecond

var errDown = sessiontest.ErrStoreDown

// rig is a Standby with a store that breaks at will and a clock that stands still.
type rig struct {
	*cache.Standby
	t     *testing.T
	store *sessiontest.Store
	clock *clock
}

func newRig(t *testing.T) rig {
	t.Helper()
	store, clock := &sessiontest.Store{}, newClock()
	standby := cache.NewStandby(cache.StandbyParts{Store: store, Memory: remember(t, clock.Now), Now: clock.Now})
	return rig{Standby: standby, t: t, store: store, clock: clock}
}

// mend lets the store work again, at a time when it is asked again.
func (r rig) mend() {
	r.store.Break(nil)
	r.clock.advance(pause)
}

// token returns a token minted at the clock's time.
func (r rig) token() session.Token { return sessiontest.NewToken(alice, r.clock.Now()) }

// wantDown wants no more than the error.
func (r rig) wantDown(err error) {
	r.t.Helper()
	if err == nil {
		r.t.Error("no error, though the store is down")
	}
}

func TestStandbyServesWhatPassedWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	for name, pass := range map[string]func(rig, session.Token) session.Token{
		"a token saved": func(r rig, token session.Token) session.Token {
			must(r.t, r.Save(r.t.Context(), token))
			return token
		},
		"a token loaded": func(r rig, token session.Token) session.Token {
			must(r.t, r.store.Save(r.t.Context(), token))
			wantLoaded(r.t, r, alice, token)
			return token
		},
		"a token loaded in the place of another": func(r rig, token session.Token) session.Token {
			must(r.t, r.Save(r.t.Context(), r.token()))
			must(r.t, r.store.Save(r.t.Context(), token))
			wantLoaded(r.t, r, alice, token)
			return token
		},
		"a token saved and slid": func(r rig, token session.Token) session.Token {
			must(r.t, r.Save(r.t.Context(), token))
			token.ActiveAt = token.ActiveAt.Add(hour)
			wantMatch(r.t, session.MatchSame)(r.Slide(r.t.Context(), alice, token.ID, token.ActiveAt))
			return token
		},
		"a token slid elsewhere and loaded": func(r rig, token session.Token) session.Token {
			must(r.t, r.Save(r.t.Context(), token))
			token.ActiveAt = token.ActiveAt.Add(hour)
			wantMatch(r.t, session.MatchSame)(r.store.Slide(r.t.Context(), alice, token.ID, token.ActiveAt))
			wantLoaded(r.t, r, alice, token)
			return token
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			want := pass(r, r.token())
			r.store.Break(errDown)
			wantLoaded(t, r, alice, want)
			r.clock.advance(pause)
			wantLoaded(t, r, alice, want)
		})
	}
}

func TestStandbyReturnsTheErrorForWhatDidNotPass(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(t, r.store.Save(t.Context(), r.token()))
	r.store.Break(errDown)
	if token, err := r.Load(t.Context(), alice); !errors.Is(err, errDown) || !token.IsZero() {
		t.Errorf("Load = %+v, %v; want the store's error", token, err)
	}
	for _, id := range []session.TokenID{{}, r.token().ID} {
		r.clock.advance(pause)
		if match, err := r.Slide(t.Context(), alice, id, r.clock.Now()); !errors.Is(err, errDown) {
			t.Errorf("Slide = %v, %v; want the store's error", match, err)
		}
	}
}

func TestStandbyDoesNotServeATokenThatExpiredDuringTheFailure(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	must(t, r.Save(t.Context(), token))
	r.store.Break(errDown)
	r.clock.advance(day - time.Millisecond)
	wantLoaded(t, r, alice, token)
	r.clock.advance(time.Millisecond)
	token, err := r.Load(t.Context(), alice)
	r.wantDown(err)
	if !token.IsZero() {
		t.Errorf("Load = %+v", token)
	}
}

func TestTokenSavedWhileTheStoreIsDownIsServedAndWrittenBackUnlessANewerOneIsThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		there time.Duration // minted so long after ours
		none  bool
		want  bool // ours
	}{
		"nothing is there":                      {none: true, want: true},
		"a much older one is there":             {there: -hour, want: true},
		"one older by a moment is there":        {there: -time.Millisecond, want: true},
		"one minted in the same moment stays":   {there: 0},
		"one newer by a moment stays":           {there: time.Millisecond},
		"one minted long after the fault stays": {there: hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.store.Break(errDown)
			ours, theirs := r.token(), sessiontest.NewToken(alice, r.clock.Now().Add(c.there))
			r.wantDown(r.Save(t.Context(), ours))
			wantLoaded(t, r, alice, ours)
			r.mend()
			if !c.none {
				must(t, r.store.Save(t.Context(), theirs))
			}
			want := theirs
			if c.want {
				want = ours
			}
			wantLoaded(t, r, alice, want)
			wantLoaded(t, r.store, alice, want)
			// It was told once: what the store says from now on stands.
			later := sessiontest.NewToken(alice, r.clock.Now().Add(-2*hour))
			must(t, r.store.Save(t.Context(), later))
			wantLoaded(t, r, alice, later)
		})
	}
}

func TestTokenWrittenBackIsTriedAgainIfTheStoreFailsAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	token := r.token()
	r.wantDown(r.Save(t.Context(), token))
	for range 3 {
		r.clock.advance(pause)
		wantLoaded(t, r, alice, token)
	}
	r.mend()
	wantLoaded(t, r, alice, token)
	wantLoaded(t, r.store, alice, token)
}

func TestTokenSlidWhileTheStoreIsDownKeepsItsSlideWhenWrittenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	token := r.token()
	r.wantDown(r.Save(t.Context(), token))
	token.ActiveAt = token.ActiveAt.Add(hour)
	wantMatch(t, session.MatchSame)(r.Slide(t.Context(), alice, token.ID, token.ActiveAt))
	wantLoaded(t, r, alice, token)
	r.mend()
	wantLoaded(t, r, alice, token)
	wantLoaded(t, r.store, alice, token)
}

func TestTokenSavedAgainOnceTheStoreWorksIsNotWrittenOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	r.wantDown(r.Save(t.Context(), r.token()))
	r.mend()
	second := r.token()
	must(t, r.Save(t.Context(), second))
	wantLoaded(t, r, alice, second)
	wantLoaded(t, r.store, alice, second)
}

func TestForgetWhileTheStoreIsDownIsAnErrorAndTheMemoryForgets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	must(t, r.Save(t.Context(), token))
	r.store.Break(errDown)
	if match, err := r.Forget(t.Context(), alice, token.ID); !errors.Is(err, errDown) {
		t.Errorf("Forget = %v, %v; want the store's error", match, err)
	}
	if got, err := r.Load(t.Context(), alice); err == nil || !got.IsZero() {
		t.Errorf("Load = %+v, %v; want nothing", got, err)
	}
	r.mend()
	wantLoaded(t, r, alice, token) // the store was not told
}

func TestTokenSavedAndForgottenWhileTheStoreIsDownStaysForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	token := r.token()
	r.wantDown(r.Save(t.Context(), token))
	_, err := r.Forget(t.Context(), alice, token.ID)
	r.wantDown(err)
	r.mend()
	wantLoaded(t, r, alice, session.Token{})
	wantLoaded(t, r.store, alice, session.Token{})
}

func TestForgetOfAnotherTokenWhileTheStoreIsDownLeavesTheOneServed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	must(t, r.Save(t.Context(), token))
	r.store.Break(errDown)
	_, err := r.Forget(t.Context(), alice, r.token().ID)
	r.wantDown(err)
	wantLoaded(t, r, alice, token)
}

func TestMissOfAWorkingStoreDropsTheMemorysCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	must(t, r.Save(t.Context(), token))
	wantMatch(t, session.MatchSame)(r.store.Forget(t.Context(), alice, token.ID)) // by another replica
	wantLoaded(t, r, alice, session.Token{})
	r.store.Break(errDown)
	if got, err := r.Load(t.Context(), alice); err == nil || !got.IsZero() {
		t.Errorf("Load = %+v, %v; want nothing: it was gone", got, err)
	}
}

func TestStoreThatFailedIsLeftAloneForAPause(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	asked := func(want int) {
		t.Helper()
		before := r.store.Loads()
		for range 10 {
			_, err := r.Load(t.Context(), alice)
			r.wantDown(err)
		}
		if got := r.store.Loads() - before; got != want {
			t.Errorf("the store was asked %d times, want %d", got, want)
		}
	}
	asked(1)
	r.clock.advance(pause - 1)
	asked(0)
	r.clock.advance(1)
	asked(1)
	r.store.Break(nil)
	if _, err := r.Load(t.Context(), alice); err == nil {
		t.Error("the store was asked during the pause")
	}
	r.clock.advance(pause)
	wantLoaded(t, r, alice, session.Token{})
}

func TestErrorThatIsNotTheStoresFaultStartsNoPause(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{
		"a record that is no token": fmt.Errorf("load: %w", session.ErrRecordUnreadable),
		"a caller who left":         fmt.Errorf("load: %w", context.Canceled),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.store.Break(fault)
			if _, err := r.Load(t.Context(), alice); !errors.Is(err, fault) {
				t.Errorf("Load: %v, want %v", err, fault)
			}
			r.store.Break(nil)
			wantLoaded(t, r, alice, session.Token{})
		})
	}
}

func TestUnreadableRecordIsNotCoveredByTheMemorysCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(t, r.Save(t.Context(), r.token()))
	r.store.Break(session.ErrRecordUnreadable)
	if got, err := r.Load(t.Context(), alice); !errors.Is(err, session.ErrRecordUnreadable) || !got.IsZero() {
		t.Errorf("Load = %+v, %v; want ErrRecordUnreadable", got, err)
	}
}

func TestStandbyIsSafeForConcurrentUseWhileTheStoreComesAndGoes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tokens := []session.Token{r.token(), r.token()}
	tokens[1].Client = "other"
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 200 {
				token := tokens[(i+n)%2]
				switch n % 7 {
				case 0:
					r.store.Break(errDown)
				case 3:
					r.mend()
				case 4:
					_, _ = r.Slide(t.Context(), token.Client, token.ID, r.clock.Now())
				case 5:
					_, _ = r.Forget(t.Context(), token.Client, token.ID)
				default:
					_ = r.Save(t.Context(), token)
				}
				if got, _ := r.Load(t.Context(), token.Client); !got.IsZero() && (got.ID != token.ID || got.Client != token.Client) {
					t.Errorf("loaded another client's token: %+v", got)
				}
			}
		})
	}
	group.Wait()
}

func TestHungRedisCostsAStandbyOneTimeOutPerPause(t *testing.T) {
	server := redistest.Start(t)
	clock := newClock()
	standby := cache.NewStandby(cache.StandbyParts{
		Store: open(t, server.URL(), "p"), Memory: remember(t, clock.Now), Now: clock.Now,
	})
	token := sessiontest.NewToken(alice, clock.Now())
	must(t, standby.Save(t.Context(), token))
	server.Pause()
	wantPrompt(t, func() time.Duration {
		clock.advance(pause)
		began := time.Now()
		for range 100 {
			wantLoaded(t, standby, alice, token)
			wantMatch(t, session.MatchSame)(standby.Slide(t.Context(), alice, token.ID, token.ActiveAt))
			if err := standby.Save(t.Context(), token); err == nil {
				t.Error("saved in a hung Redis")
			}
		}
		return time.Since(began)
	})
	server.Resume()
	await(t, "Redis to be asked again", func() bool {
		clock.advance(pause)
		return standby.Save(t.Context(), token) == nil
	})
}

func TestTokenMintedWhileRedisWasDeadIsInRedisOnceItIsBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	clock := newClock()
	store := open(t, server.URL(), "p")
	standby := cache.NewStandby(cache.StandbyParts{Store: store, Memory: remember(t, clock.Now), Now: clock.Now})
	server.Kill()
	token := sessiontest.NewToken(alice, clock.Now())
	if err := standby.Save(t.Context(), token); err == nil {
		t.Error("saved in a dead Redis")
	}
	wantLoaded(t, standby, alice, token)
	server.Restart()
	reach(t, store, alice)
	clock.advance(pause)
	wantLoaded(t, standby, alice, token)
	wantLoaded(t, store, alice, token)
}

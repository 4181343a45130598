package session_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func TestThousandCallersOfAColdClientCostOneMint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = 700 * time.Millisecond
		all, led := w.crowd(1000, session.Need{}), 0
		for _, g := range all {
			g.want(t, session.SourceMint, all[0].Token.ID, 700*time.Millisecond)
			if g.Shared == "" {
				led++
			}
		}
		if led != 1 {
			t.Errorf("%d callers led the flight, want 1", led)
		}
		w.wantMints(session.Absent)
	})
}

func TestImpatientCallerDoesNotSpoilTheMint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = 3 * time.Second
		var group sync.WaitGroup
		leaving, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		group.Go(func() { w.ask(leaving, session.Need{}).wantError(t, context.DeadlineExceeded, time.Second) })
		synctest.Wait()
		all := w.crowd(100, session.Need{})
		group.Wait()
		for _, g := range all {
			g.want(t, session.SourceMint, all[0].Token.ID, 3*time.Second)
		}
		w.wantMints(session.Absent)
	})
}

func TestMintThatNobodyWaitsForIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = 3 * time.Second
		leaving, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		w.ask(leaving, session.Need{}).wantError(t, context.Canceled, time.Second)
		time.Sleep(2 * time.Second)
		if g := w.settled().fetch(session.Need{}); g.Source != session.SourceCache {
			t.Errorf("granted from %s", g.Source)
		}
		w.wantMints(session.Absent)
	})
}

func TestCallerWhoLeftIsToldSoThoughATokenIsUsable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(hang))
		w.aged(short)
		leaving, leave := context.WithTimeout(t.Context(), time.Second/2)
		defer leave()
		w.ask(leaving, session.Need{}).wantError(t, context.DeadlineExceeded, time.Second/2)
	})
}

func TestFlightCarriesTheValuesOfWhoBeganIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		w := newWorld(t, onMint(func(ctx context.Context) error {
			if ctx.Value(key{}) != "trace" {
				t.Error("the value is lost")
			}
			return nil
		}))
		w.ask(context.WithValue(t.Context(), key{}, "trace"), session.Need{}).wantMinted(t, session.Absent)
	})
}

func TestHangingPortalCostsTheDeadlineAndNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = time.Hour
		for _, g := range w.crowd(10, session.Need{}) {
			g.wantError(t, session.ErrPortalTimeout, deadline)
		}
		w.portal.Delay = deadline - 1
		w.fetch(session.Need{}).wantMinted(t, session.Absent)
	})
}

func TestClientsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hanging := true
		w := newWorld(t, onMint(func(ctx context.Context) error {
			if hanging {
				return hang(ctx)
			}
			return nil
		}))
		var group sync.WaitGroup
		group.Go(func() { w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalTimeout, deadline) })
		synctest.Wait()
		hanging = false
		began := time.Now()
		grant, err := w.Grant(t.Context(), session.Ask{Client: bob})
		if err != nil || grant.Token.Client != bob || time.Since(began) != 0 {
			t.Errorf("granted one of %q after %s, %v", grant.Token.Client, time.Since(began), err)
		}
		group.Wait()
	})
}

func TestCrashInThePortalPortIsAnErrorToAll(t *testing.T) {
	t.Parallel()
	const text = "do not log me"
	type index []int
	for name, c := range map[string]struct {
		crash func()
		logs  string
	}{
		"a text":          {crash: func() { panic(text) }, logs: "cause=\"not shown\""},
		"an error":        {crash: func() { panic(errors.New(text)) }, logs: "cause=\"not shown\""},
		"a runtime error": {crash: func() { _ = index{}[len(text)] }, logs: "index out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mended bool
				w := newWorld(t, onMint(func(context.Context) error {
					time.Sleep(300 * time.Millisecond)
					if !mended {
						c.crash()
					}
					return nil
				}))
				for _, g := range w.crowd(10, session.Need{}) {
					if g.err == nil || !g.Token.IsZero() {
						t.Errorf("granted %s, %v", g.Token.ID, g.err)
					} else if strings.Contains(g.err.Error(), text) {
						t.Errorf("the error shows what the panic held: %v", g.err)
					}
				}
				mended = true
				w.fetch(session.Need{}).wantMinted(t, session.Absent)
				if log := w.log.String(); strings.Contains(log, text) || !strings.Contains(log, c.logs) || !strings.Contains(log, "level=ERROR") {
					t.Errorf("logged, for %q:\n%s", c.logs, log)
				}
			})
		})
	}
}

func TestCrashBehindDoesNotDisturb(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(func(context.Context) error { panic("crash") }))
		token := w.aged(due)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		w.settled()
		// In the foreground neither, as long as there is something to serve.
		time.Sleep(short - due)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
	})
}

func TestCallersOfOneRefreshShareIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(due)
		w.portal.Delay = 2 * time.Second
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		for _, g := range w.crowd(50, explicit(20*hour)) {
			g.want(t, session.SourceRefresh, token.ID, 2*time.Second)
			if g.Shared == "" {
				t.Error("a caller led a flight that was under way")
			}
		}
		w.wantProbes(1)
	})
}

// blinkingStore fails its next loads.
type blinkingStore struct {
	slowStore
	blinks *atomic.Int64
}

func (s blinkingStore) Load(ctx context.Context, client session.ClientID) (session.Token, error) {
	failing := s.blinks.Add(-1) >= 0
	token, err := s.slowStore.Load(ctx, client)
	if failing {
		return session.Token{}, sessiontest.ErrStoreDown
	}
	return token, err
}

func (s blinkingStore) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return s.Load(ctx, client)
}

// Both looked while the store blinked. The flight of the modest one finds a token that does for it, but not for the
// demanding one, who joined.
func TestCallerWhoseNeedTheFlightDidNotMeetTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		blinks := new(atomic.Int64)
		w := newWorld(t, func(p *session.Parts) {
			p.Store = blinkingStore{slowStore{p.Store.(*sessiontest.Store), 2 * time.Millisecond}, blinks}
		})
		token := w.aged(9 * hour)
		blinks.Store(2)
		var group sync.WaitGroup
		group.Go(func() { w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, token.ID, 4*time.Millisecond) })
		time.Sleep(time.Millisecond)
		// Its look ends at 3 ms, the flight at 4 ms; then it looks and slides in a flight of its own.
		w.fetch(explicit(20*hour)).want(t, session.SourceRefresh, token.ID, 7*time.Millisecond)
		group.Wait()
		w.wantMints(session.Absent)
		w.wantProbes(1)
	})
}

// A replica put back what the store had lost, which is enough for the one who waits for the lease.
func TestOldTokenThatAnotherReplicaBringsIsNotServedToWhoNeedsMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(day - hour)
		w.store.Lose()
		lease, err := w.store.Acquire(t.Context(), alice, "another")
		if err != nil {
			t.Fatal(err)
		}
		one, two := make(chan got, 1), make(chan got, 1)
		go func() { one <- w.ask(t.Context(), session.Need{}) }()
		time.Sleep(time.Millisecond)
		go func() { two <- w.ask(t.Context(), explicit(6*hour)) }()
		w.settled()
		if _, err := w.store.Restore(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if err := w.store.LetGo(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		(<-one).want(t, session.SourceMint, token.ID, time.Millisecond)
		(<-two).want(t, session.SourceRefresh, token.ID, 0)
		w.wantMints(session.Absent)
	})
}

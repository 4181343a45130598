package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// closing ends the Broker with patience in its caller's hands, and returns how long that took.
func (w *world) closing(patience time.Duration) time.Duration {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	began := time.Now()
	w.Close(ctx)
	return time.Since(began)
}

func TestCloseWaitsForFlights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = 3 * time.Second
		var group sync.WaitGroup
		group.Go(func() { w.ask(t.Context(), session.Need{}).wantMinted(t, session.Absent) })
		group.Go(func() {
			if _, err := w.Register(t.Context(), session.Registration{}); err != nil {
				t.Errorf("register: %v", err)
			}
		})
		synctest.Wait()
		if took := w.closing(time.Minute); took != 3*time.Second {
			t.Errorf("closed after %s", took)
		}
		group.Wait()
		if w.stored().IsZero() {
			t.Error("the mint was not kept")
		}
	})
}

func TestCloseWaitsForWhatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.aged(due)
		w.portal.Delay = 3 * time.Second
		w.fetch(session.Need{})
		if took := w.closing(time.Minute); took != 3*time.Second {
			t.Errorf("closed after %s", took)
		}
		w.wantProbes(1)
	})
}

func TestCloseCancelsFlightsWhenItsPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onMint(hang))
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() { w.ask(t.Context(), session.Need{}).wantError(t, session.ErrShuttingDown, 4*time.Second) })
		}
		synctest.Wait()
		if took := w.closing(4 * time.Second); took != 4*time.Second {
			t.Errorf("closed after %s", took)
		}
		group.Wait()
	})
}

func TestCloseWaitsForTheEndOfWhatItCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onMint(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(2 * time.Second) // deaf for a while
			return session.ErrPortalTimeout
		}))
		var group sync.WaitGroup
		group.Go(func() { w.ask(t.Context(), session.Need{}).wantError(t, session.ErrShuttingDown, 6*time.Second) })
		synctest.Wait()
		if took := w.closing(4 * time.Second); took != 6*time.Second {
			t.Errorf("closed after %s", took)
		}
		group.Wait()
	})
}

func TestWhoWaitsWithAUsableTokenIsServedOnClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onProbe(hang))
		token := w.aged(short)
		var group sync.WaitGroup
		group.Go(func() { w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, token.ID, time.Second/2) })
		synctest.Wait()
		w.closing(time.Second / 2)
		group.Wait()
	})
}

func TestAfterCloseNothingIsAskedOfPortal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age  time.Duration
		need session.Need
		err  error
	}{
		"a live token is served":                     {age: hour},
		"a due token is served, and not refreshed":   {age: due},
		"a short token is served, and not refreshed": {age: short},
		"an idle token is not served":                {age: day, err: session.ErrShuttingDown},
		"a need that would take a refresh is not":    {age: hour, need: explicit(day), err: session.ErrShuttingDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				token := w.aged(c.age)
				if took := w.closing(time.Minute); took != 0 {
					t.Errorf("closed after %s, with nothing under way", took)
				}
				switch g := w.ask(t.Context(), c.need); c.err {
				case nil:
					g.want(t, session.SourceCache, token.ID, 0)
				default:
					g.wantError(t, c.err, 0)
				}
				w.settled().wantMints(session.Absent)
				w.wantProbes(0)
			})
		})
	}
}

func TestAfterCloseNoClientIsRegistered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.closing(time.Minute)
		for _, key := range []string{"", "key"} {
			if _, err := w.Register(t.Context(), session.Registration{Key: key}); !errors.Is(err, session.ErrShuttingDown) {
				t.Errorf("register with key %q: %v", key, err)
			}
		}
		if n := w.portal.Registered(); n != 0 {
			t.Errorf("%d clients registered", n)
		}
	})
}

func TestNoRegistrationBeginsWhileCloseWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.Delay = 3 * time.Second
		var group sync.WaitGroup
		group.Go(func() { w.ask(t.Context(), session.Need{}).wantMinted(t, session.Absent) })
		synctest.Wait()
		group.Go(func() { w.closing(time.Minute) })
		synctest.Wait()
		if _, err := w.Register(t.Context(), session.Registration{}); !errors.Is(err, session.ErrShuttingDown) {
			t.Errorf("register: %v", err)
		}
		group.Wait()
	})
}

// attentive is a store that does nothing for who has left, as one across a network does.
type attentive struct{ *sessiontest.Store }

func (s attentive) Settle(ctx context.Context, claim session.Claim, client session.ClientID, keep time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.Store.Settle(ctx, claim, client, keep)
}

func (s attentive) Release(ctx context.Context, claim session.Claim) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.Store.Release(ctx, claim)
}

func (s attentive) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	if ctx.Err() != nil {
		return session.MatchNone, ctx.Err()
	}
	return s.Store.Forget(ctx, client, id)
}

func TestRegistrationCanceledByCloseGivesItsKeyBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hanging := true
		w := newWorld(t, func(p *session.Parts) { p.Registry = attentive{p.Store.(*sessiontest.Store)} },
			onRegister(func(ctx context.Context) error {
				if hanging {
					return hang(ctx)
				}
				return nil
			}))
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := w.Register(t.Context(), session.Registration{Key: "key"}); !errors.Is(err, session.ErrShuttingDown) {
				t.Errorf("register: %v", err)
			}
		})
		synctest.Wait()
		w.closing(time.Second)
		group.Wait()
		hanging = false
		began := time.Now()
		if _, err := w.replica().Register(t.Context(), session.Registration{Key: "key"}); err != nil || time.Since(began) != 0 {
			t.Errorf("register at another replica: %v after %s", err, time.Since(began))
		}
	})
}

// Portal made the client in the moment in which Close lost patience: a repeat must find it.
func TestRegistrationThatPortalAnswersAfterTheCancelIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(p *session.Parts) { p.Registry = attentive{p.Store.(*sessiontest.Store)} },
			onRegister(func(ctx context.Context) error { <-ctx.Done(); return nil }))
		var first session.Grant
		var group sync.WaitGroup
		group.Go(func() { first, _ = w.Register(t.Context(), session.Registration{Key: "key"}) })
		synctest.Wait()
		w.closing(time.Second)
		group.Wait()
		again, err := w.replica().Register(t.Context(), session.Registration{Key: "key"})
		if err != nil || again.Token.Client != first.Token.Client || w.portal.Registered() != 1 {
			t.Errorf("registered %q, then %q, %v: %d clients", first.Token.Client, again.Token.Client, err, w.portal.Registered())
		}
	})
}

func TestCloseMayBeHurried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, onMint(hang))
		var group sync.WaitGroup
		group.Go(func() { w.ask(t.Context(), session.Need{}).wantError(t, session.ErrShuttingDown, 2*time.Second) })
		synctest.Wait()
		group.Go(func() {
			if took := w.closing(time.Minute); took != 2*time.Second {
				t.Errorf("closed after %s", took)
			}
		})
		time.Sleep(time.Second)
		if took := w.closing(time.Second); took != time.Second {
			t.Errorf("closed in a hurry after %s", took)
		}
		group.Wait()
	})
}

func TestCloseTwiceIsCloseOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if took := w.closing(time.Minute) + w.closing(time.Minute); took != 0 {
			t.Errorf("closed after %s", took)
		}
	})
}

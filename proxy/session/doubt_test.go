package session_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func TestDecideInDoubt(t *testing.T) {
	t.Parallel()
	const ms, until = time.Millisecond, 20 * time.Second
	for name, c := range map[string]struct {
		mode   session.RefreshMode
		active time.Duration // after the mint
		now    time.Duration // after the mint
		need   session.Need
		want   session.Action
	}{
		"accepted a moment ago is served":                            {now: 2*time.Second - ms, want: session.Serve},
		"accepted two seconds ago is asked for":                      {now: 2 * time.Second, want: session.Refresh},
		"accepted before the doubt's end is asked for after it":      {active: until - ms, now: until + 2*time.Second, want: session.Refresh},
		"accepted at the doubt's end is served":                      {active: until, now: until + time.Minute, want: session.Serve},
		"accepted before the doubt's end, hours later":               {active: until - ms, now: 9 * hour, want: session.Refresh},
		"observing, it is asked for all the same":                    {mode: session.RefreshObserve, now: 2 * time.Second, want: session.Refresh},
		"assuming, it is asked for all the same":                     {mode: session.RefreshAssume, now: 2 * time.Second, want: session.Refresh},
		"assuming, a need that would slide it has it asked for":      {mode: session.RefreshAssume, now: time.Second, need: explicit(day), want: session.Refresh},
		"assuming, a need met by the token as it is leaves it alone": {mode: session.RefreshAssume, now: time.Second, want: session.Serve},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			life := portal()
			if c.mode != "" {
				life.Refresh = c.mode
			}
			token := sessiontest.NewToken("c", monday)
			token.ActiveAt, token.Doubt = monday.Add(c.active), monday.Add(until)
			if got := life.Decide(token, monday.Add(c.now), c.need); got.Action != c.want {
				t.Errorf("Decide = %v %q, want %v", got.Action, got.Reason, c.want)
			}
			if !life.Usable(token, monday.Add(c.now)) {
				t.Error("a token in doubt is not usable where Portal can't be asked")
			}
		})
	}
}

// late has Portal carry out the first mint only after a while, when nobody waits for it any more.
func late(after time.Duration) func(*session.Parts) {
	return func(p *session.Parts) {
		portal, asked := p.Portal.(*sessiontest.Portal), atomic.Bool{}
		p.Portal = hooked{Portal: portal, mint: func(ctx context.Context) error {
			if asked.Swap(true) {
				return nil
			}
			time.AfterFunc(after, func() { _, _ = portal.Mint(context.WithoutCancel(ctx), alice, session.Absent) })
			return hang(ctx)
		}}
	}
}

// A client that fetches every other second is not served a dead token for longer than that, and nobody has to report it.
func TestTokenKilledByAMintThatWasGivenUpIsReplaced(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]time.Duration{"while the other is minted": deadline + 100*time.Millisecond, "some seconds later": deadline + 7*time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, late(after))
				w.portal.KillsOlder = true
				w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalTimeout, deadline)
				first := w.ask(t.Context(), session.Need{})
				for range 10 {
					time.Sleep(2 * time.Second)
					w.fetch(session.Need{})
				}
				if last := w.fetch(session.Need{}); last.Token.ID == first.Token.ID || len(w.portal.Mints()) != 3 {
					t.Errorf("there were mints for %v; the one given up, the one it killed and the one for that are three", w.portal.Mints())
				}
			})
		})
	}
}

func TestTokenInDoubtIsAskedForAFewTimesAndOnceAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, late(time.Hour))
		w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalTimeout, deadline)
		token := w.fetch(session.Need{}).Token
		for range 600 {
			if g := w.fetch(session.Need{}); g.Token.ID != token.ID {
				t.Fatalf("granted %s, want %s", g.Token.ID, token.ID)
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.wantProbes(int(deadline / (2 * time.Second)))
	})
}

func TestTokenInDoubtIsServedWhilePortalFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, late(time.Hour))
		w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalTimeout, deadline)
		token := w.aged(5 * time.Second)
		w.portal.Fail(session.ErrPortalUnavailable)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		w.portal.Fail(session.ErrPortalRateLimited)
		time.Sleep(5 * time.Second)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
	})
}

// retried is a Portal that is asked twice for each mint, since the first request broke.
type retried struct{ *sessiontest.Portal }

func (r retried) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	token, err := r.Portal.Mint(ctx, client, reason)
	token.Doubt = time.Now()
	return token, err
}

// The token that the second attempt brought may be replaced before the first is carried out.
func TestTokenAfterOneThatASecondAttemptBroughtIsInDoubtToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(p *session.Parts) { p.Portal = retried{p.Portal.(*sessiontest.Portal)} })
		w.fetch(session.Need{})
		if lease, err := w.store.Acquire(t.Context(), alice, "another"); err != nil || !lease.Doubt {
			t.Errorf("lease = %+v, %v; want one in doubt", lease, err)
		}
	})
}

// overtaken is a Portal whose answer is lost, and before it another replica has minted: the store had lost the lease.
type overtaken struct {
	*sessiontest.Portal
	meanwhile func()
}

func (o overtaken) Mint(context.Context, session.ClientID, session.Reason) (session.Token, error) {
	o.meanwhile()
	return session.Token{}, session.ErrOutcomeUnknown
}

func TestTokenOfAnotherReplicaIsInDoubtIfAMintUnderALostLeaseMayBeCarriedOutYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		theirs := sessiontest.NewToken(alice, time.Now())
		var w *world
		w = newWorld(t, func(p *session.Parts) {
			p.Portal = overtaken{p.Portal.(*sessiontest.Portal), func() {
				w.store.Lose()
				if _, err := w.store.Commit(t.Context(), theirs, 0); err != nil {
					t.Error(err)
				}
			}}
		})
		w.ask(t.Context(), session.Need{})
		if got := w.stored(); got.ID != theirs.ID || !got.ActiveAt.Before(got.Doubt) {
			t.Errorf("stored %s, active %s, in doubt until %s; want the other's, in doubt", got.ID, got.ActiveAt, got.Doubt)
		}
	})
}

// nearItsWindow returns a token whose window holds 10 hours more, and that is not due for a refresh.
func (w *world) nearItsWindow() (token session.Token) {
	w.t.Helper()
	for range 10 {
		token = w.aged(short)
	}
	for token.MintedAt.Add(6*day + 14*hour).After(time.Now()) {
		time.Sleep(hour)
		token = w.fetch(session.Need{}).Token
	}
	return token
}

// A caller needs more than the window holds, so that there is a mint; others are served what it may have killed.
func TestTokenThatAMintMayHaveKilledIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(context.Context) error
		probes int
	}{
		"whose answer did not come":       {hang, 1},
		"whose answer can't be used":      {func(context.Context) error { return session.ErrPortalBadResponse }, 1},
		"of which nothing became known":   {func(context.Context) error { return session.ErrOutcomeUnknown }, 1},
		"that Portal refused":             {func(context.Context) error { return session.ErrPortalRateLimited }, 0},
		"for which Portal was not there":  {func(context.Context) error { return session.ErrPortalUnavailable }, 0},
		"for a client that is not there":  {func(context.Context) error { return session.ErrClientNotFound }, 0},
		"with a key that Portal refused":  {func(context.Context) error { return session.ErrPortalUnauthorized }, 0},
		"that was cut off in its process": {func(context.Context) error { return context.Canceled }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				answer := func(context.Context) error { return nil }
				w := newWorld(t, onMint(func(ctx context.Context) error { return answer(ctx) }))
				token := w.nearItsWindow()
				before := w.settled().portal.Probes()
				answer = c.answer
				if g := w.ask(t.Context(), explicit(day)); g.err == nil {
					t.Errorf("granted from %s", g.Source)
				}
				time.Sleep(5 * time.Second)
				w.fetch(session.Need{})
				w.wantProbes(before + c.probes)

				answer = func(context.Context) error { return nil }
				w.portal.Kill(token.ID)
				if c.probes == 0 {
					return
				}
				time.Sleep(5 * time.Second)
				w.fetch(session.Need{}).wantMinted(t, session.Rejected, token.ID)
			})
		})
	}
}

// The fleet's clock came in doubt after the token was last accepted, and may be behind that.
func TestTokenThatAMintMayHaveKilledIsAskedForThoughTheClockCameInDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		behind, answer := time.Duration(0), func(context.Context) error { return nil }
		w := newWorld(t, onMint(func(ctx context.Context) error { return answer(ctx) }), func(p *session.Parts) {
			p.Sent = func() time.Time { return time.Now().Add(-behind) }
		})
		token := w.nearItsWindow()
		if err := w.NoteActivity(t.Context(), alice, token.ID); err != nil {
			t.Fatal(err)
		}
		behind, answer = 2*hour, hang
		w.ask(t.Context(), explicit(day)).wantError(t, session.ErrPortalTimeout, deadline)
		w.portal.Kill(token.ID)
		answer = func(context.Context) error { return nil }
		time.Sleep(5 * time.Second)
		w.fetch(session.Need{}).wantMinted(t, session.Rejected, token.ID)
	})
}

// Two replicas minted at once, since one did not see the other's lease. Whichever token is kept may be dead.
func TestTokenOfTwoMintsAtOnceIsAskedForBeforeItIsServed(t *testing.T) {
	t.Parallel()
	for name, killsOlder := range map[string]bool{"a mint kills the older tokens": true, "older tokens live on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.portal.KillsOlder = killsOlder
				w.portal.Delay = 800 * time.Millisecond
				w.store.Break(sessiontest.ErrStoreDown)
				one, two := make(chan got, 1), make(chan got, 1)
				go func() { one <- w.ask(t.Context(), session.Need{}) }()
				time.Sleep(500 * time.Millisecond)
				other := &world{Broker: w.replica()}
				go func() { two <- other.ask(t.Context(), session.Need{}) }()
				time.Sleep(100 * time.Millisecond)
				w.store.Break(nil)
				for _, g := range []got{<-one, <-two} {
					if g.err != nil || g.Token.Suspect {
						t.Errorf("granted %+v, %v", g.Token, g.err)
					}
				}
				w.wantMints(session.Absent, session.Absent)
				w.fetch(session.Need{})
			})
		})
	}
}

// Whoever dated it went by a clock that was ahead, and was set right since: only Portal can say, and then it is known.
func TestTokenDatedAheadOfTheClockIsAskedForAndDatedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ahead := 2 * hour
		w := newWorld(t, func(p *session.Parts) { p.Sent = func() time.Time { return time.Now().Add(ahead) } })
		token := w.fetch(session.Need{}).Token
		ahead = 0
		time.Sleep(time.Minute)
		w.fetch(session.Need{}).want(t, session.SourceRefresh, token.ID, 0)
		w.portal.Fail(session.ErrPortalRateLimited)
		w.fetch(session.Need{}).want(t, session.SourceCache, token.ID, 0)
		if got := w.stored(); got.ActiveAt.After(time.Now()) || got.MintedAt.After(time.Now()) {
			t.Errorf("minted %s, active %s: still ahead of %s", got.MintedAt, got.ActiveAt, time.Now())
		}
		w.wantProbes(1)
	})
}

// The shared clock stepped by ten minutes: Now is the later, Sent the earlier.
func TestTokenInDoubtIsAskedForNoMoreOftenWhileTheClockIsInDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(p *session.Parts) { p.Sent = func() time.Time { return time.Now().Add(-10 * time.Minute) } })
		w.fetch(session.Need{})
		token := w.stored()
		_, _ = w.store.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, Doubt: time.Now()})
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			w.fetch(session.Need{})
		}
		if n := w.portal.Probes(); n > 30 {
			t.Errorf("%d probes of one token in 30 s", n)
		}
	})
}

// The store is down; a mint is given up, and carried out late.
func TestMintWithoutALeaseThatWasGivenUpPutsTheNextInDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, late(deadline+7*time.Second))
		w.portal.KillsOlder = true
		w.store.Break(sessiontest.ErrStoreDown)
		w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalTimeout, deadline)
		w.store.Break(nil) // it is back
		for range 30 {
			time.Sleep(2 * time.Second)
			if g := w.ask(t.Context(), session.Need{}); g.err != nil {
				t.Fatal(g.err)
			}
		}
		if g := w.ask(t.Context(), session.Need{}); !w.portal.Accepts(g.Token) {
			t.Errorf("a dead token is served a minute after (doubt %v)", g.Token.Doubt)
		}
	})
}

// The clock steps, a mint is given up, and it is the time before the step that was right: whoever asks for the token then
// dates that by hours after the doubt.
func TestDoubtOutlastsTheClocksOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		behind := 2 * hour
		w := newWorld(t, late(deadline+7*time.Second), func(p *session.Parts) {
			p.Sent = func() time.Time { return time.Now().Add(-behind) }
		})
		w.portal.KillsOlder = true
		w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalTimeout, deadline)
		w.fetch(session.Need{})
		behind = 0
		for range 15 {
			time.Sleep(2 * time.Second)
			w.ask(t.Context(), session.Need{})
		}
		w.fetch(session.Need{})
	})
}

// The store is down; a mint is given up when it is back. Another replica mints next.
func TestMintWithoutALeaseThatWasGivenUpPutsTheNextOfAnotherReplicaInDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, late(deadline+7*time.Second))
		w.portal.KillsOlder = true
		w.store.Break(sessiontest.ErrStoreDown)
		time.AfterFunc(4*time.Second, func() { w.store.Break(nil) })
		w.ask(t.Context(), session.Need{}).wantError(t, session.ErrPortalTimeout, deadline)
		w.Broker = w.replica()
		for range 15 {
			w.ask(t.Context(), session.Need{})
			time.Sleep(2 * time.Second)
		}
		w.fetch(session.Need{})
	})
}

// The store loses the lease of a mint. Another replica takes one, and mints, and the first is cut off meanwhile.
func TestMintUnderWayLearnsOfOneThatWasCutOffBesideIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, late(7*time.Second))
		w.portal.KillsOlder = true
		w.portal.Delay = 2 * time.Second
		go func() { w.ask(t.Context(), session.Need{}) }()
		time.Sleep(500 * time.Millisecond)
		w.store.Lose()
		other := &world{t: t, portal: w.portal, Broker: w.replica()}
		other.fetch(session.Need{})
		for range 15 {
			time.Sleep(2 * time.Second)
			other.ask(t.Context(), session.Need{})
		}
		other.fetch(session.Need{})
	})
}

// forgetful is what a replica remembers that missed a message.
type forgetful struct {
	session.Store
	stale session.Token
}

func (m *forgetful) Load(ctx context.Context, c session.ClientID) (session.Token, error) {
	if !m.stale.IsZero() {
		return m.stale, nil
	}
	return m.Store.Load(ctx, c)
}

func TestReportOfANewerTokenThanTheReplicaRemembersIsHeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.portal.KillsOlder = true
		t1 := w.fetch(session.Need{}).Token
		t2 := w.ask(t.Context(), session.Need{Rejected: t1.ID}).Token // at another replica; the message was missed here
		w.portal.Kill(t2.ID)
		here := &forgetful{Store: w.store, stale: t1}
		w.parts.Store = here
		other := w.replica()
		g, err := other.Grant(t.Context(), session.Ask{Client: alice, Need: session.Need{Rejected: t2.ID}})
		if err != nil || !w.portal.Accepts(g.Token) {
			t.Errorf("answered a report of the newer token with the older, dead one: %v %v", g.Token.ID == t1.ID, err)
		}
		if got := w.stored(); got.ID == t2.ID {
			t.Error("and the one reported stays in the store")
		}
	})
}

package session_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const ahead = 6 * hour

func mintingAhead(p *session.Parts) { p.Lifetime.MintAhead = ahead }

// lifeAhead is Portal's rule with the default policy, and mints ahead.
func lifeAhead() session.Lifetime {
	life := portal()
	life.MintAhead = ahead
	return life
}

// ownMoment is how long after a mint alice's next token may be minted.
func ownMoment() time.Duration {
	token := sessiontest.NewToken(alice, monday)
	return lifeAhead().AheadAt(token).Sub(monday)
}

func TestDecideAhead(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	type decision = session.Decision
	var (
		own     = ownMoment()
		serve   = decision{Action: session.Serve}
		another = decision{Action: session.Serve, Reason: session.Ahead}
		window  = decision{Reason: session.WindowClosed}
		observe = func(l *session.Lifetime, _ *session.Token) { l.Refresh = session.RefreshObserve }
		assume  = func(l *session.Lifetime, _ *session.Token) { l.Refresh = session.RefreshAssume }
	)
	for name, c := range map[string]struct {
		change func(*session.Lifetime, *session.Token)
		active time.Duration // after the mint
		now    time.Duration // after the mint
		need   session.Need
		want   decision
	}{
		"a moment before the client's own is served":                  {active: 6*day + hour, now: own - ms, want: serve},
		"the client's own moment is served, and another minted":       {active: 6*day + hour, now: own, want: another},
		"the last moment that serves has another minted":              {active: 6*day + hour, now: 7*day - 5*time.Minute, want: another},
		"a moment later the window has closed":                        {active: 6*day + hour, now: 7*day - 5*time.Minute + ms, want: window},
		"a refresh that is due comes if no mint does":                 {active: own - 23*hour, now: own, want: decision{session.ServeAndExtend, session.Ahead}},
		"one that was refreshed first may be dead":                    {active: own - day + 2*time.Minute, now: own, want: decision{Action: session.Refresh}},
		"one that is idle is no longer served":                        {active: own - day, now: own, want: decision{Reason: session.IdleExpired}},
		"a need that is met is served":                                {active: 6*day + hour, now: own, need: explicit(10 * time.Minute), want: another},
		"a need that the window can't hold mints for it":              {active: 6*day + hour, now: own, need: explicit(day), want: window},
		"a suspect token is asked for first":                          {change: func(_ *session.Lifetime, t *session.Token) { t.Suspect = true }, active: 6*day + hour, now: own, want: decision{Action: session.Refresh}},
		"one in doubt is asked for first":                             {change: func(_ *session.Lifetime, t *session.Token) { t.Doubt = monday.Add(8 * day) }, active: 6*day + hour, now: own, want: decision{Action: session.Refresh}},
		"observing, it is as good a time":                             {change: observe, active: own - 23*hour, now: own, want: another},
		"assuming, it slides too":                                     {change: assume, active: own - 23*hour, now: own, want: decision{session.Slide, session.Ahead}},
		"never is never":                                              {change: func(l *session.Lifetime, _ *session.Token) { l.MintAhead = 0 }, active: 6*day + hour, now: 7*day - 5*time.Minute, want: serve},
		"a margin above the least life ends the window sooner":        {change: func(l *session.Lifetime, _ *session.Token) { l.SafetyMargin = 10 * time.Minute }, active: 6*day + hour, now: own - 5*time.Minute, want: another},
		"and a moment before that much is served as it was":           {change: func(l *session.Lifetime, _ *session.Token) { l.SafetyMargin = 10 * time.Minute }, active: 6*day + hour, now: own - 5*time.Minute - ms, want: serve},
		"the earliest that is possible needs a client of that moment": {active: 6*day + hour, now: 7*day - 5*time.Minute - ahead, want: serve},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			life, token := lifeAhead(), sessiontest.NewToken(alice, monday)
			token.ActiveAt = monday.Add(c.active)
			if c.change != nil {
				c.change(&life, &token)
			}
			if got := life.Decide(token, monday.Add(c.now), c.need); got != c.want {
				t.Errorf("Decide = %v %q, want %v %q", got.Action, got.Reason, c.want.Action, c.want.Reason)
			}
		})
	}
}

// Portal's ids count up in places, and so do those of a simulation.
func TestCohortIsSpreadEvenlyOverTheTimeAhead(t *testing.T) {
	t.Parallel()
	const clients, parts = 20_000, 20
	life, end := lifeAhead(), monday.Add(7*day-5*time.Minute)
	for name, id := range map[string]string{"counted": "user-%d", "as Portal's": "cm0r6nkek00%05xj10dwwx8wdjmf"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var due [parts]int
			for i := range clients {
				token := sessiontest.NewToken(session.ClientID(fmt.Sprintf(id, i)), monday)
				before := end.Sub(life.AheadAt(token))
				if before <= 0 || before > ahead {
					t.Fatalf("due %s before the window closes, want above 0 and at most %s", before, ahead)
				}
				due[(before-1)*parts/ahead]++
			}
			const want = clients / parts
			if least, most := slices.Min(due[:]), slices.Max(due[:]); least < want*9/10 || most > want*11/10 {
				t.Errorf("a twentieth of the time has %d to %d clients, want %d: %v", least, most, want, due)
			}
		})
	}
}

func TestMomentOfAClientNeverChanges(t *testing.T) {
	t.Parallel()
	// Replicas of several versions share it, so it is part of what they agree on.
	if got, want := ownMoment(), 166*hour+5*time.Minute; got.Truncate(time.Minute) != want {
		t.Errorf("alice's moment is %s after the mint, want %s", got, want)
	}
}

// Where clients are many, each fetch near the end of a window decides this anew.
func TestDecidingAheadAllocatesNothing(t *testing.T) {
	life, token := lifeAhead(), sessiontest.NewToken(session.ClientID(slices.Repeat([]byte{'c'}, 128)), monday)
	token.ActiveAt = monday.Add(6*day + hour)
	now := monday.Add(7*day - 6*time.Minute)
	if n := testing.AllocsPerRun(100, func() { life.Decide(token, now, session.Need{}) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// atMoment has the tokens of alice and bob used until her moment, which comes after his, and returns hers. It is due for a
// refresh too.
func (w *world) atMoment() session.Token {
	w.t.Helper()
	first := w.fetch(session.Need{}).Token
	moment := lifeAhead().AheadAt(first)
	use := func() {
		for _, client := range []session.ClientID{alice, bob} {
			w.useOf(client)
		}
	}
	w.grant(bob)
	for time.Until(moment) > 45*hour {
		time.Sleep(20 * hour)
		use()
	}
	time.Sleep(time.Until(moment) - 23*hour)
	use()
	time.Sleep(time.Until(moment))
	if !w.portal.Accepts(first) || w.stored().ID != first.ID {
		w.t.Fatal("the first token is not kept any more")
	}
	return first
}

// useOf uses the token that is kept for client, and reports it.
func (w *world) useOf(client session.ClientID) {
	w.t.Helper()
	token, err := w.store.Load(w.t.Context(), client)
	if err != nil {
		w.t.Fatalf("load: %v", err)
	}
	w.use(token)
	if err := w.NoteActivity(w.t.Context(), client, token.ID); err != nil {
		w.t.Fatalf("activity: %v", err)
	}
}

// grant lets one caller fetch the client's token.
func (w *world) grant(client session.ClientID) {
	w.t.Helper()
	if _, err := w.Grant(w.t.Context(), session.Ask{Client: client}); err != nil {
		w.t.Errorf("grant: %v", err)
	}
}

func TestFetchAtTheMomentIsServedAndFindsTheNextTokenSoonAfter(t *testing.T) {
	t.Parallel()
	for name, kills := range map[string]bool{"older tokens live on": false, "older tokens die": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mintingAhead)
				w.portal.KillsOlder, w.portal.Delay = kills, 100*time.Millisecond
				first := w.atMoment()
				w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, first.ID, 0)
				time.Sleep(w.portal.Delay)
				w.settled()
				next := w.fetch(session.Need{})
				if next.Token.ID == first.ID || next.Source != session.SourceCache || next.took != 0 {
					t.Errorf("granted %s from %q after %s, want another from the cache at once", next.Token.ID, next.Source, next.took)
				}
				w.wantMints(session.Absent, session.Absent, session.Ahead)
				time.Sleep(hour)
				w.fetch(session.Need{}).want(t, session.SourceCache, next.Token.ID, 0)
				w.settled().wantMints(session.Absent, session.Absent, session.Ahead)
			})
		})
	}
}

func TestNothingIsMintedAheadUnlessAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 28 * 24 {
			time.Sleep(hour)
			w.fetch(session.Need{})
			w.settled()
		}
		w.wantMints(session.Absent, session.WindowClosed, session.WindowClosed, session.WindowClosed)
	})
}

func TestNobodyFetchingMintsNothingAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mintingAhead)
		w.atMoment()
		time.Sleep(day)
		w.settled().wantMints(session.Absent, session.Absent)
	})
}

// Twenty callers each of three replicas come at the moment: Portal is asked for one token.
func TestFleetMintsOnceAhead(t *testing.T) {
	t.Parallel()
	for name, kills := range map[string]bool{"older tokens live on": false, "older tokens die": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				// No probe ends in the moment of the mint: Portal may accept a token just before it kills it.
				var slow atomic.Bool
				w := newWorld(t, mintingAhead, onMint(func(context.Context) error {
					if slow.Load() {
						time.Sleep(310 * time.Millisecond)
					}
					return nil
				}))
				w.portal.KillsOlder, w.portal.Delay = kills, 70*time.Millisecond
				fleet := []*session.Broker{w.Broker, w.replica(), w.replica()}
				w.atMoment()
				slow.Store(true)
				for range 50 { // ten seconds
					for i := range 60 {
						go w.servedAlive(fleet[i%3])
					}
					time.Sleep(200 * time.Millisecond)
				}
				w.settled().wantMints(session.Absent, session.Absent, session.Ahead)
			})
		})
	}
}

// servedAlive has alice's token granted by b: one that is live at Portal when it is handed out, within the second that who
// could be served at once waits at the most.
func (w *world) servedAlive(b *session.Broker) {
	began := time.Now()
	grant, err := b.Grant(w.t.Context(), session.Ask{Client: alice})
	if err != nil || !w.portal.Accepts(grant.Token) || time.Since(began) > time.Second {
		w.t.Errorf("granted a token from %q after %s, %v; dead at Portal: %t", grant.Source, time.Since(began), err, !w.portal.Accepts(grant.Token))
	}
}

// refusing is a Portal that fails every mint with err while it is told to, and counts them.
type refusing struct {
	err   error
	now   atomic.Bool
	tries atomic.Int64
}

func (r *refusing) mint(context.Context) error {
	if !r.now.Load() {
		return nil
	}
	r.tries.Add(1)
	return r.err
}

func noSpare(after time.Duration) error {
	return &session.RetryError{After: after, Err: session.ErrPortalRateLimited}
}

// A mint ahead that fails is nobody's failure, and is not tried again at once, for others either.
func TestMintAheadThatFailsIsLeftForAWhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err error
		// again is from when on one is tried again for alice, others for bob.
		again, others time.Duration
	}{
		"no turn is spare for a moment":   {noSpare(300 * time.Millisecond), 300 * time.Millisecond, 300 * time.Millisecond},
		"no turn is spare for a while":    {noSpare(40 * time.Minute), 10 * time.Second, 10 * time.Second},
		"Portal fails":                    {session.ErrPortalUnavailable, time.Minute, 10 * time.Second},
		"Portal does not know the client": {session.ErrClientNotFound, time.Minute, 0},
	} {
		for client, again := range map[session.ClientID]time.Duration{alice: c.again, bob: c.others} {
			t.Run(name+"/"+string(client), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { leftFor(t, client, c.err, again) })
			})
		}
	}
}

// leftFor fails a mint ahead for alice, and wants that none is tried for client until again has passed.
func leftFor(t *testing.T, client session.ClientID, err error, again time.Duration) {
	t.Helper()
	portal := &refusing{err: err}
	w := newWorld(t, mintingAhead, onMint(portal.mint))
	w.atMoment()
	logged := w.log.Len()
	portal.now.Store(true)
	tried := func(client session.ClientID, want int64) {
		t.Helper()
		w.grant(client)
		w.settled()
		if portal.tries.Load() != want {
			t.Errorf("%s after the moment: tried %d times, want %d", time.Since(lifeAhead().AheadAt(w.stored())), portal.tries.Load(), want)
		}
	}
	tried(alice, 1)
	if again > 0 {
		time.Sleep(again - time.Millisecond)
		tried(client, 1)
		time.Sleep(time.Millisecond)
	}
	tried(client, 2)
	if text := w.log.String()[logged:]; text != "" {
		t.Errorf("logged: %s", text)
	}
}

// A daily user whose token is about to go idle has it refreshed where none is to be had ahead.
func TestTokenIsRefreshedWhereNoneCanBeMintedAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		portal := &refusing{err: noSpare(time.Minute)}
		w := newWorld(t, mintingAhead, onMint(portal.mint))
		first := w.atMoment()
		portal.now.Store(true)
		probes := w.portal.Probes()
		w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, first.ID, 0)
		w.settled().wantProbes(probes + 1)
		if got := w.stored().ActiveAt; !got.Equal(time.Now()) {
			t.Errorf("active at %s, want now", got)
		}
	})
}

// Portal mints, which kills the older token, and its answer is lost: the token that is still kept is asked for, and who finds
// it dead does not let others have it for as long as the mint hangs.
func TestTokenKilledByAMintAheadThatWasGivenUpIsNotServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var losing atomic.Bool
		var w *world
		w = newWorld(t, mintingAhead, onMint(func(ctx context.Context) error {
			if !losing.Swap(false) {
				return nil
			}
			_, _ = w.portal.Mint(ctx, alice, session.Ahead)
			return hang(ctx)
		}))
		w.portal.KillsOlder = true
		first := w.atMoment()
		losing.Store(true)
		w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, first.ID, 0)
		for range 10 {
			time.Sleep(2 * time.Second)
			w.fetch(session.Need{})
		}
	})
}

// Who needs another token while the next is minted waits for that one.
func TestCallerWhoNeedsAnotherTokenJoinsTheMintAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mintingAhead)
		w.portal.Delay = 100 * time.Millisecond
		first := w.atMoment()
		w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, first.ID, 0)
		w.fetch(explicit(day-time.Hour)).wantMinted(t, session.Ahead, first.ID)
		w.settled().wantMints(session.Absent, session.Absent, session.Ahead)
	})
}

// Who joined one that fails is not failed by it: its own request has its own turn.
func TestCallerWhoJoinedAMintAheadThatFailedGetsItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refuse atomic.Bool
		w := newWorld(t, mintingAhead, onMint(func(context.Context) error {
			if refuse.Swap(false) {
				time.Sleep(100 * time.Millisecond)
				return noSpare(time.Minute)
			}
			return nil
		}))
		first := w.atMoment()
		refuse.Store(true)
		w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, first.ID, 0)
		w.fetch(explicit(day-time.Hour)).wantMinted(t, session.WindowClosed, first.ID)
		w.settled().wantMints(session.Absent, session.Absent, session.WindowClosed)
	})
}

// logout is a Store whose client logs out, once it is told to, just before somebody looks.
type logout struct {
	*sessiontest.Store
	now atomic.Bool
}

func (l *logout) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	if l.now.Load() {
		_, _ = l.Forget(ctx, client, session.TokenID{})
	}
	return l.Store.Look(ctx, client)
}

func TestLoggedOutClientGetsNoneAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &logout{}
		w := newWorld(t, mintingAhead, func(p *session.Parts) {
			store.Store = p.Store.(*sessiontest.Store)
			p.Store = store
		})
		first := w.atMoment()
		store.now.Store(true)
		w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, first.ID, 0)
		w.settled().wantMints(session.Absent, session.Absent)
	})
}

// leaseless is a Leaser that can't say, once it is told so, who has a lease.
type leaseless struct {
	session.Leaser
	now atomic.Bool
}

func (l *leaseless) Acquire(ctx context.Context, client session.ClientID, owner string) (session.Lease, error) {
	if l.now.Load() {
		return session.Lease{}, sessiontest.ErrStoreDown
	}
	return l.Leaser.Acquire(ctx, client, owner)
}

// Without a lease nobody knows whether another replica mints as well.
func TestNoneIsMintedAheadWithoutALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		leases := &leaseless{}
		w := newWorld(t, mintingAhead, func(p *session.Parts) {
			leases.Leaser = p.Leaser
			p.Leaser = leases
		})
		first := w.atMoment()
		leases.now.Store(true)
		w.ask(t.Context(), session.Need{}).want(t, session.SourceCache, first.ID, 0)
		w.settled().wantMints(session.Absent, session.Absent)
	})
}

package cache_test

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

func TestMemoryIsBoundedByItsEntries(t *testing.T) {
	t.Parallel()
	const entries = 100
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t, cache.MemoryParts{Entries: entries, Lifetime: portal(), Now: time.Now})
		clients := make([]session.ClientID, 10*entries)
		for i := range clients {
			clients[i] = session.ClientID("client" + strconv.Itoa(i))
			save(t, memory, newToken(clients[i]))
		}
		synctest.Wait() // for the evictions
		kept := 0
		for _, client := range clients {
			if token, err := memory.Load(t.Context(), client); err == nil && !token.IsZero() {
				kept++
			}
		}
		if kept > entries || kept < entries/2 {
			t.Errorf("%d of %d tokens are kept, want %d or a little less", kept, len(clients), entries)
		}
	})
}

func TestMemoryBoundsItsRegistrationsToo(t *testing.T) {
	t.Parallel()
	const entries = 100
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t, cache.MemoryParts{Entries: entries, Lifetime: portal(), Now: time.Now})
		claims := make([]session.Claim, 10*entries)
		for i := range claims {
			claims[i] = session.Claim{Registration: session.Registration{Key: strconv.Itoa(i)}, Owner: "me", Hold: hour}
			_, err := memory.Claim(t.Context(), claims[i])
			must(t, err)
			must(t, memory.Settle(t.Context(), claims[i], "made", hour))
		}
		synctest.Wait() // for the evictions
		kept := 0
		for _, claim := range claims {
			// A key that is known refuses another request; one that is not is taken, and pushes another one out.
			claim.AccountAbstracted = true
			if _, err := memory.Claim(t.Context(), claim); errors.Is(err, session.ErrInvalidRequest) {
				kept++
			}
		}
		if kept > entries {
			t.Errorf("%d of %d registrations are kept, want %d at most", kept, len(claims), entries)
		}
	})
}

func TestMemoryKeepsATokenForAnIdleTimeAfterItEndedAndMovesItNoMore(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		minted, active, slide, now time.Duration // after the start
		kept, gone                 bool
	}{
		"when saved":                                       {kept: true},
		"a moment before it goes idle":                     {now: day - ms, kept: true},
		"when it goes idle":                                {now: day},
		"a moment after it went idle":                      {now: day + ms},
		"slid, a moment before it goes idle":               {slide: hour, now: day + hour - ms, kept: true},
		"slid, when it goes idle":                          {slide: hour, now: day + hour},
		"slid, a moment after it went idle":                {slide: hour, now: day + hour + ms},
		"in its last day, a moment before its window ends": {minted: -6*day - hour, now: 23*hour - ms, kept: true},
		"in its last day, when its window ends":            {minted: -6*day - hour, now: 23 * hour},
		"slid in its last day, when its window ends":       {minted: -6*day - hour, slide: hour, now: 23 * hour},
		"saved when it had expired":                        {minted: -2 * day, active: -day},
		"a moment before it is gone":                       {now: 2*day - ms},
		"when it is gone":                                  {now: 2 * day, gone: true},
		"slid, when it is gone":                            {slide: hour, now: 2*day + hour, gone: true},
		"saved a minute before it expired":                 {minted: -2 * day, active: time.Minute - day, kept: true},
		"the clock went back":                              {now: -hour, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			memory := remember(t, clock.Now)
			token := sessiontest.NewToken(alice, clock.Now())
			token.MintedAt, token.ActiveAt = token.MintedAt.Add(c.minted), token.ActiveAt.Add(c.active)
			save(t, memory, token)
			if c.slide != 0 {
				token.ActiveAt = clock.Now().Add(c.slide)
				wantMatch(t, session.MatchSame)(memory.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
			}
			clock.advance(c.now)
			want, match := token, session.MatchNone
			if c.kept {
				match = session.MatchSame
			}
			if c.gone {
				want = session.Token{}
			}
			wantLoaded(t, memory, alice, want)
			wantMatch(t, match)(memory.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
			wantMatch(t, match)(memory.Forget(t.Context(), alice, token.ID))
		})
	}
}

func TestMemoryLivesByTheClockOfABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		life := portal()
		life.IdleTTL = hour // it clears up once a second, of which a day has many
		memory := newMemory(t, cache.MemoryParts{Entries: 1000, Lifetime: life, Late: sessiontest.Late, Now: time.Now})
		token := newToken(alice)
		save(t, memory, token)
		must(t, memory.Ping(t.Context()))
		time.Sleep(hour - time.Millisecond)
		wantLoaded(t, memory, alice, token)
		token.ActiveAt = time.Now().UTC()
		wantMatch(t, session.MatchSame)(memory.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
		time.Sleep(hour - time.Millisecond)
		wantLoaded(t, memory, alice, token)
		time.Sleep(time.Millisecond)
		wantMatch(t, session.MatchNone)(memory.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: time.Now()}))
		time.Sleep(hour)
		wantLoaded(t, memory, alice, session.Token{})
	})
}

func TestMemoryFreesARegistrationWhenItsHoldOrItsKeepIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := remember(t, time.Now)
		ours := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "us", Hold: time.Minute}
		theirs := ours
		theirs.Owner = "them"
		claim := func(claim session.Claim, want session.ClientID, wantErr error) {
			t.Helper()
			if got, err := memory.Claim(t.Context(), claim); got != want || !errors.Is(err, wantErr) {
				t.Errorf("claim by %s = %q, %v; want %q, %v", claim.Owner, got, err, want, wantErr)
			}
		}
		claim(ours, "", nil)
		time.Sleep(time.Minute - time.Millisecond)
		claim(theirs, "", session.ErrRegistrationBusy)
		time.Sleep(time.Millisecond)
		claim(theirs, "", nil)
		must(t, memory.Settle(t.Context(), ours, "lost", day)) // too late
		claim(ours, "", session.ErrRegistrationBusy)
		must(t, memory.Settle(t.Context(), theirs, "made", day))
		time.Sleep(day - time.Millisecond)
		claim(ours, "made", nil)
		time.Sleep(time.Millisecond)
		claim(ours, "", nil)
	})
}

func TestMemoryFreesARegistrationByItsOwnClock(t *testing.T) {
	t.Parallel()
	clock := newClock()
	memory := remember(t, clock.Now)
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "us", Hold: time.Minute}
	_, err := memory.Claim(t.Context(), claim)
	must(t, err)
	claim.Owner = "them"
	clock.advance(time.Minute - 1)
	if _, err := memory.Claim(t.Context(), claim); !errors.Is(err, session.ErrRegistrationBusy) {
		t.Errorf("claim a moment before the hold is over: %v, want it busy", err)
	}
	clock.advance(1)
	if client, err := memory.Claim(t.Context(), claim); client != "" || err != nil {
		t.Errorf("claim when the hold is over = %q, %v; want it ours", client, err)
	}
}

func TestMemorySettlesAClaimThatRanOutUnlessTheKeyIsTaken(t *testing.T) {
	t.Parallel()
	clock := newClock()
	memory := remember(t, clock.Now)
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "us", Hold: time.Minute}
	_, err := memory.Claim(t.Context(), claim)
	must(t, err)
	clock.advance(2 * time.Minute)
	must(t, memory.Settle(t.Context(), claim, "made", day))
	if got, err := memory.Claim(t.Context(), claim); got != "made" || err != nil {
		t.Errorf("claim = %q, %v; want the client made", got, err)
	}
}

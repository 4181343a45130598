package cache_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// Redis's expiry goes by its wall clock: what was to last for seconds lasts for hours once that is set back.
const setBack = -3 * hour

func TestLeaseOfTheDeadEndsThoughTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartClocked(t)
	store := open(t, server.URL(), "p")
	dead := acquire(t, store, alice, "dead")
	server.SetClock(setBack)
	if got := acquire(t, store, alice, "alive"); got.Fence <= dead.Fence || !got.Doubt {
		t.Errorf("acquired %+v, want a higher fence than %d, and a doubt about the mint before", got, dead.Fence)
	}
	if _, err := store.Acquire(t.Context(), alice, "another"); !errors.Is(err, session.ErrLeaseBusy) {
		t.Errorf("acquired by another: %v, want it busy", err)
	}
}

func TestClaimOfTheDeadEndsThoughTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartClocked(t)
	store := open(t, server.URL(), "p")
	claim := session.Claim{Registration: session.Registration{Key: "key"}, Owner: "dead", Hold: time.Minute}
	_, err := store.Claim(t.Context(), claim)
	must(t, err)
	server.SetClock(setBack)
	claim.Owner = "alive"
	if client, err := store.Claim(t.Context(), claim); client != "" || err != nil {
		t.Errorf("claim = %q, %v; want it ours", client, err)
	}
}

func TestPauseEndsThoughTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartClocked(t)
	here, there := newBudget(t, server.URL(), cache.Limit{Requests: 100, Per: time.Minute}, 2), newBudget(t, server.URL(), cache.Limit{Requests: 100, Per: time.Minute}, 2)
	wantTurn(t, there, impatient)
	here.Pause(t.Context(), session.ClassMint, time.Minute)
	wantRefused(t, there)
	server.SetClock(setBack)
	wantTurn(t, there, impatient)
}

func TestTurnsGivenStayGivenThoughTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.StartClocked(t)
	budget := newBudget(t, server.URL(), cache.Limit{Requests: 5, Per: time.Minute}, 1)
	for range 5 {
		wantTurn(t, budget, impatient)
	}
	for _, off := range []time.Duration{setBack, 2 * setBack} {
		server.SetClock(off)
		if wait := wantRefused(t, budget); wait < 50*time.Second || wait > 62*time.Second {
			t.Errorf("the next turn is in %s, want it once the minute is over", wait)
		}
	}
}

func TestDatesByAClockThatIsAheadAreMovedBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ahead := partsOf(connect(t, server.URL()), "p", &cache.Changes{})
	ahead.Sent = func() time.Time { return time.Now().Add(10 * time.Minute) }
	theirs, ours := cache.NewRedis(ahead), open(t, server.URL(), "p")
	reach(t, theirs, alice)

	token := newToken(alice)
	token.MintedAt, token.ActiveAt = token.MintedAt.Add(5*time.Minute), token.ActiveAt.Add(8*time.Minute)
	token.Doubt = token.ActiveAt.Add(time.Minute)
	kept, err := theirs.Commit(t.Context(), token, 0)
	must(t, err)
	wantLoaded(t, ours, alice, kept)
	wantEarlier := func(what string, got, by time.Time) {
		t.Helper()
		if moved := by.Sub(got); (moved - 10*time.Minute).Abs() > 5*time.Second {
			t.Errorf("%s was moved back by %s, want about 10m", what, moved)
		}
	}
	wantEarlier("the mint", kept.MintedAt, token.MintedAt)
	wantEarlier("the activity", kept.ActiveAt, token.ActiveAt)
	wantEarlier("the doubt", kept.Doubt, token.Doubt)
	if want := portal().ExpiresAt(kept).Add(day).UnixMilli(); server.Do("PEXPIRETIME", keyOf(alice)) != want {
		t.Errorf("the record expires at %v, want %d", server.Do("PEXPIRETIME", keyOf(alice)), want)
	}

	at := ahead.Sent()
	until := at.Add(time.Hour)
	wantMatch(t, session.MatchSame)(theirs.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: at, Doubt: until}))
	moved, err := ours.Load(t.Context(), alice)
	must(t, err)
	wantEarlier("the slide", moved.ActiveAt, at)
	wantEarlier("the doubt that it brings", moved.Doubt, until)
}

package sessiontest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// fenced returns another token of the client, minted under a lease with the fence.
func fenced(client session.ClientID, fence uint64) session.Token {
	token := NewToken(client, time.Now())
	token.Fence = fence
	return token
}

func suspected(token session.Token) session.Token {
	token.Suspect = true
	return token
}

// wantKept commits the token and wants what is kept then.
func wantKept(t *testing.T, store session.Store, token session.Token, seen uint64) func(want session.Token) {
	t.Helper()
	return func(want session.Token) {
		t.Helper()
		if diff := cmp.Diff(want, commit(t, store, token, seen)); diff != "" {
			t.Errorf("kept token (-want +got):\n%s", diff)
		}
		wantLoaded(t, store, token.Client, want)
	}
}

func lateRefused(t *testing.T, store session.Store) {
	client := newClient()
	newer, late := fenced(client, 7), fenced(client, 6)
	wantKept(t, store, newer, 0)(newer)
	wantKept(t, store, late, 0)(suspected(newer))
}

func overlapSuspect(t *testing.T, store session.Store) {
	client := newClient()
	early, later := fenced(client, 6), fenced(client, 7)
	wantKept(t, store, early, 0)(early)
	wantKept(t, store, later, 0)(suspected(later))
}

func inOrder(t *testing.T, store session.Store) {
	client := newClient()
	early, later := fenced(client, 6), fenced(client, 7)
	wantKept(t, store, early, 0)(early)
	wantKept(t, store, later, 6)(later)
}

func aloneSuspect(t *testing.T, store session.Store) {
	client := newClient()
	leased, alone, older := fenced(client, 6), fenced(client, 0), fenced(client, 0)
	older.MintedAt = older.MintedAt.Add(-time.Minute)
	alone.MintedAt = leased.MintedAt.Add(time.Millisecond)
	alone.ActiveAt = alone.MintedAt
	wantKept(t, store, leased, 0)(leased)
	want := suspected(alone)
	want.Fence = leased.Fence
	wantKept(t, store, alone, 0)(want)
	wantKept(t, store, older, 0)(want)
}

func sameAgain(t *testing.T, store session.Store) {
	token := fenced(newClient(), 3)
	wantKept(t, store, token, 0)(token)
	wantKept(t, store, token, 0)(token)
}

func slidesDoubt(t *testing.T, store session.Store) {
	token := saved(t, store)
	for _, until := range []time.Time{token.MintedAt.Add(time.Hour), token.MintedAt.Add(time.Minute)} {
		token.Doubt = until
		wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, Doubt: until}))
		wantLoaded(t, store, token.Client, token)
	}
	token.ActiveAt = token.ActiveAt.Add(time.Second)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, At: token.ActiveAt}))
	wantLoaded(t, store, token.Client, token)
}

func correctsDates(t *testing.T, store session.Store) {
	token := saved(t, store)
	at := token.ActiveAt.Add(-10 * time.Minute)
	move := session.Move{Client: token.Client, ID: token.ID, At: at}
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), move))
	wantLoaded(t, store, token.Client, token)
	move.Corrects = true
	token.MintedAt, token.ActiveAt = token.MintedAt.Add(-10*time.Minute), at
	for range 2 {
		wantMatch(t, session.MatchSame)(store.Slide(t.Context(), move))
		wantLoaded(t, store, token.Client, token)
	}
}

func commitsDoubt(t *testing.T, store session.Store) {
	token := fenced(newClient(), 3)
	token.Doubt = token.MintedAt.Add(time.Hour)
	wantKept(t, store, token, 0)(token)
	sooner := token
	sooner.Doubt = token.MintedAt.Add(time.Minute)
	wantKept(t, store, sooner, 0)(token)
	next := fenced(token.Client, 4)
	wantKept(t, store, next, 3)(next)
}

func knownStays(t *testing.T, store session.Store) {
	client := newClient()
	token := fenced(client, 7)
	commit(t, store, fenced(client, 5), 0)
	want := suspected(token)
	wantKept(t, store, token, 4)(want)
	want.ActiveAt = token.ActiveAt.Add(time.Minute)
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), session.Move{Client: client, ID: token.ID, At: want.ActiveAt}))
	wantKept(t, store, token, 4)(want)
}

func clearsSuspicion(t *testing.T, store session.Store) {
	client := newClient()
	token := fenced(client, 7)
	wantKept(t, store, token, 0)(token)
	wantKept(t, store, fenced(client, 6), 0)(suspected(token))
	move := session.Move{Client: client, ID: token.ID, At: token.ActiveAt.Add(time.Minute)}
	token.ActiveAt = move.At
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), move))
	wantLoaded(t, store, client, suspected(token))
	move.Clears = true
	wantMatch(t, session.MatchOther)(store.Slide(t.Context(), session.Move{Client: client, ID: fenced(client, 1).ID, At: move.At, Clears: true}))
	wantLoaded(t, store, client, suspected(token))
	wantMatch(t, session.MatchSame)(store.Slide(t.Context(), move))
	wantLoaded(t, store, client, token)
}

package cache_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// ended returns a token of alice's that went idle an hour ago, minted under a lease.
func ended() session.Token {
	token := newToken(alice)
	token.MintedAt, token.ActiveAt, token.Fence = token.MintedAt.Add(-2*day), token.ActiveAt.Add(-day-hour), 5
	return token
}

func TestTokenThatEndedIsThereToTellWhyTheNextIsMintedAndForNothingElse(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]session.Store{
		"in Redis":  open(t, redistest.Start(t).URL(), "p"),
		"in memory": remember(t, time.Now),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := ended()
			save(t, store, old)
			for _, id := range []session.TokenID{old.ID, {}, newToken(alice).ID} {
				wantMatch(t, session.MatchNone)(store.Slide(t.Context(), session.Move{Client: alice, ID: id, At: time.Now()}))
			}
			wantLoaded(t, store, alice, old)
			if got := portal().Decide(old, time.Now(), session.Need{}); got.Reason != session.IdleExpired {
				t.Errorf("a fetch would %+v, want a mint since it is idle", got)
			}
			// Minted without a lease: beside a token that lives, that would be suspect.
			next := newToken(alice)
			kept, err := store.Commit(t.Context(), next, 0)
			if diff := cmp.Diff(next, kept); diff != "" || err != nil {
				t.Errorf("commit: %v, kept (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestActivityThatRedisMissedOutlivesARecordThatEnded(t *testing.T) {
	t.Parallel()
	store := open(t, redistest.Start(t).URL(), "p")
	old := ended()
	save(t, store, old)
	active := old
	active.ActiveAt = old.ActiveAt.Add(day)
	kept, err := store.Restore(t.Context(), active)
	if diff := cmp.Diff(active, kept); diff != "" || err != nil {
		t.Errorf("restore: %v, kept (-want +got):\n%s", err, diff)
	}
	wantLoaded(t, store, alice, active)
}

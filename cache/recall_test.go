package cache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// looked counts the looks into a store.
type looked struct {
	session.Store
	looks atomic.Int64
}

func (l *looked) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	l.looks.Add(1)
	return l.Store.Look(ctx, client)
}

// What is remembered and not good is not looked for: whoever asks goes on to do so. What is good is looked for once where
// memory is not to answer.
func TestRecallLooksOnlyForWhatIsGood(t *testing.T) {
	t.Parallel()
	for name, ttl := range map[string]time.Duration{"from memory": time.Minute, "from the store": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, token := &looked{Store: remember(t, time.Now)}, sessiontest.NewToken(alice, time.Now())
			tier := newTier(t, cache.TierParts{Store: store, TTL: ttl, Now: time.Now})
			if _, err := tier.Commit(t.Context(), token, 0); err != nil {
				t.Fatal(err)
			}
			recall := func(good bool) (session.Token, bool) {
				found, _, ok := tier.Recall(t.Context(), token.Client, func(session.Token, time.Time) bool { return good })
				return found, ok
			}
			if _, ok := recall(false); ok || store.looks.Load() != 0 {
				t.Errorf("what is not good was recalled (%t), in %d looks", ok, store.looks.Load())
			}
			want := int64(1)
			if ttl > 0 {
				want = 0
			}
			if found, ok := recall(true); !ok || found.ID != token.ID || store.looks.Load() != want {
				t.Errorf("recalled %t %v in %d looks, want %d", ok, found.ID, store.looks.Load(), want)
			}
		})
	}
}

// Whom memory had to forget is looked for; as long as it has room, who is not remembered is new.
func TestRecallLooksForWhomMemoryForgot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entries int
		want    bool
	}{
		"memory has room": {2, false}, "memory is full": {1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			memory, token := remember(t, time.Now), sessiontest.NewToken(alice, time.Now())
			if _, err := memory.Commit(t.Context(), token, 0); err != nil {
				t.Fatal(err)
			}
			tier := newTier(t, cache.TierParts{Store: memory, Entries: c.entries, TTL: time.Minute, Now: time.Now})
			if _, err := tier.Commit(t.Context(), sessiontest.NewToken("bob", time.Now()), 0); err != nil {
				t.Fatal(err)
			}
			good := func(token session.Token, _ time.Time) bool { return !token.IsZero() }
			if found, _, ok := tier.Recall(t.Context(), alice, good); ok != c.want || ok && found.ID != token.ID {
				t.Errorf("recalled: %t %v", ok, found.ID)
			}
			if _, _, ok := tier.Recall(t.Context(), "nobody", good); ok {
				t.Error("nobody's token was recalled")
			}
		})
	}
}

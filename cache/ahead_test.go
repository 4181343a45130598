package cache_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// warnings counts what is logged as one or worse.
type warnings struct{ records }

func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Forty callers each of three replicas fetch tokens whose next ones are due, for as long as their mint takes and longer: all
// are served from the cache, and each client's next token is minted once.
func TestFleetOnRedisMintsOnceAhead(t *testing.T) {
	t.Parallel()
	const replicas, callers, delay = 3, 40, 100 * time.Millisecond
	server, life := redistest.Start(t), portal()
	life.Refresh, life.MintAhead = session.RefreshProbe, 5*day
	theirs := &sessiontest.Portal{Lifetime: life, Now: time.Now, Delay: delay}
	var log warnings
	clients := []session.ClientID{alice, "bob", "carol", "dave"}
	seed := open(t, server.URL(), "p")
	for _, client := range clients {
		token, err := theirs.Mint(t.Context(), client, session.Absent)
		must(t, err)
		token.MintedAt, token.ActiveAt = time.Now().Add(-7*day+hour), time.Now().Add(-hour)
		await(t, "the token to be kept", func() bool { _, err := seed.Commit(t.Context(), token, 0); return err == nil })
	}
	fleet := make([]*session.Broker, replicas)
	for i := range fleet {
		store := open(t, server.URL(), "p")
		fleet[i] = session.NewBroker(session.Parts{
			Store: newTier(t, cache.TierParts{Store: store, TTL: 50 * time.Millisecond}), Leaser: store, Registry: store, Portal: theirs,
			Lifetime: life, StoreDown: session.StoreDownMint, Deadline: 10 * time.Second, Now: time.Now, Sent: time.Now, Log: slog.New(&log),
		})
		t.Cleanup(func() { fleet[i].Close(context.WithoutCancel(t.Context())) })
	}
	var group sync.WaitGroup
	var waited atomic.Int64
	end := time.Now().Add(5 * delay)
	for i := range replicas * callers {
		group.Go(func() {
			for time.Now().Before(end) {
				grant, err := fleet[i%replicas].Grant(t.Context(), session.Ask{Client: clients[i%len(clients)]})
				if err != nil || !theirs.Accepts(grant.Token) {
					t.Errorf("granted a token that lives at Portal: %t, %v", theirs.Accepts(grant.Token), err)
				}
				if grant.Source == session.SourceMint {
					waited.Add(1)
				}
				<-time.After(2 * time.Millisecond)
			}
		})
	}
	group.Wait()
	await(t, "every next token to be minted", func() bool { return len(theirs.Mints()) >= 2*len(clients) })
	if log.Load() > 0 {
		t.Skip("this machine is too busy for Redis to answer in time; replicas went by themselves for a while")
	}
	absent, ahead := session.Absent, session.Ahead
	if diff := cmp.Diff([]session.Reason{absent, absent, absent, absent, ahead, ahead, ahead, ahead}, theirs.Mints()); diff != "" {
		t.Errorf("mints (-want +got):\n%s", diff)
	}
	if n := waited.Load(); n > 0 {
		t.Errorf("%d callers waited for a mint, want none", n)
	}
}

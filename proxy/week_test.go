package proxy_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/caller"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// bubble is the data API without a network, in a synctest bubble, whose clock is everybody's.
type bubble struct {
	t      *testing.T
	portal *sessiontest.Portal
	data   http.Handler
	meter  *meter
}

func newBubble(t *testing.T, store session.Store) *bubble {
	t.Helper()
	b := &bubble{t: t, portal: &sessiontest.Portal{Lifetime: lifetime(), Now: time.Now}, meter: &meter{}}
	log := slog.New(slog.DiscardHandler)
	broker := session.NewBroker(session.Parts{
		Store: store, Leaser: &sessiontest.Store{}, Registry: &sessiontest.Store{}, Portal: b.portal, Lifetime: lifetime(), StoreDown: session.StoreDownMint,
		Deadline: 10 * time.Second, Now: time.Now, Sent: time.Now, Log: log,
	})
	b.data = proxy.New(proxy.Parts{Callers: caller.Anonymous{}, Broker: broker, Lifetime: lifetime(), Meter: b.meter, Now: time.Now, Log: log})
	t.Cleanup(func() { broker.Close(t.Context()) })
	return b
}

func (b *bubble) get(target string) answer {
	b.t.Helper()
	recorder := httptest.NewRecorder()
	b.data.ServeHTTP(recorder, localGet(b.t.Context(), target))
	return answer{status: recorder.Code, header: recorder.Result().Header, body: recorder.Body.String()}
}

// fetch returns alice's token, which must be good at Portal.
func (b *bubble) fetch() document {
	b.t.Helper()
	a := b.get(aliceToken)
	var d document
	if err := json.Unmarshal([]byte(a.body), &d); err != nil || a.status != http.StatusOK {
		b.t.Fatalf("after a fetch: %d %s", a.status, a.body)
	}
	secret := session.NewSecret(d.ClientSessionToken)
	if !b.portal.Accepts(session.Token{Secret: secret, ID: session.IdentifyToken(secret)}) {
		b.t.Fatalf("Portal refuses what was handed out: %s", a.body)
	}
	return d
}

func TestWeekOfFetchesCostsOneMint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		life := lifetime()
		memory := cache.NewMemory(cache.MemoryParts{Entries: 1000, Lifetime: life, Now: time.Now})
		_ = memory.Close() // else it clears up once a second, of which a week has many
		b := newBubble(t, memory)
		// As long as the window has the least life that everybody gets.
		fetches := int((life.RefreshWindow-life.MinTTL)/time.Minute) + 1
		first := b.fetch()
		for range fetches - 1 {
			time.Sleep(time.Minute)
			if d := b.fetch(); d.TokenID != first.TokenID {
				t.Fatalf("another token after %s", time.Since(first.MintedAt))
			}
		}
		if diff := cmp.Diff([]session.Reason{session.Absent}, b.portal.Mints()); diff != "" {
			t.Errorf("mints (-want +got):\n%s", diff)
		}
		// One each half hour, until the token lives to the end of its window anyway.
		if n := b.portal.Probes(); n != 6*48 {
			t.Errorf("%d probes, want 288", n)
		}
		time.Sleep(time.Minute)
		b.fetch()
		if diff := cmp.Diff([]session.Reason{session.Absent, session.WindowClosed}, b.portal.Mints()); diff != "" {
			t.Errorf("mints when the window closes (-want +got):\n%s", diff)
		}
		if got := len(b.meter.granted); got != fetches+1 {
			t.Errorf("%d tokens were counted, want %d", got, fetches+1)
		}
	})
}

func TestIdleWeekCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, &sessiontest.Store{})
		b.fetch()
		time.Sleep(13 * hour)
		b.get(aliceStatus)
		time.Sleep(6 * day)
		if probes, mints := b.portal.Probes(), len(b.portal.Mints()); probes != 0 || mints != 1 {
			t.Errorf("%d probes and %d mints for a token that nobody asked for", probes, mints)
		}
	})
}

func TestCrowdSharesOneMintAndIsToldSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, &sessiontest.Store{})
		b.portal.Delay = time.Second / 2
		got := b.crowd(aliceToken)
		want := []string{"cstproxy; fwd=miss", "cstproxy; fwd=miss; collapsed", "cstproxy; fwd=miss; collapsed"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Cache-Status (-want +got):\n%s", diff)
		}
		old := b.fetch()
		got = b.crowd(aliceToken + "?rejected=" + old.TokenID)
		want = []string{"cstproxy; fwd=stale", "cstproxy; fwd=stale; collapsed", "cstproxy; fwd=stale; collapsed"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Cache-Status to who saw it rejected (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]session.Reason{session.Absent, session.Rejected}, b.portal.Mints()); diff != "" {
			t.Errorf("mints (-want +got):\n%s", diff)
		}
	})
}

// crowd lets three callers ask at once, and returns what they were told, sorted.
func (b *bubble) crowd(target string) []string {
	b.t.Helper()
	said := make([]string, 3)
	var group sync.WaitGroup
	for i := range said {
		group.Go(func() { said[i] = b.get(target).header.Get("Cache-Status") })
	}
	group.Wait()
	slices.SortFunc(said, strings.Compare)
	return said
}

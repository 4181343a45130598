package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func TestFleetMintsOnceForAllWhoAskAtOnce(t *testing.T) {
	callers := longOr(300, 60)
	retellFleet(t, func() (f *fleet, wrong []string) {
		f = startFleet(t, 3, portaltest.Options{}, unlimited(onRedis(redistest.Start(t)))...)
		f.portal.Inject(portaltest.Mint, portaltest.Fault{Latency: 500 * time.Millisecond})
		clients := clientIDs("cold", 15)

		began := time.Now()
		for client, tokens := range f.callers(clients, callers) {
			if len(tokens) != 1 {
				wrong = append(wrong, fmt.Sprintf("the callers of %s got %d tokens, want one: %v", client, len(tokens), tokens))
			}
		}
		t.Logf("%d callers were served in %s", callers*len(clients), time.Since(began))
		if got := f.portal.Stats().Mints; got != len(clients) {
			wrong = append(wrong, fmt.Sprintf("Portal minted %d tokens, want %d", got, len(clients)))
		}
		f.expectLiveTokens(clients)
		return f, wrong
	})
}

// firstMints has Portal make a token for each client's first mint and never answer: the replica that asked is in the
// middle of it until it dies.
type firstMints struct {
	mu sync.Mutex
	// by :: client → the replica that was first to mint for it
	by map[string]int
}

func (m *firstMints) wrap(replica int, portal http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !m.first(r.URL.Path, replica) {
			portal.ServeHTTP(w, r)
			return
		}
		portal.ServeHTTP(httptest.NewRecorder(), r)
		<-r.Context().Done()
	})
}

func (m *firstMints) first(client string, replica int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.by[client]
	if !known {
		m.by[client] = replica
	}
	return !known
}

func (m *firstMints) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.by)
}

func TestFleetSurvivesTheDeathOfEveryMinter(t *testing.T) {
	for name, killsOlder := range map[string]bool{"a mint kills the older tokens": true, "older tokens live on": false} {
		t.Run(name, func(t *testing.T) {
			retellFleet(t, func() (*fleet, []string) { return killEveryMinter(t, killsOlder) })
		})
	}
}

// killEveryMinter kills the replica that mints, for each client, and returns what was wrong with what came of it. Other
// replicas stand by to take the place of the dead at once: were they only started then, the leases of the first to die would
// run out meanwhile, and those who mint next would be killed as well.
func killEveryMinter(t *testing.T, killsOlder bool) (*fleet, []string) {
	t.Helper()
	var wrong []string
	callers := longOr(300, 60)
	minters := firstMints{by: map[string]int{}}
	all := startFleetBehind(t, 6, portaltest.Options{MintKillsOlder: killsOlder}, minters.wrap,
		unlimited(onRedis(redistest.Start(t)))...)
	f, clients := all.part(0, 3), clientIDs("cold", 15)

	done := make(chan map[string]map[string]int, 1)
	began := time.Now()
	go func() { done <- f.callers(clients, callers) }()
	await(t, "a mint for each client", func() bool { return minters.count() == len(clients) })
	for _, dying := range f.become(all.part(3, 6)) {
		dying.signal(os.Kill)
	}
	killed := time.Since(began)
	got := <-done

	t.Logf("after %s all minters had been killed; all callers were served after %s, with %d mints",
		killed, time.Since(began), f.portal.Stats().Mints)
	for client, tokens := range got {
		if len(tokens) > 2 {
			wrong = append(wrong, fmt.Sprintf("the callers of %s got %d tokens: %v", client, len(tokens), tokens))
		}
	}
	if got := f.portal.Stats().Mints; got > 2*len(clients) {
		wrong = append(wrong, fmt.Sprintf("Portal minted %d tokens, want at most %d", got, 2*len(clients)))
	}
	f.expectLiveTokens(clients)
	return all, wrong
}

func TestFleetMintsOnceForAllWhoReportOneToken(t *testing.T) {
	t.Parallel()
	const reports = 200
	f := startFleet(t, 2, portaltest.Options{}, unlimited(onRedis(redistest.Start(t)))...)
	dead := f.warm([]string{"client"})["client"]
	f.portal.KillClient("client")
	f.portal.Inject(portaltest.Mint, portaltest.Fault{Latency: 100 * time.Millisecond})

	tokens := make([]token, reports)
	var group errgroup.Group
	for i := range tokens {
		group.Go(func() (err error) {
			tokens[i], err = f.replica(i).fetch("client", "?rejected="+dead.TokenID)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	for _, got := range tokens {
		if got.TokenID != tokens[0].TokenID || got.TokenID == dead.TokenID {
			t.Fatalf("a caller got token %s, another %s", got.TokenID, tokens[0].TokenID)
		}
	}
	if got := f.portal.Stats().Mints; got != 2 {
		t.Errorf("Portal minted %d tokens, want 2", got)
	}
	f.expectLiveTokens([]string{"client"})
}

func TestFleetRegistersOneClientForAKey(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	f := startFleet(t, 3, portaltest.Options{}, unlimited(onRedis(redis))...)
	f.portal.Inject(portaltest.Register, portaltest.Fault{Latency: 100 * time.Millisecond})

	made := make([]token, 60)
	var group errgroup.Group
	for i := range made {
		group.Go(func() error {
			c := f.replica(i)
			got, err := c.ask(http.MethodPost, c.data+"/v1/clients", "", "Idempotency-Key: order-4711")
			if err == nil {
				made[i], err = got.token()
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	for _, got := range made {
		if got.ID != made[0].ID {
			t.Fatalf("a caller got client %s, another %s", got.ID, made[0].ID)
		}
	}
	if got := f.portal.Stats().Registrations; got != 1 {
		t.Errorf("Portal registered %d clients, want 1", got)
	}

	redis.Kill()
	for i, c := range f.all() {
		got, err := c.ask(http.MethodPost, c.data+"/v1/clients", "", "Idempotency-Key: order-"+fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		refused := got.status == http.StatusServiceUnavailable && strings.Contains(string(got.body), `"store_unavailable"`)
		if !refused || got.header.Get("Retry-After") == "" {
			t.Errorf("without Redis a registration with a key got %d with Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.body)
		}
	}
	if got := f.portal.Arrivals(portaltest.Register); len(got) != 1 {
		t.Errorf("Portal was asked %d times to register, want once: never without Redis", len(got))
	}
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// soak asks for the long forms of the tests of a fleet.
var soak = flag.Bool("soak", false, "run the tests of a fleet as long and as large as the promises they hold")

// longOr returns long with -soak, else short.
func longOr[T any](long, short T) T {
	if *soak {
		return long
	}
	return short
}

// fleet is some replicas of cstproxy on one Redis in front of one simulated Portal. Each replica reaches Portal at an
// address of its own, so that a test sees which one asks.
type fleet struct {
	t       *testing.T
	portal  *portaltest.Portal
	fronts  []*httptest.Server
	environ []string

	mu       sync.Mutex
	replicas []*child
	// ever are all that were started, those killed since too.
	ever []*child
}

// seen wraps what Portal answers a replica with.
type seen func(replica int, portal http.Handler) http.Handler

// startFleet starts n replicas with the settings of environ.
func startFleet(t *testing.T, n int, options portaltest.Options, environ ...string) *fleet {
	t.Helper()
	return startFleetBehind(t, n, options, asItIs, environ...)
}

func asItIs(_ int, portal http.Handler) http.Handler { return portal }

func startFleetBehind(t *testing.T, n int, options portaltest.Options, wrap seen, environ ...string) *fleet {
	t.Helper()
	f := newFleet(t, n, options, wrap, environ...)
	for i := range n {
		f.start(i)
	}
	return f
}

// newFleet returns a fleet whose replicas are still to be started.
func newFleet(t *testing.T, n int, options portaltest.Options, wrap seen, environ ...string) *fleet {
	t.Helper()
	options.AnyClient = true
	f := &fleet{t: t, portal: portaltest.New(options), environ: environ, replicas: make([]*child, n)}
	t.Cleanup(func() {
		f.portal.Close()
		for _, front := range f.fronts {
			front.Close()
		}
	})
	for i := range n {
		f.fronts = append(f.fronts, httptest.NewServer(wrap(i, f.portal)))
	}
	return f
}

// start starts replica i anew, with more settings, which come after the fleet's.
func (f *fleet) start(i int, environ ...string) {
	f.t.Helper()
	at := f.fronts[i].URL
	all := slices.Concat([]string{"PORTAL_API_URL=" + at, "PORTAL_MPC_URL=" + at, "PORTAL_API_KEY=" + portaltest.DefaultKey}, f.environ, environ)
	c := serve(f.t, all...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas[i] = c
	f.ever = append(f.ever, c)
}

// stalled reports whether Redis was too slow for a replica, which then went by itself.
func (f *fleet) stalled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.ever, func(c *child) bool {
		log := c.written.String()
		return strings.Contains(log, "minting without a lease") || strings.Contains(log, "counted by this replica alone") ||
			strings.Contains(log, `"msg":"store failed`)
	})
}

// retellFleet tells a story again, twice at most, if something was wrong with its figures and Redis was too slow in it:
// where a machine stalls for longer than a replica waits for a command, it goes by itself, and should. tell returns what
// was wrong.
func retellFleet(t *testing.T, tell func() (f *fleet, wrong []string)) {
	t.Helper()
	for round := 1; ; round++ {
		f, wrong := tell()
		if round == 3 || len(wrong) == 0 || !f.stalled() {
			for _, w := range wrong {
				t.Error(w)
			}
			return
		}
		t.Logf("Redis was too slow for a replica: once more, after %q", wrong)
	}
}

// replica returns the i-th replica, counted on from the first after the last. It is safe for concurrent use.
func (f *fleet) replica(i int) *child {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replicas[i%len(f.replicas)]
}

// all returns the replicas.
func (f *fleet) all() []*child {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.replicas)
}

// part returns the fleet as if it had the replicas from i up to j only.
func (f *fleet) part(i, j int) *fleet {
	return &fleet{t: f.t, portal: f.portal, replicas: f.all()[i:j]}
}

// become has the other's replicas take the place of the fleet's, and returns those.
func (f *fleet) become(other *fleet) (before []*child) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, f.replicas = f.replicas, other.all()
	return before
}

// warm has every replica serve every client once.
func (f *fleet) warm(clients []string) map[string]token {
	f.t.Helper()
	tokens := f.replica(0).fetchAll(clients, "mint")
	for _, c := range f.all()[1:] {
		c.fetchAll(clients, "cache")
	}
	return tokens
}

// fetchSomewhere fetches from the i-th replica, and from the next while one breaks the connection or is not there.
func (f *fleet) fetchSomewhere(i int, client string) (token, error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c := f.replica(i)
		got, err := c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token", "")
		if err == nil {
			return got.token()
		}
		i++
		select {
		case <-tick.C:
		case <-deadline.C:
			return token{}, err
		}
	}
}

// callers has n callers fetch each client's token at once, spread over the replicas, and returns the tokens that each
// client's callers got (:: client → token id → callers).
func (f *fleet) callers(clients []string, n int) map[string]map[string]int {
	f.t.Helper()
	var (
		mu    sync.Mutex
		group sync.WaitGroup
		errs  []error
		got   = map[string]map[string]int{}
	)
	for _, client := range clients {
		got[client] = map[string]int{}
	}
	for c, client := range clients {
		for i := range n {
			group.Go(func() {
				token, err := f.fetchSomewhere(c+i, client)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					errs = append(errs, fmt.Errorf("fetch %s: %w", client, err))
					return
				}
				got[client][token.TokenID]++
			})
		}
	}
	group.Wait()
	if len(errs) > 0 {
		f.t.Errorf("%d of %d callers failed, such as: %v", len(errs), n*len(clients), errors.Join(errs[:min(len(errs), 3)]...))
	}
	return got
}

// pace is callers who fetch warm clients at a steady pace.
type pace struct {
	stop  chan struct{}
	group sync.WaitGroup

	mu   sync.Mutex
	took []time.Duration
	errs []error
}

// fetches starts callers on the fleet: each of workers fetches one client after the other, one every so often.
func (f *fleet) fetches(clients []string, workers int, every time.Duration) *pace {
	l := &pace{stop: make(chan struct{})}
	f.t.Cleanup(func() { l.end() })
	for w := range workers {
		l.group.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for i := w; ; i += workers {
				select {
				case <-l.stop:
					return
				case <-tick.C:
				}
				client, began := clients[i%len(clients)], time.Now()
				_, err := f.replica(i/len(clients)+w).fetch(client, "")
				l.note(client, time.Since(began), err)
			}
		})
	}
	return l
}

func (l *pace) note(client string, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("fetch %s after %s: %w", client, took, err))
	}
}

// end stops the callers. Again, it does nothing.
func (l *pace) end() {
	l.mu.Lock()
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.mu.Unlock()
	l.group.Wait()
}

// expectNoFailure stops the callers, of whom no fetch may have failed, and returns the median, the 99th percentile and the
// longest of what the fetches took.
func (l *pace) expectNoFailure(t *testing.T) (p50, p99, longest time.Duration) {
	t.Helper()
	l.end()
	if len(l.took) < 50 {
		t.Fatalf("there were only %d fetches", len(l.took))
	}
	if len(l.errs) > 0 {
		t.Errorf("%d of %d fetches failed, such as: %v", len(l.errs), len(l.took), errors.Join(l.errs[:min(len(l.errs), 3)]...))
	}
	slices.Sort(l.took)
	p50, p99, longest = l.took[len(l.took)/2], l.took[len(l.took)*99/100], l.took[len(l.took)-1]
	t.Logf("%d fetches took %s (median), %s (p99), %s (max)", len(l.took), p50, p99, longest)
	return p50, p99, longest
}

// expectFast is expectNoFailure where nearly all fetches must be served within what a Redis in trouble may cost.
func (l *pace) expectFast(t *testing.T) {
	t.Helper()
	const most = 250 * time.Millisecond
	if _, p99, _ := l.expectNoFailure(t); p99 > most {
		t.Errorf("99 %% of the fetches took at most %s, want %s", p99, most)
	}
}

// lasting lets things go on for a while.
func lasting(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// expectMintedOnce wants Portal to have minted one token for each client.
func (f *fleet) expectMintedOnce(clients []string) {
	f.t.Helper()
	minted := f.portal.Stats().MintsByClient
	for _, client := range clients {
		if minted[client] != 1 {
			f.t.Errorf("Portal minted %d tokens for %s, want one", minted[client], client)
		}
	}
}

// expectLiveTokens has every replica serve every client: soon the same token everywhere, and one that Portal accepts.
func (f *fleet) expectLiveTokens(clients []string) {
	f.t.Helper()
	for _, client := range clients {
		if got := f.agreed(client); !f.portal.Accepts(got.Secret) {
			f.t.Errorf("%s is served the dead token %s", client, got.TokenID)
		}
	}
}

// agreed returns the token that all replicas serve the client. They hear of a change by a message, so it may take a moment.
func (f *fleet) agreed(client string) token {
	f.t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for range 200 {
		first, same := f.replica(0).mustFetch(client, ""), true
		for _, c := range f.all() {
			same = same && c.mustFetch(client, "").TokenID == first.TokenID
		}
		if same {
			return first
		}
		<-again.C
	}
	f.t.Errorf("replicas serve %s different tokens", client)
	return token{}
}

// onRedis returns the setting for a server.
func onRedis(redis *redistest.Server) string { return "REDIS_URL=" + redis.URL() }

// unlimited are the settings of a fleet whose budget at Portal is not what a test is about.
func unlimited(more ...string) []string {
	return append([]string{"CSTPROXY_MINT_RATE=0", "CSTPROXY_PROBE_RATE=0"}, more...)
}

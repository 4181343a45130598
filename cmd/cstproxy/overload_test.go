package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// doorkeeper is a Portal that notes how many requests it had at once.
type doorkeeper struct {
	next    http.Handler
	now     atomic.Int64
	highest atomic.Int64
}

func (b *doorkeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer b.now.Add(-1)
	for n := b.now.Add(1); ; {
		highest := b.highest.Load()
		if n <= highest || b.highest.CompareAndSwap(highest, n) {
			break
		}
	}
	b.next.ServeHTTP(w, r)
}

// score is what became of requests of one kind.
type score struct {
	mu      sync.Mutex
	asked   int
	served  int
	shed    int
	slowest time.Duration
	wrong   []string
}

func (y *score) note(got answer, err error, took time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.asked++
	var problem struct{ Code string }
	_ = json.Unmarshal(got.body, &problem)
	switch {
	case err != nil:
		y.wrong = append(y.wrong, err.Error())
	case got.status < 300:
		y.served++
		y.slowest = max(y.slowest, took)
	case got.status == http.StatusServiceUnavailable && problem.Code == "overloaded" && got.header.Get("Retry-After") != "":
		y.shed++
	default:
		y.wrong = append(y.wrong, fmt.Sprintf("%d %s", got.status, got.body))
	}
}

func (y *score) String() string {
	return fmt.Sprintf("%d asked, %d served, %d turned away, %d otherwise, the slowest served in %s", y.asked, y.served, y.shed, len(y.wrong), y.slowest.Round(time.Millisecond))
}

// part is how much of what was asked was served.
func (y *score) part() float64 { return float64(y.served) / float64(max(y.asked, 1)) }

// crowd is callers of one kind, who come at a pace of their own whatever became of their last request.
type crowd struct {
	*child
	group sync.WaitGroup
}

// come lets callers ask until ctx ends, each once in every period.
func (r *crowd) come(ctx context.Context, callers int, period time.Duration, ask func(caller, turn int) (answer, error)) *score {
	y := &score{}
	for caller := range callers {
		r.group.Go(func() {
			ticks := time.NewTicker(period)
			defer ticks.Stop()
			for turn := 0; ; turn++ {
				select {
				case <-ctx.Done():
					return
				case <-ticks.C:
				}
				began := time.Now()
				got, err := ask(caller, turn)
				y.note(got, err, time.Since(began))
			}
		})
	}
	return y
}

func (r *crowd) token(client, query string) (answer, error) {
	return r.ask(http.MethodGet, r.data+"/v1/clients/"+client+"/token"+query, "")
}

// hits has 10 callers fetch tokens that are cached, for d, on a route that nobody else takes: so the proxy itself can say
// how long they took it.
func (r *crowd) hits(d time.Duration) *score {
	ctx, stop := context.WithTimeout(r.t.Context(), d)
	defer stop()
	y := r.come(ctx, 10, 25*time.Millisecond, func(caller, _ int) (answer, error) {
		return r.ask(http.MethodPost, r.data+"/api/v1/custodians/clients/"+fmt.Sprintf("warm-%03d", caller)+"/session", "")
	})
	<-ctx.Done()
	r.group.Wait()
	return y
}

// quickHits returns how many hits took the proxy less than 25 ms, and how many there were.
func (c *child) quickHits() (quick, all float64) {
	c.t.Helper()
	series := c.series()
	const labels = `{code="200",method="POST",route="/api/v1/custodians/clients/:clientId/session"`
	return series["cstproxy_http_request_duration_seconds_bucket"+labels+`,le="0.025"}`], series["cstproxy_http_request_duration_seconds_count"+labels+"}"]
}

// TestTenTimesTheLoadCostsNoHit has ten times as many come for mints, refreshes and registrations as Portal has time for,
// and compares the tokens served from the cache meanwhile with those served before, in the same run.
func TestTenTimesTheLoadCostsNoHit(t *testing.T) {
	const (
		atPortal = 24
		latency  = 200 * time.Millisecond
		period   = 100 * time.Millisecond
		callers  = 10 * atPortal * int(period) / int(latency) // ten times what 24 at once can do
		calm     = 2 * time.Second
		storm    = 4 * time.Second
	)
	gate := &doorkeeper{}
	portal, environ := simulated(t, portaltest.Options{AnyClient: true}, func(next http.Handler) http.Handler { gate.next = next; return gate })
	c := serve(t, append(environ, fmt.Sprintf("CSTPROXY_MAX_AT_PORTAL=%d", atPortal), "CSTPROXY_MINT_RATE=0", "CSTPROXY_PROBE_RATE=0",
		"CSTPROXY_AUDIT=file:"+t.TempDir()+"/audit")...)
	c.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	c.fetchEach(clientIDs("warm", 10))
	portal.Inject(portaltest.All, portaltest.Fault{Latency: latency})
	r := &crowd{child: c}

	before := r.hits(calm)
	quick, all := c.quickHits()
	held := c.series()["process_resident_memory_bytes"]
	ctx, stop := context.WithTimeout(t.Context(), storm)
	defer stop()
	storms := &crowd{child: c}
	mints := storms.come(ctx, callers*6/10, period, func(caller, turn int) (answer, error) {
		return storms.token(fmt.Sprintf("cold-%d-%d", caller, turn), "")
	})
	refreshes := storms.come(ctx, callers*2/10, period, func(caller, _ int) (answer, error) {
		return storms.token(fmt.Sprintf("warm-%03d", caller%10), "?minTtl=24h")
	})
	registrations := storms.come(ctx, callers*2/10, period, func(int, int) (answer, error) {
		return storms.ask(http.MethodPost, c.data+"/v1/clients", "")
	})
	during := r.hits(storm)
	storms.group.Wait()
	ended := time.Now()
	grown := c.series()["process_resident_memory_bytes"] - held
	c.mustFetch("afterwards", "")
	c.register("afterwards")
	back := time.Since(ended)
	after := r.hits(calm)

	t.Logf("hits before: %v; during: %v; after: %v", before, during, after)
	stillQuick, stillAll := c.quickHits()
	t.Logf("hits that took the proxy less than 25 ms: %.3f before, %.3f during and after; asked for at %.2f of the pace",
		quick/all, (stillQuick-quick)/(stillAll-all), float64(during.asked)/storm.Seconds()/(float64(before.asked)/calm.Seconds()))
	t.Logf("mints: %v; refreshes: %v; registrations: %v; at Portal at most %d at once", mints, refreshes, registrations, gate.highest.Load())
	// Of those asked for: whoever asks needs the machine, too, and gets less of it in a storm of its own making.
	goodput := during.part() / before.part()
	t.Logf("hits served under overload, as a part of those served without: %.3f; back to normal after %s; memory grew by %.1f MiB", goodput, back, grown/(1<<20))
	if goodput < 0.99 {
		t.Errorf("the hits fell to %.3f of what they were", goodput)
	}
	if part := (stillQuick - quick) / (stillAll - all); !(part >= 0.5) {
		t.Errorf("only %.3f of the hits took the proxy less than 25 ms", part)
	}
	for name, y := range map[string]*score{"before": before, "during": during, "after": after} {
		if y.served != y.asked {
			t.Errorf("hits %s: %v: %q", name, y, y.wrong)
		}
	}
	for name, y := range map[string]*score{"mints": mints, "refreshes": refreshes, "registrations": registrations} {
		if len(y.wrong) > 0 {
			t.Errorf("%s got other answers than a token or overloaded: %q", name, y.wrong[0])
		}
	}
	if mints.served == 0 || mints.shed == 0 || registrations.shed == 0 {
		t.Error("it was no overload, or nothing was done in it")
	}
	if gate.highest.Load() > atPortal {
		t.Errorf("%d requests were at Portal at once, want %d at most", gate.highest.Load(), atPortal)
	}
	if back > 5*time.Second {
		t.Errorf("it took %s to be back to normal", back)
	}
	if grown > 256<<20 {
		t.Errorf("the process grew by %.0f MiB", grown/(1<<20))
	}
	series := c.series()
	for work, shed := range map[string]int{"mint": mints.shed, "refresh": refreshes.shed, "register": registrations.shed, "request": 0} {
		if got := series[`cstproxy_requests_shed_total{work="`+work+`"}`]; got != float64(shed) {
			t.Errorf("counted %v turned away for %s, want %d", got, work, shed)
		}
	}
}

// TestRequestsBeyondTheMostAreTurnedAway holds all places with requests that wait, and then comes for more.
func TestRequestsBeyondTheMostAreTurnedAway(t *testing.T) {
	t.Parallel()
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, append(environ, "CSTPROXY_MAX_IN_FLIGHT=20", "CSTPROXY_MAX_WAITING=16", "CSTPROXY_MINT_RATE=0")...)
	c.mustFetch("warm", "")
	portal.ResetCounters()
	landed := fly(t, c, portal, clientIDs("cold", 12)) // three quarters of who may wait

	if got := c.get(c.data + "/v1/clients/another/token"); got.status != http.StatusServiceUnavailable || !strings.Contains(string(got.body), `"overloaded"`) {
		t.Errorf("a caller who would wait is answered %d %s", got.status, got.body)
	}
	for range 20 {
		if got := c.mustFetch("warm", ""); got.Source != "cache" {
			t.Errorf("a token came from %s", got.Source)
		}
	}
	portal.ClearFaults()
	for range 12 {
		checkServed(t, <-landed)
	}
	c.mustFetch("another", "")
}

// TestAStampedeIsLetInWhole is what one replica of three gets of 4,500 callers of 15 clients, with nothing set.
func TestAStampedeIsLetInWhole(t *testing.T) {
	portal, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, environ...)
	c.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 1500
	portal.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Hang})
	landed := make(chan outcome, 1500)
	for i := range cap(landed) {
		go func() {
			client := fmt.Sprintf("client-%d", i%15)
			got, err := c.token(client)
			landed <- outcome{client, got, err}
		}()
	}
	await(t, "all to wait", func() bool { return c.series()["cstproxy_http_requests_in_flight"] == 1500 })
	portal.ClearFaults()
	for range cap(landed) {
		checkServed(t, <-landed)
	}
	if mints := portal.Stats().Mints; mints != 15 {
		t.Errorf("Portal minted %d tokens, want 15", mints)
	}
}

func (c *child) token(client string) (answer, error) {
	return c.ask(http.MethodGet, c.data+"/v1/clients/"+client+"/token", "")
}

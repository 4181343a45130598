package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestTokenLifeAgainstTheSimulator lives through a little more than two windows, at 28,800 times the speed of a real
// day, with as much budget for probes as it takes at that speed. An active client costs one mint per window, which is three; an idle one costs
// one per fetch, which is eight.
func TestTokenLifeAgainstTheSimulator(t *testing.T) {
	t.Parallel()
	const (
		idleTTL, window, span = 3 * time.Second, 15 * time.Second, 33 * time.Second
		// margin is also how late a refresh in the background may come to Portal: more than this machine may stall.
		margin = 300 * time.Millisecond

		mintsOfActive, mintsOfIdle = 3, 8
	)
	portal, environ := simulated(t, portaltest.Options{IdleTTL: idleTTL, RefreshWindow: window, RateLimit: 2000, AnyClient: true})
	c := serve(t, append(environ, "REDIS_URL="+redistest.Start(t).URL(),
		"CSTPROXY_PROBE_RATE=2000/m", "CSTPROXY_IDLE_TTL="+idleTTL.String(), "CSTPROXY_REFRESH_WINDOW="+window.String(), "CSTPROXY_SAFETY_MARGIN="+margin.String())...)
	active, idle := clientIDs("active", 10), clientIDs("idle", 10)

	load := load{child: c, portal: portal}
	ctx, stop := context.WithTimeout(t.Context(), span)
	defer stop()
	for _, client := range active {
		load.Go(func() { load.keepFetching(ctx, client, betweenActiveFetches) })
	}
	for _, client := range idle {
		load.Go(func() { load.keepFetching(ctx, client, func() time.Duration { return 4200 * time.Millisecond }) })
	}
	load.Wait()

	stats := portal.Stats()
	for _, fault := range load.faults {
		t.Error(fault)
	}
	checkMints(t, stats.MintsByClient, active, mintsOfActive)
	checkMints(t, stats.MintsByClient, idle, mintsOfIdle)
	if stats.RateLimited != 0 || stats.Unauthorized != 0 {
		t.Errorf("Portal refused %d requests for its rate limit and %d for their credentials, want none", stats.RateLimited, stats.Unauthorized)
	}
	series := c.series()
	if got := series["cstproxy_expired_tokens_served_total"]; got != 0 {
		t.Errorf("cstproxy_expired_tokens_served_total is %v", got)
	}
	t.Logf("%d answers cost %d mints and %d probes (sources: cache %v, refresh %v, mint %v)", load.answers, stats.Mints, stats.Probes,
		series[`cstproxy_tokens_served_total{source="cache"}`],
		series[`cstproxy_tokens_served_total{source="refresh"}`],
		series[`cstproxy_tokens_served_total{source="mint"}`])
}

func betweenActiveFetches() time.Duration {
	return 500*time.Millisecond + rand.N(500*time.Millisecond)
}

func checkMints(t *testing.T, minted map[string]int, clients []string, each int) {
	t.Helper()
	sum := 0
	for _, client := range clients {
		if minted[client] != each {
			t.Errorf("%s cost %d mints, want %d", client, minted[client], each)
		}
		sum += minted[client]
	}
	t.Logf("%d clients of the kind %s cost %d mints", len(clients), clients[0], sum)
}

// load fetches tokens and checks each of them.
type load struct {
	sync.WaitGroup

	child  *child
	portal *portaltest.Portal

	mu      sync.Mutex
	answers int
	faults  []string
}

// keepFetching fetches the client's token at once, and then with pace between the beginnings, until ctx ends.
func (l *load) keepFetching(ctx context.Context, client string, pace func() time.Duration) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			next.Reset(pace())
			l.fetch(client)
		}
	}
}

func (l *load) fetch(client string) {
	got, err := l.child.fetch(client, "")
	accepted := l.portal.Accepts(got.Secret)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers++
	switch {
	case err != nil:
		l.faults = append(l.faults, "fetch "+client+": "+err.Error())
	case got.ID != client:
		l.faults = append(l.faults, client+" got a token of "+got.ID)
	case !accepted:
		l.faults = append(l.faults, client+" got a token from "+got.Source+" that Portal refuses")
	}
}

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// mintStep is a moment in a mint for the client "cold".
type mintStep struct {
	// gate stands before or after a request to Redis; without texts, one to Portal.
	gate *gate
	// mints is how many tokens Portal makes at most if the minter dies there.
	mints int
}

// mintSteps are those of a fleet with this namespace in Redis.
func mintSteps(prefix string) map[string]mintStep {
	lease, fence, record := redisKeyUnder(prefix, "cold", "lease"), redisKeyUnder(prefix, "cold", "fence"), redisKeyUnder(prefix, "cold", "token")
	acquire := texts{has: []string{lease, fence, record}}
	turn := texts{has: []string{"{budget-mint}:turns"}}
	commit := texts{has: []string{fence, record}, hasNot: ":lease"}
	letGo := texts{has: []string{lease, ":changed"}, hasNot: ":token"}
	return map[string]mintStep{
		"asking for the lease":           {gate: before(acquire), mints: 1},
		"having been given the lease":    {gate: after(acquire), mints: 1},
		"asking for a turn":              {gate: before(turn), mints: 1},
		"having been given a turn":       {gate: after(turn), mints: 1},
		"asking Portal":                  {gate: before(texts{}), mints: 1},
		"having been answered by Portal": {gate: after(texts{}), mints: 2},
		"committing the token":           {gate: before(commit), mints: 2},
		"having committed the token":     {gate: after(commit), mints: 1},
		"letting go of the lease":        {gate: before(letGo), mints: 1},
		"having let go of the lease":     {gate: after(letGo), mints: 1},
	}
}

// atPortal has the gate stand before replica 0's requests to Portal to mint for the client, or before their answers: what
// comes to it stays there until whoever asked is gone.
func (s mintStep) atPortal(replica int, portal http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if replica != 0 || len(s.gate.texts.has) > 0 || !strings.Contains(r.URL.Path, "/cold/") {
			portal.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body) // else nothing tells when whoever asked is gone
		r.Body = io.NopCloser(bytes.NewReader(body))
		if s.gate.answer {
			portal.ServeHTTP(httptest.NewRecorder(), r)
		}
		s.gate.hold()
		<-r.Context().Done()
	})
}

// TestFleetMintsWhereItsMinterDiedAtAnyStep kills the replica that mints, in each step of the mint. Nothing half-done
// counts: another replica serves a live token once the lease has run out, and so does the one that takes the place of the
// dead.
func TestFleetMintsWhereItsMinterDiedAtAnyStep(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for mode, killsOlder := range longOr(map[string]bool{"kills": true, "spares": false}, map[string]bool{"kills": true}) {
		for name := range mintSteps("") {
			t.Run(name+", where a mint "+mode+" the older tokens", func(t *testing.T) {
				t.Parallel()
				prefix := strings.ReplaceAll(name, " ", "-") + "-" + mode
				step := mintSteps(prefix)[name]
				f, link := startFleetOver(t, redis, portaltest.Options{MintKillsOlder: killsOlder}, step.atPortal,
					"CSTPROXY_MINT_RATE=1000/s", "CSTPROXY_KEY_PREFIX="+prefix)
				f.replica(0).mustFetch("warm", "") // so that Redis knows the scripts, and does not answer that it doesn't
				link.gate.Store(step.gate)
				f.dieAt(step.gate)
				f.expectMintTakenOver()

				link.gate.Store(nil)
				f.start(0, onLink(link))
				f.expectLiveTokens([]string{"cold"})
				if f.stalled() {
					step.mints = 2 // by a replica that went by itself, as the one to be killed does unless it is killed soon
				}
				if got := f.portal.Stats().MintsByClient["cold"]; got > step.mints {
					t.Errorf("Portal minted %d tokens, want at most %d", got, step.mints)
				}
			})
		}
	}
}

// dieAt has replica 0 mint for the client, and kills it once it has come to the gate.
func (f *fleet) dieAt(g *gate) {
	f.t.Helper()
	minter, ended := f.replica(0), make(chan error, 1)
	go func() {
		_, err := minter.fetch("cold", "")
		ended <- err
	}()
	select {
	case <-g.reached:
	case err := <-ended:
		f.t.Fatalf("the mint never came to that step: %v", err)
	}
	minter.kill()
	f.t.Logf("the caller of the one that died got: %v", <-ended)
}

// expectMintTakenOver has replica 1 serve the client whose minter just died.
func (f *fleet) expectMintTakenOver() {
	f.t.Helper()
	const most = 3*time.Second + 1500*time.Millisecond // what a lease lasts, and what a busy machine adds
	died := time.Now()
	got := f.replica(1).mustFetch("cold", "")
	took, minted := time.Since(died), f.portal.Stats().MintsByClient["cold"]
	f.t.Logf("another replica served a token from %q after %s; Portal minted %d", got.Source, took, minted)
	if took > most {
		f.t.Errorf("another replica served after %s, want at most %s", took, most)
	}
	if !f.portal.Accepts(got.Secret) {
		f.t.Errorf("another replica served the dead token %s", got.TokenID)
	}
}

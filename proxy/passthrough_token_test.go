package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// judging has requests passed on to an upstream that takes the tokens which the simulated Portal takes.
func judging() (change func(*setup), belongs func(*world)) {
	var w *world
	return passingTo(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if !w.sim.Accepts(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}), func(of *world) { w = of }
}

func TestAHundredWhoMeetADeadTokenAtOnceCostOneMint(t *testing.T) {
	t.Parallel()
	change, belongs := judging()
	w := newWorld(t, change)
	belongs(w)
	w.fetch()
	w.sim.KillClient(alice)
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			if a := w.do(http.MethodPost, "/api/v1/swaps/quote", fmt.Sprint(i), named); a.status != http.StatusOK {
				t.Errorf("%d: %d %s", i, a.status, a.body)
			}
		})
	}
	group.Wait()
	w.wantMints(2)
}

func TestAnEnclaveRequestWorksAgainAfterTheOneThatWasRejected(t *testing.T) {
	t.Parallel()
	change, belongs := judging()
	w := newWorld(t, change)
	belongs(w)
	w.fetch()
	w.sim.KillClient(alice)
	w.do(http.MethodPost, "/enclave/v1/sign", "{}", named).wantProblem(t, "token_rejected")
	w.wantMints(1)
	w.do(http.MethodPost, "/enclave/v1/sign", "{}", named).want(t, http.StatusOK)
	w.wantMints(2)
	want := []proxy.Pass{{Family: session.RouteEnclave, Mode: proxy.ModeInject, Outcome: proxy.OutcomeTokenRejected}, {Family: session.RouteEnclave, Mode: proxy.ModeInject, Outcome: proxy.OutcomeOK}}
	if diff := cmp.Diff(want, w.outcomes(2)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestARepetitionThatIsRefusedTooIsTheLast(t *testing.T) {
	t.Parallel()
	var tokens []string
	w := newWorld(t, passingTo(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	w.get(whoAmI, named).wantProblem(t, "token_rejected")
	if len(tokens) != 2 || tokens[0] == tokens[1] {
		t.Errorf("it was sent %d times, want twice with two tokens", len(tokens))
	}
	w.wantMints(2)
}

// TestATokenThatTookThePlaceOfARefusedOneStays has the token replaced while Portal looks at it.
func TestATokenThatTookThePlaceOfARefusedOneStays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header func(w *world) string
		path   string
		status int
	}{
		"one that a device sent": {func(w *world) string { return "Authorization: Bearer " + w.tokenOf(alice) }, whoAmI, http.StatusUnauthorized},
		"one that was put on":    {func(*world) string { return named }, "/enclave/v1/sign", http.StatusBadGateway},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w *world
			next := ""
			w = newWorld(t, passingTo(func(rw http.ResponseWriter, _ *http.Request) {
				next = w.get(aliceToken+"?rejected="+w.get(aliceToken).token(t, http.StatusOK).TokenID).token(t, http.StatusOK).ClientSessionToken
				rw.WriteHeader(http.StatusUnauthorized)
			}))
			w.fetch()
			w.do(http.MethodPost, c.path, "", c.header(w)).want(t, c.status)
			if got := w.tokenOf(alice); got != next {
				t.Error("another token is kept than the one that took the place")
			}
			w.wantMints(2)
		})
	}
}

func TestADevicesTokenThatWasReplacedIsNotPassedOn(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	w := newWorld(t, passingTo(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	first := w.fetch()
	old := "Authorization: Bearer " + first.ClientSessionToken
	w.get(whoAmI, old).want(t, http.StatusOK)
	next := w.get(aliceToken+"?rejected="+first.TokenID).token(t, http.StatusOK)
	w.get(whoAmI, old).wantProblem(t, "token_unknown")
	w.get(whoAmI, "Authorization: Bearer "+next.ClientSessionToken).want(t, http.StatusOK)
	if n := asked.Load(); n != 2 {
		t.Errorf("Portal was asked %d times, want twice", n)
	}
}

// TestUseIsDatedByWhenTheRequestLeft has Portal take an hour over its answer.
func TestUseIsDatedByWhenTheRequestLeft(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]func(w *world) string{
		"with the client's token": func(*world) string { return named },
		"with a device's own":     func(w *world) string { return "Authorization: Bearer " + w.tokenOf(alice) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w *world
			w = newWorld(t, passingTo(func(http.ResponseWriter, *http.Request) { w.clock.advance(hour) }))
			w.fetch()
			w.clock.advance(hour)
			w.get(whoAmI, header(w)).want(t, http.StatusOK)
			w.broker.Close(t.Context()) // which waits for what is being written
			token, err := w.store.Load(t.Context(), alice)
			if want := epoch().Add(hour); err != nil || !token.ActiveAt.Equal(want) {
				t.Errorf("active at %s, want %s: %v", token.ActiveAt, want, err)
			}
		})
	}
}

func TestARepetitionIsDatedByWhenItLeft(t *testing.T) {
	t.Parallel()
	var w *world
	asked := 0
	w = newWorld(t, passingTo(func(rw http.ResponseWriter, _ *http.Request) {
		asked++
		w.clock.advance(hour)
		if asked == 1 {
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}))
	w.fetch()
	w.get(whoAmI, named).want(t, http.StatusOK)
	w.broker.Close(t.Context())
	token, err := w.store.Load(t.Context(), alice)
	if want := epoch().Add(hour); err != nil || !token.ActiveAt.Equal(want) || !token.MintedAt.Equal(want) {
		t.Errorf("minted at %s and active at %s, want %s: %v", token.MintedAt, token.ActiveAt, want, err)
	}
}

// TestNoRefusalOfOursIsA401 looks at each way in which this proxy itself refuses: a 401 would end a device's session.
func TestNoRefusalOfOursIsA401(t *testing.T) {
	t.Parallel()
	w := newWorld(t, passing, admitting(anyRoutes))
	for _, header := range []string{"X-None: 1", "Authorization: Bearer x", "Authorization: Basic x", "Authorization: ", "Authorization: " + strings.Repeat("x", 8<<10)} {
		for _, path := range []string{whoAmI, "/enclave/v1/sign", "/api/v1/custodians/clients/x/web-otp", "/api/v3/custodians/me/api-keys", "/api/clients", whoAmI + "/..;/x", "/api/v1/swaps/%2e"} {
			for _, client := range []string{named, "X-Portal-Client-Id: a/b", "X-Portal-Client-Id: "} {
				if a := w.do(http.MethodPost, path, "{}", header, client); a.status < 400 || a.status > 405 || a.status == http.StatusUnauthorized {
					t.Errorf("%s with %.30q and %q: %d %s", path, header, client, a.status, a.body)
				}
			}
			if a := w.do(http.MethodPost, path, "{}", header); a.status < 400 || a.status > 405 || a.status == http.StatusUnauthorized {
				t.Errorf("%s with %.30q: %d %s", path, header, a.status, a.body)
			}
		}
	}
	w.wantUntouched()
}

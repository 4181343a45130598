package portal_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// pipes is a network that a bubble can hold.
type pipes struct {
	conns chan net.Conn
	down  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), down: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.down:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.down:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.down) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// house is a Guard and all that stands behind it, down to the simulated Portal. It must be built in a bubble.
type house struct {
	*portal.Guard
	sim    *portaltest.Portal
	client *portal.Client
	key    atomic.Pointer[session.Secret]
	// file holds the key that is found when the one in use is refused; nil is no other.
	file atomic.Pointer[session.Secret]
	// next is the key that takes over from one that is refused, if it is accepted; nil is none.
	next atomic.Pointer[session.Secret]
	// turnOver has a key that nobody accepts take over, each time another.
	turnOver bool
	succeeds int
	// beforeCheck runs before each check of the key.
	beforeCheck func()
}

func newHouse(t *testing.T, options portaltest.Options, limit cache.Limit) *house {
	t.Helper()
	h := &house{sim: portaltest.New(options), beforeCheck: func() {}}
	h.use(portaltest.DefaultKey)
	network := newPipes()
	server := &http.Server{Handler: h.sim, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(network)
	}()
	h.client = portal.New(portal.Parts{
		BaseURL: "http://portal", Paths: portal.V1, Timeout: 10 * time.Second, Key: func() session.Secret { return *h.key.Load() },
	})
	portal.Transport(h.client).DialContext = network.dial
	t.Cleanup(func() {
		h.sim.Close()
		h.client.Close()
		_ = server.Close()
		<-served
	})
	budget := cache.NewBudget(cache.BudgetParts{
		Limits: map[session.Class]cache.Limit{session.ClassMint: limit, session.ClassProbe: limit}, Log: slog.New(slog.DiscardHandler),
	})
	paced := portal.NewPaced(h.client, budget)
	h.Guard = portal.NewGuard(portal.GuardParts{
		Next: seasoned(paced), Budget: budget,
		CheckKey: paced.KeyCheck(func(ctx context.Context) error {
			h.beforeCheck()
			return h.client.CheckKey(ctx)
		}),
		Key: func() session.Secret { return *h.key.Load() },
		Refused: func() {
			if found := h.file.Load(); found != nil {
				h.key.Store(found)
			}
		},
		Succeed: h.succeed,
	})
	return h
}

func (h *house) announce(key string) {
	secret := session.NewSecret(key)
	h.next.Store(&secret)
}

func (h *house) succeed(ctx context.Context, _ session.Secret) {
	h.succeeds++
	if h.turnOver {
		h.use(fmt.Sprint("refused-key-", h.succeeds))
	}
	if next := h.next.Load(); next != nil && h.client.With(*next).CheckKey(ctx) == nil {
		h.key.Store(next)
	}
}

func (h *house) use(key string) {
	secret := session.NewSecret(key)
	h.key.Store(&secret)
}

func (h *house) replaceFile(key string) {
	secret := session.NewSecret(key)
	h.file.Store(&secret)
}

func (h *house) mint(t *testing.T, client session.ClientID) error {
	t.Helper()
	token, err := h.Mint(t.Context(), client, session.Absent)
	if err == nil && token.Client != client {
		t.Errorf("%s got a token of %s", client, token.Client)
	}
	return err
}

// wantArrivals wants that many requests since the last time that it was asked.
func (h *house) wantArrivals(t *testing.T, want map[portaltest.Operation]int) {
	t.Helper()
	for _, operation := range []portaltest.Operation{portaltest.Mint, portaltest.Register, portaltest.List} {
		if n := len(h.sim.Arrivals(operation)); n != want[operation] {
			t.Errorf("%d requests to %s arrived, want %d", n, operation, want[operation])
		}
	}
	h.sim.ResetCounters()
}

// wantNoPause wants that known clients are minted, and at once.
func (h *house) wantNoPause(t *testing.T) {
	t.Helper()
	began := time.Now()
	h.sim.AddClient("wanted-now")
	wantError(t, h.mint(t, "wanted-now"), nil)
	if waited := time.Since(began); waited != 0 {
		t.Errorf("a mint waited for %s", waited)
	}
}

// wantPause wants that no mint leaves for that long.
func (h *house) wantPause(t *testing.T, want time.Duration) {
	t.Helper()
	began := time.Now()
	h.sim.AddClient("wanted-later")
	for h.mint(t, "wanted-later") != nil {
		passed, step := time.Since(began), time.Millisecond
		if want-passed > 2*time.Second { // the end alone is looked at closely
			step = time.Second
		}
		if passed > 2*want {
			t.Fatalf("still paused after %s, want %s", passed, want)
		}
		time.Sleep(step)
	}
	if waited := time.Since(began).Round(time.Millisecond); waited != want {
		t.Errorf("the pause was over after %s, want %s", waited, want)
	}
}

func refusing(status int) portaltest.Fault {
	return portaltest.Fault{Kind: portaltest.Status, Status: status}
}

// inBubbles runs the test in a bubble for each status that may as well be the key's.
func inBubbles(t *testing.T, test func(t *testing.T, status int)) {
	t.Helper()
	for _, status := range []int{401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, status) })
		})
	}
}

func TestUnknownClientsInARowPauseNobody(t *testing.T) {
	t.Parallel()
	inBubbles(t, func(t *testing.T, status int) {
		h := newHouse(t, portaltest.Options{UnknownClientStatus: status}, cache.Limit{})
		for i := range 50 {
			known, unknown := session.ClientID(fmt.Sprint("known-", i)), session.ClientID(fmt.Sprint("unknown-", i))
			h.sim.AddClient(string(known))
			began := time.Now()
			wantError(t, h.mint(t, unknown), session.ErrClientNotFound)
			wantError(t, h.mint(t, known), nil)
			if took := time.Since(began); took != 0 {
				t.Errorf("they waited for %s", took)
			}
			time.Sleep(time.Nanosecond) // or the key was accepted in the very moment in which the next is refused
		}
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 100, portaltest.List: 50})
	})
}

func TestUnknownClientsAtOnceShareACheck(t *testing.T) {
	t.Parallel()
	inBubbles(t, func(t *testing.T, status int) {
		h := newHouse(t, portaltest.Options{UnknownClientStatus: status}, cache.Limit{})
		h.sim.Inject(portaltest.List, portaltest.Fault{Latency: time.Second})
		began := time.Now()
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				wantError(t, h.mint(t, session.ClientID(fmt.Sprint("unknown-", i))), session.ErrClientNotFound)
			})
		}
		synctest.Wait()
		h.wantNoPause(t)
		group.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("they were told after %s", took)
		}
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 51, portaltest.List: 1})
	})
}

func TestRefusedClientIsRememberedAsAnUnknownOneIs(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, portaltest.Options{UnknownClientStatus: status}, cache.Limit{})
				wantError(t, h.mint(t, alice), session.ErrClientNotFound)
				h.sim.AddClient(string(alice))
				h.sim.ResetCounters()
				time.Sleep(10*time.Second - 1)
				err := h.mint(t, alice)
				wantError(t, err, session.ErrClientNotFound)
				if wait := session.RetryAfter(err); wait != 1 {
					t.Errorf("to come back in %s", wait)
				}
				h.wantArrivals(t, nil)
				time.Sleep(time.Nanosecond)
				wantError(t, h.mint(t, alice), nil)
			})
		})
	}
}

func TestKeyThatWasAcceptedSinceNeedsNoCheck(t *testing.T) {
	t.Parallel()
	const slow = time.Second
	mint := func(t *testing.T, h *house) { wantError(t, h.mint(t, "known"), nil) }
	register := func(t *testing.T, h *house) {
		_, err := h.Register(t.Context(), session.Registration{})
		wantError(t, err, nil)
	}
	for name, tc := range map[string]struct {
		before, since func(*testing.T, *house)
		checks        int
	}{
		"a mint since":         {since: mint},
		"a registration since": {since: register},
		"a mint before":        {before: mint, checks: 1},
		"a mint since that is not answered yet": {checks: 1, since: func(t *testing.T, h *house) {
			h.sim.Inject(portaltest.Mint, portaltest.Fault{Latency: time.Hour, Times: 1})
			ctx, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			go func() { _, _ = h.Mint(ctx, "known", session.Absent) }()
			synctest.Wait()
		}},
		"a client that is unknown too": {checks: 1, since: func(t *testing.T, h *house) {
			h.sim.Set(func(b *portaltest.Behavior) { b.UnknownClientStatus = 404 })
			wantError(t, h.mint(t, "unknown-too"), session.ErrClientNotFound)
		}},
		"nothing": {checks: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, portaltest.Options{UnknownClientStatus: 401}, cache.Limit{})
				h.sim.AddClient("known")
				if tc.before != nil {
					tc.before(t, h)
					time.Sleep(time.Nanosecond)
				}
				h.sim.Inject(portaltest.Mint, portaltest.Fault{Latency: slow, Times: 1})
				var group sync.WaitGroup
				group.Go(func() { wantError(t, h.mint(t, alice), session.ErrClientNotFound) })
				synctest.Wait()
				time.Sleep(slow / 2)
				if tc.since != nil {
					tc.since(t, h)
				}
				group.Wait()
				if n := len(h.sim.Arrivals(portaltest.List)); n != tc.checks {
					t.Errorf("the key was checked %d times, want %d", n, tc.checks)
				}
			})
		})
	}
}

// A mint may have come long before it leaves. What counts is when it left.
func TestKeyThatWasAcceptedBeforeTheRefusedMintLeftProvesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{AnyClient: true}, cache.Limit{})
		h.sim.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: 503, Times: 1})
		var group sync.WaitGroup
		group.Go(func() { wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized) })
		synctest.Wait() // it is to be repeated in 50 ms at the earliest
		time.Sleep(time.Millisecond)
		wantError(t, h.mint(t, "known"), nil)
		h.sim.Inject(portaltest.All, refusing(401))
		group.Wait()
	})
}

func TestCheckThatLeftBeforeTheRefusedMintProvesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{UnknownClientStatus: 401}, cache.Limit{})
		h.sim.Inject(portaltest.List, portaltest.Fault{Latency: time.Second})
		var group sync.WaitGroup
		group.Go(func() { wantError(t, h.mint(t, "first"), session.ErrClientNotFound) })
		synctest.Wait()
		time.Sleep(time.Millisecond)
		group.Go(func() { wantError(t, h.mint(t, "second"), session.ErrPortalUnauthorized) })
		synctest.Wait() // it shares the check of the first, which Portal has passed already
		h.sim.Inject(portaltest.List, refusing(401))
		group.Wait()
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 2, portaltest.List: 2})
	})
}

func TestBadKeyPausesTheMintsAfterOneCheck(t *testing.T) {
	t.Parallel()
	inBubbles(t, func(t *testing.T, status int) {
		h := newHouse(t, portaltest.Options{AnyClient: true}, cache.Limit{})
		refusal := refusing(status)
		refusal.Latency = time.Millisecond // so that all of them have left when the first is answered
		h.sim.Inject(portaltest.All, refusal)
		clients := func(ask func(session.ClientID) error) {
			var group sync.WaitGroup
			for i := range 50 {
				group.Go(func() { wantError(t, ask(session.ClientID(fmt.Sprint("client-", i))), session.ErrPortalUnauthorized) })
			}
			group.Wait()
		}
		ask := func(client session.ClientID) error { return h.mint(t, client) }
		clients(ask)
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 50, portaltest.List: 1})
		// Nothing leaves while the pause lasts, and nobody waits for its end.
		began := time.Now()
		clients(ask)
		h.wantArrivals(t, nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("they were told after %s", took)
		}
		// When it is over, one check tells for all. The next pause is longer.
		time.Sleep(time.Second)
		clients(ask)
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.List: 1})
		h.sim.ClearFaults()
		h.wantPause(t, 2*time.Second)
		// The same clients are served: nothing was remembered about them.
		for i := range 50 {
			wantError(t, h.mint(t, session.ClientID(fmt.Sprint("client-", i))), nil)
		}
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 51, portaltest.List: 1})
	})
}

func TestClientThatIsUnknownWhileTheKeyWasBadIsToldSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{UnknownClientStatus: 401}, cache.Limit{})
		h.sim.Inject(portaltest.All, refusing(401))
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		h.sim.ClearFaults()
		time.Sleep(time.Second)
		wantError(t, h.mint(t, alice), session.ErrClientNotFound)
		h.wantNoPause(t)
	})
}

func TestPauseForABadKeyIsToldAsThat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{}, cache.Limit{})
		h.sim.Inject(portaltest.All, refusing(401))
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		time.Sleep(300 * time.Millisecond)
		err := h.mint(t, "another")
		wantError(t, err, session.ErrPortalUnauthorized)
		if !strings.Contains(err.Error(), "700ms") {
			t.Errorf("error %q does not say that 700 ms are left", err)
		}
		_, err = h.Register(t.Context(), session.Registration{})
		wantError(t, err, session.ErrPortalUnauthorized)
	})
}

// A mint that came before the key was known to be bad may find the pause in its way only later.
func TestMintThatMeetsThePauseForABadKeyIsToldWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{AnyClient: true}, cache.Limit{})
		h.sim.Inject(portaltest.Mint, portaltest.Fault{Kind: portaltest.Status, Status: 503, Times: 1})
		var group sync.WaitGroup
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := h.Mint(ctx, alice, session.Absent)
			wantError(t, err, session.ErrPortalUnauthorized)
		})
		synctest.Wait() // it is to be repeated
		h.sim.Inject(portaltest.All, refusing(401))
		wantError(t, h.mint(t, "another"), session.ErrPortalUnauthorized)
		group.Wait()
	})
}

func TestSuccessOfLongAgoDoesNotMakeABadKeyGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{AnyClient: true}, cache.Limit{})
		h.sim.Inject(portaltest.Mint, portaltest.Fault{Latency: time.Second / 2, Times: 1})
		var group sync.WaitGroup
		group.Go(func() { wantError(t, h.mint(t, "long-ago"), nil) })
		synctest.Wait()
		time.Sleep(time.Millisecond)
		h.sim.Inject(portaltest.All, refusing(401))
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		group.Wait()
		h.sim.ResetCounters()
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		h.wantArrivals(t, nil)
	})
}

func TestKeyIsNotBadForLongForWantOfATurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{AnyClient: true}, cache.Limit{Requests: 2, Per: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		mint := func() error {
			_, err := h.Mint(ctx, alice, session.Absent)
			return err
		}
		h.sim.Inject(portaltest.All, refusing(401))
		began := time.Now()
		wantError(t, mint(), session.ErrPortalUnauthorized) // that took both turns
		h.sim.ClearFaults()
		time.Sleep(5*time.Second - 1)
		wantError(t, mint(), session.ErrPortalUnauthorized)
		time.Sleep(time.Nanosecond)
		wantError(t, mint(), nil)
		if waited := time.Since(began); waited != nextTurn {
			t.Errorf("minted after %s, want it with the first turn, after %s", waited, nextTurn)
		}
	})
}

func TestCheckThatTellsNothingIsHeldAgainstThatClientAlone(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]portaltest.Fault{
		"trouble": refusing(503), "no such route": refusing(404), "a redirect": {Kind: portaltest.Redirect},
		"no answer": {Kind: portaltest.Hang},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, portaltest.Options{UnknownClientStatus: 401}, cache.Limit{})
				h.sim.Inject(portaltest.List, fault)
				wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
				h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 1, portaltest.List: 1})
				h.wantNoPause(t)
				h.sim.ClearFaults()
				h.sim.AddClient(string(alice))
				h.sim.ResetCounters()
				time.Sleep(2*time.Second - 1)
				wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
				h.wantArrivals(t, nil)
				time.Sleep(time.Nanosecond)
				wantError(t, h.mint(t, alice), nil)
			})
		})
	}
}

func TestCheckWithoutATurnIsNotMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{UnknownClientStatus: 401}, cache.Limit{Requests: 1, Per: time.Minute})
		began := time.Now()
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		if took := time.Since(began); took != 0 {
			t.Errorf("told after %s", took)
		}
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 1})
	})
}

func TestCheckThatIsTooMuchPausesAsAnyRequestDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{UnknownClientStatus: 401}, cache.Limit{})
		h.sim.Inject(portaltest.List, portaltest.Fault{Kind: portaltest.Status, Status: 429, RetryAfter: "60"})
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		wantError(t, h.mint(t, "another"), session.ErrPortalRateLimited)
		h.wantPause(t, time.Minute)
	})
}

func TestCallerWhoLeavesACheckEndsItForNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{UnknownClientStatus: 401}, cache.Limit{})
		h.sim.Inject(portaltest.List, portaltest.Fault{Latency: time.Second})
		ctx, leave := context.WithCancel(t.Context())
		began := time.Now()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := h.Mint(ctx, "impatient", session.Absent)
			wantError(t, err, session.ErrPortalUnauthorized)
			if took := time.Since(began); took != time.Second/4 {
				t.Errorf("left after %s", took)
			}
		})
		synctest.Wait() // the check is the impatient one's
		group.Go(func() { wantError(t, h.mint(t, alice), session.ErrClientNotFound) })
		time.Sleep(time.Second / 4)
		leave()
		group.Wait()
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 2, portaltest.List: 1})
	})
}

func TestMintThatWasRefusedForAReplacedKeyIsRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	const fresh = "fresh-key"
	for name, tc := range map[string]struct {
		key, file string
		client    session.ClientID
		want      error
		arrivals  map[portaltest.Operation]int
	}{
		"with the new one": {"old-key", fresh, "known", nil,
			map[portaltest.Operation]int{portaltest.Mint: 2}},
		"of an unknown client, which the new one tells": {"old-key", fresh, alice, session.ErrClientNotFound,
			map[portaltest.Operation]int{portaltest.Mint: 2, portaltest.List: 1}},
		"once only, though the new one is bad too": {"old-key", "older-key", "known", session.ErrPortalUnauthorized,
			map[portaltest.Operation]int{portaltest.Mint: 2, portaltest.List: 1}},
		"but not with the same one": {"old-key", "old-key", "known", session.ErrPortalUnauthorized,
			map[portaltest.Operation]int{portaltest.Mint: 1, portaltest.List: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, portaltest.Options{APIKey: fresh, UnknownClientStatus: 401}, cache.Limit{})
				h.sim.AddClient("known")
				h.use(tc.key)
				h.replaceFile(tc.file)
				began := time.Now()
				wantError(t, h.mint(t, tc.client), tc.want)
				if took := time.Since(began); took != 0 {
					t.Errorf("took %s", took)
				}
				h.wantArrivals(t, tc.arrivals)
			})
		})
	}
}

func TestRefusalOfAReplacedKeyIsNotTheClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{APIKey: "fresh-key", AnyClient: true}, cache.Limit{})
		h.use("old-key")
		h.beforeCheck = func() { h.use("fresh-key") } // so that the check tells about another key
		wantError(t, h.mint(t, alice), nil)
		h.wantNoPause(t)
	})
}

func TestMintWhoseKeyIsReplacedDuringTheCheckIsRepeatedAndPausesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{APIKey: "fresh-key", AnyClient: true}, cache.Limit{})
		h.use("old-key")
		h.sim.Inject(portaltest.List, portaltest.Fault{Latency: time.Second})
		var group sync.WaitGroup
		group.Go(func() { wantError(t, h.mint(t, alice), nil) })
		synctest.Wait()
		h.replaceFile("fresh-key") // while the check with the old one is under way
		group.Wait()
		h.wantNoPause(t)
		wantError(t, h.mint(t, alice), nil)
	})
}

// Nothing but the check asks Portal while the key is bad, so it must look for another key as well.
func TestKeyThatIsReplacedWhileItIsBadIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{APIKey: "fresh-key", AnyClient: true}, cache.Limit{})
		h.use("old-key")
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		h.replaceFile("fresh-key")
		h.sim.ResetCounters()
		h.wantPause(t, time.Second)
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 1, portaltest.List: 1})
	})
}

func TestRegistrationThatIsRefusedIsNotRepeatedAndPausesTheMints(t *testing.T) {
	t.Parallel()
	inBubbles(t, func(t *testing.T, status int) {
		h := newHouse(t, portaltest.Options{}, cache.Limit{})
		h.sim.Inject(portaltest.Register, refusing(status))
		_, err := h.Register(t.Context(), session.Registration{})
		wantError(t, err, session.ErrPortalUnauthorized)
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Register: 1})
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		h.wantArrivals(t, nil)
		h.wantPause(t, time.Second)
	})
}

// Portal made nothing of what it refused.
func TestRegistrationThatWasRefusedForAReplacedKeyIsRepeatedWithTheOther(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(*house){
		"found in its file":          func(h *house) { h.replaceFile("fresh-key") },
		"the next, which takes over": func(h *house) { h.announce("fresh-key") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, portaltest.Options{APIKey: "fresh-key"}, cache.Limit{})
				h.use("old-key")
				replace(h)
				_, err := h.Register(t.Context(), session.Registration{})
				wantError(t, err, nil)
				if got := h.sim.Stats().Registrations; got != 1 {
					t.Errorf("%d clients were made", got)
				}
				h.wantNoPause(t)
			})
		})
	}
}

func TestRegistrationThatEveryKeyIsRefusedForEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{APIKey: "fresh-key"}, cache.Limit{})
		h.use("old-key")
		h.turnOver = true
		_, err := h.Register(t.Context(), session.Registration{})
		wantError(t, err, session.ErrPortalUnauthorized)
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Register: 3})
	})
}

func TestNextKeyTakesOverWithoutAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{APIKey: "next-key", AnyClient: true}, cache.Limit{})
		h.use("old-key")
		h.announce("next-key")
		began := time.Now()
		wantError(t, h.mint(t, alice), nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("took %s", took)
		}
		h.wantArrivals(t, map[portaltest.Operation]int{portaltest.Mint: 2, portaltest.List: 2})
		h.wantNoPause(t)
	})
}

func TestNextKeyTakesOverForAllWhoAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{APIKey: "next-key", AnyClient: true}, cache.Limit{})
		h.use("old-key")
		h.announce("next-key")
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() { wantError(t, h.mint(t, session.ClientID(fmt.Sprint("client-", i))), nil) })
		}
		group.Wait()
		if got := h.sim.Stats().Mints; got != 50 {
			t.Errorf("%d tokens were minted for 50 clients", got)
		}
		h.wantNoPause(t)
	})
}

func TestNextKeyThatIsRefusedTooDoesNotTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{APIKey: "neither", AnyClient: true}, cache.Limit{})
		h.use("old-key")
		h.announce("next-key")
		wantError(t, h.mint(t, alice), session.ErrPortalUnauthorized)
		if got := h.key.Load().Reveal(); got != "old-key" {
			t.Errorf("the key in use is %s", got)
		}
		h.announce("neither") // the pause is there all the same
		h.wantPause(t, time.Second)
	})
}

func TestClientThatIsRefusedDoesNotMakeTheNextKeyTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{UnknownClientStatus: 401}, cache.Limit{})
		h.announce("next-key")
		h.succeeds = 0
		wantError(t, h.mint(t, alice), session.ErrClientNotFound)
		if got := h.key.Load().Reveal(); got != portaltest.DefaultKey || h.succeeds != 0 {
			t.Errorf("the key in use is %s, after %d looks for another", got, h.succeeds)
		}
		h.wantNoPause(t)
	})
}

func TestProbeIsNotTheKeysBusiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{AnyClient: true}, cache.Limit{})
		token, err := h.Mint(t.Context(), alice, session.Absent)
		wantError(t, err, nil)
		h.sim.Inject(portaltest.Register, refusing(401))
		_, err = h.Register(t.Context(), session.Registration{})
		wantError(t, err, session.ErrPortalUnauthorized)
		wantError(t, h.Probe(t.Context(), token), nil)
	})
}

func TestKeyStandsAsPortalLastSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, portaltest.Options{AnyClient: true}, cache.Limit{})
		want := func(verdict portal.KeyVerdict, worked time.Time) {
			t.Helper()
			if got := h.Key(); got.Verdict != verdict || !got.Worked.Equal(worked) {
				t.Errorf("the key stands at %+v, want %d, and that it worked at %s", got, verdict, worked)
			}
		}
		want(portal.KeyUntried, time.Time{})
		minted := time.Now()
		token, err := h.Mint(t.Context(), alice, session.Absent)
		wantError(t, err, nil)
		want(portal.KeyAccepted, minted)

		time.Sleep(time.Hour)
		wantError(t, h.Probe(t.Context(), token), nil)
		want(portal.KeyAccepted, minted) // a probe goes with another key

		h.sim.Inject(portaltest.Register, refusing(401))
		_, err = h.Register(t.Context(), session.Registration{})
		wantError(t, err, session.ErrPortalUnauthorized)
		want(portal.KeyRefused, minted)
		time.Sleep(time.Hour) // it is asked about again, and not forgotten
		want(portal.KeyRefused, minted)

		h.use("another")
		want(portal.KeyUntried, minted)
		h.use(portaltest.DefaultKey)
		h.sim.ClearFaults()
		asked := time.Now()
		wantError(t, h.mint(t, "bob"), nil)
		want(portal.KeyAccepted, asked)
	})
}

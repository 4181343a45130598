package cache_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/cache/redistest"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const memoryTTL = 30 * time.Second

var errDown = sessiontest.ErrStoreDown

// rig is a Tier with a store that breaks at will and a clock that stands still.
type rig struct {
	*cache.Tier
	t     *testing.T
	store *sessiontest.Store
	clock *clock
}

func newRig(t *testing.T) rig {
	t.Helper()
	store, clock := &sessiontest.Store{}, newClock()
	return rig{Tier: newTier(t, cache.TierParts{Store: store, TTL: memoryTTL, Now: clock.Now}), t: t, store: store, clock: clock}
}

// token returns a token minted at the clock's time.
func (r rig) token() session.Token { return sessiontest.NewToken(alice, r.clock.Now()) }

// commitDown commits while the store is down.
func (r rig) commitDown(token session.Token, seen uint64) {
	r.t.Helper()
	if got, err := r.Commit(r.t.Context(), token, seen); !errors.Is(err, errDown) || got.ID != token.ID {
		r.t.Errorf("Commit = %+v, %v; want the token and the store's error", got, err)
	}
}

func TestTierAnswersFromMemoryForTheTTLOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		later time.Duration
		event func(rig)
		loads int
	}{
		"at once":                           {loads: 0},
		"a moment before the TTL is over":   {later: memoryTTL - 1, loads: 0},
		"when the TTL is over":              {later: memoryTTL, loads: 1},
		"after its token changed":           {event: func(r rig) { r.Drop(alice, session.TokenID{}) }, loads: 1},
		"after another client's changed":    {event: func(r rig) { r.Drop("another", session.TokenID{}) }, loads: 0},
		"after messages may have been lost": {event: func(r rig) { r.Doubt() }, loads: 1},
		"when the clock went back":          {later: -1, loads: 1},
		"after a slide":                     {event: func(r rig) { _, _ = r.Slide(r.t.Context(), session.Move{Client: alice}) }, loads: 0},
		"after a slide of another token":    {event: func(r rig) { _, _ = r.Slide(r.t.Context(), session.Move{Client: alice, ID: newToken(alice).ID}) }, loads: 1},
		"after a forget of another token":   {event: func(r rig) { _, _ = r.Forget(r.t.Context(), alice, newToken(alice).ID) }, loads: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			token := r.token()
			save(t, r, token)
			if c.event != nil {
				c.event(r)
			}
			r.clock.advance(c.later)
			before := r.store.Loads()
			wantLoaded(t, r, alice, token)
			if got := r.store.Loads() - before; got != c.loads {
				t.Errorf("the store was asked %d times, want %d", got, c.loads)
			}
			if c.later < 0 {
				return
			}
			wantLoaded(t, r, alice, token)
			if got := r.store.Loads() - before; got != c.loads {
				t.Errorf("the store was asked %d times after that, want %d", got, c.loads)
			}
		})
	}
}

func TestTierCostsRedisNoCommandForAHit(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store, clock := open(t, server.URL(), "p"), newClock()
	remembering := newTier(t, cache.TierParts{Store: store, TTL: memoryTTL, Now: clock.Now})
	off := newTier(t, cache.TierParts{Store: store, TTL: 0, Now: clock.Now})
	token := sessiontest.NewToken(alice, clock.Now())
	save(t, store, token)
	load := func(tier *cache.Tier, times int) func() {
		return func() {
			for range times {
				wantLoaded(t, tier, alice, token)
			}
		}
	}
	for _, step := range []struct {
		name string
		work func()
		want map[string]int
	}{
		{"the first loads", load(remembering, 10), map[string]int{"get": 1}},
		{"hits", load(remembering, 10), map[string]int{}},
		{"after the TTL", func() { clock.advance(memoryTTL); load(remembering, 10)() }, map[string]int{"get": 1}},
		{"after a drop", func() { remembering.Drop(alice, session.TokenID{}); load(remembering, 10)() }, map[string]int{"get": 1}},
		{"after a doubt", func() { remembering.Doubt(); load(remembering, 10)() }, map[string]int{"get": 1}},
		{"switched off", load(off, 10), map[string]int{"get": 10}},
	} {
		if diff := cmp.Diff(step.want, counted(step.work, server)); diff != "" {
			t.Errorf("%s: commands (-want +got):\n%s", step.name, diff)
		}
	}
}

// gate is a store whose answers are held back until release is closed; entered is closed when the first is there.
type gate struct {
	session.Store
	once             sync.Once
	entered, release chan struct{}
}

func newGate(store session.Store) *gate {
	return &gate{Store: store, entered: make(chan struct{}), release: make(chan struct{})}
}

func (g *gate) wait() {
	g.once.Do(func() {
		close(g.entered)
		<-g.release
	})
}

func (g *gate) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	token, err := g.Store.Look(ctx, client)
	g.wait()
	return token, err
}

func (g *gate) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	kept, err := g.Store.Commit(ctx, token, seen)
	g.wait()
	return kept, err
}

func TestAnswerOvertakenByAChangeIsNotServedAsAFreshOne(t *testing.T) {
	t.Parallel()
	old, next := newToken(alice), newToken(alice)
	old.Fence, next.Fence = 1, 2
	replaced := func(t *testing.T, store session.Store, tier *cache.Tier) {
		t.Helper()
		_, err := store.Commit(t.Context(), next, 1)
		must(t, err)
		tier.Drop(alice, session.TokenID{})
	}
	for name, c := range map[string]struct {
		ask, change func(*testing.T, session.Store, *cache.Tier)
		want        session.Token
	}{
		"a look, by another's token": {
			ask:    func(t *testing.T, _ session.Store, tier *cache.Tier) { _, _ = tier.Look(t.Context(), alice) },
			change: replaced, want: next,
		},
		"a look, by our own forget": {
			ask: func(t *testing.T, _ session.Store, tier *cache.Tier) { _, _ = tier.Look(t.Context(), alice) },
			change: func(t *testing.T, _ session.Store, tier *cache.Tier) {
				wantMatch(t, session.MatchSame)(tier.Forget(t.Context(), alice, old.ID))
			},
		},
		"a commit, by another's token": {
			ask:    func(t *testing.T, _ session.Store, tier *cache.Tier) { _, _ = tier.Commit(t.Context(), old, 0) },
			change: replaced, want: next,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &sessiontest.Store{}
			save(t, store, old)
			gate := newGate(store)
			tier := newTier(t, cache.TierParts{Store: gate, TTL: hour})
			var group sync.WaitGroup
			group.Go(func() { c.ask(t, store, tier) })
			<-gate.entered
			c.change(t, store, tier)
			close(gate.release)
			group.Wait()
			wantLoaded(t, tier, alice, c.want)
		})
	}
}

func TestTierIsBoundedByItsEntries(t *testing.T) {
	t.Parallel()
	const entries = 100
	synctest.Test(t, func(t *testing.T) {
		store := &sessiontest.Store{}
		tier := newTier(t, cache.TierParts{Store: store, Entries: entries, TTL: hour})
		for i := range 10 * entries {
			save(t, tier, newToken(session.ClientID("client"+strconv.Itoa(i))))
		}
		synctest.Wait() // for the evictions
		store.Break(errDown)
		remembered := 0
		for i := range 10 * entries {
			if _, err := tier.Load(t.Context(), session.ClientID("client"+strconv.Itoa(i))); err == nil {
				remembered++
			}
		}
		if remembered > entries || remembered < entries/2 {
			t.Errorf("%d tokens are remembered, want %d or a little less", remembered, entries)
		}
	})
}

func TestTierForgetsATokenWhenItExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &sessiontest.Store{}
		tier := newTier(t, cache.TierParts{Store: store, TTL: hour})
		token := newToken(alice)
		save(t, tier, token)
		store.Break(errDown)
		time.Sleep(day - time.Minute)
		wantLoaded(t, tier, alice, token)
		time.Sleep(2 * time.Minute)
		if got, err := tier.Load(t.Context(), alice); !errors.Is(err, errDown) || !got.IsZero() {
			t.Errorf("Load = %+v, %v; want the store's error", got, err)
		}
	})
}

func TestTierServesWhatItSawWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	for name, pass := range map[string]func(rig, session.Token) session.Token{
		"a token committed": func(r rig, token session.Token) session.Token {
			save(r.t, r, token)
			return token
		},
		"a token loaded": func(r rig, token session.Token) session.Token {
			save(r.t, r.store, token)
			wantLoaded(r.t, r, alice, token)
			return token
		},
		"a token loaded, though messages were lost": func(r rig, token session.Token) session.Token {
			save(r.t, r.store, token)
			wantLoaded(r.t, r, alice, token)
			r.Doubt()
			return token
		},
		"a token of which it heard that it is the one": func(r rig, token session.Token) session.Token {
			save(r.t, r.store, token)
			wantLoaded(r.t, r, alice, token)
			r.Drop(alice, token.ID)
			return token
		},
		"a token committed and slid": func(r rig, token session.Token) session.Token {
			save(r.t, r, token)
			token.ActiveAt = token.ActiveAt.Add(hour)
			wantMatch(r.t, session.MatchSame)(r.Slide(r.t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
			return token
		},
		"a token slid while the store fails": func(r rig, token session.Token) session.Token {
			save(r.t, r, token)
			r.store.Break(errDown)
			token.ActiveAt = token.ActiveAt.Add(hour)
			wantMatch(r.t, session.MatchSame)(r.Slide(r.t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
			return token
		},
		"a token slid elsewhere and looked at": func(r rig, token session.Token) session.Token {
			save(r.t, r, token)
			token.ActiveAt = token.ActiveAt.Add(hour)
			wantMatch(r.t, session.MatchSame)(r.store.Slide(r.t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
			r.clock.advance(memoryTTL)
			wantLoaded(r.t, r, alice, token)
			return token
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			want := pass(r, r.token())
			r.store.Break(errDown)
			wantLoaded(t, r, alice, want)
			r.clock.advance(10 * memoryTTL)
			wantLoaded(t, r, alice, want)
			if got, err := r.Look(t.Context(), alice); err != nil || got.ID != want.ID {
				t.Errorf("Look = %+v, %v; want it from memory", got, err)
			}
		})
	}
}

func TestTierReturnsTheErrorForWhatItDidNotSee(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	save(t, r.store, r.token())
	r.store.Break(errDown)
	if token, err := r.Load(t.Context(), alice); !errors.Is(err, errDown) || !token.IsZero() {
		t.Errorf("Load = %+v, %v; want the store's error", token, err)
	}
	for _, id := range []session.TokenID{{}, r.token().ID} {
		if match, err := r.Slide(t.Context(), session.Move{Client: alice, ID: id, At: r.clock.Now()}); !errors.Is(err, errDown) {
			t.Errorf("Slide = %v, %v; want the store's error", match, err)
		}
	}
}

func TestTokenMintedWhileTheStoreIsDownIsWrittenBackUnlessANewerOneIsThere(t *testing.T) {
	t.Parallel()
	const none = -1
	for name, c := range map[string]struct {
		ours, seen   uint64        // the fence of our token, and what its lease saw
		theirs       int           // the fence of what is there when the store is back
		minted       time.Duration // when that was minted, after ours
		want         bool          // ours
		wantsSuspect bool
	}{
		"alone, nothing is there":                            {theirs: none, want: true},
		"alone, an older one is there":                       {theirs: 3, minted: -hour, want: true, wantsSuspect: true},
		"alone, one of the same moment is there":             {theirs: 3, want: true, wantsSuspect: true},
		"alone, one newer by a moment is there":              {theirs: 3, minted: time.Millisecond, wantsSuspect: true},
		"leased, nothing is there":                           {ours: 5, theirs: none, want: true},
		"leased, what the lease saw is there":                {ours: 5, seen: 4, theirs: 4, want: true},
		"leased, one minted meanwhile is there":              {ours: 5, seen: 3, theirs: 4, want: true, wantsSuspect: true},
		"leased, one of a later lease is there":              {ours: 5, seen: 3, theirs: 6, wantsSuspect: true},
		"leased, one of a later lease, though minted before": {ours: 5, theirs: 6, minted: -hour, wantsSuspect: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.store.Break(errDown)
			ours, theirs := r.token(), sessiontest.NewToken(alice, r.clock.Now().Add(c.minted))
			ours.Fence = c.ours
			r.commitDown(ours, c.seen)
			wantLoaded(t, r, alice, ours)
			r.store.Break(nil)
			if c.theirs != none {
				theirs.Fence = uint64(c.theirs)
				save(t, r.store, theirs)
			}
			want := theirs
			if c.want {
				want = inDoubt(ours, r.clock.Now())
				want.Fence = max(want.Fence, theirs.Fence)
			}
			want.Suspect = c.wantsSuspect
			wantLoaded(t, r, alice, want)
			wantLoaded(t, r.store, alice, want)
			// It was told once: what the store says from now on stands.
			wantMatch(t, session.MatchSame)(r.store.Forget(t.Context(), alice, want.ID))
			if got, err := r.Look(t.Context(), alice); !got.IsZero() || err != nil {
				t.Errorf("Look = %+v, %v; want it gone", got, err)
			}
		})
	}
}

// readOnly is a store that can be read and not written, such as a replica after a failover.
type readOnly struct{ session.Store }

func (readOnly) Commit(context.Context, session.Token, uint64) (session.Token, error) {
	return session.Token{}, errDown
}

func (readOnly) Restore(context.Context, session.Token) (session.Token, error) {
	return session.Token{}, errDown
}

func TestTokenThatCanNotBeWrittenBackYetIsServedAllTheSame(t *testing.T) {
	t.Parallel()
	store := &sessiontest.Store{}
	tier := newTier(t, cache.TierParts{Store: readOnly{store}, TTL: hour})
	token := newToken(alice)
	if _, err := tier.Commit(t.Context(), token, 0); !errors.Is(err, errDown) {
		t.Errorf("Commit: %v", err)
	}
	for range 3 {
		wantLoaded(t, tier, alice, token)
		if got, err := tier.Look(t.Context(), alice); err != nil || got.ID != token.ID {
			t.Errorf("Look = %+v, %v; want the token", got, err)
		}
	}
}

func TestWriteBackIsTriedAgainIfTheStoreFailsAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	token := r.token()
	r.commitDown(token, 0)
	for range 3 {
		wantLoaded(t, r, alice, token)
	}
	r.store.Break(nil)
	token = inDoubt(token, r.clock.Now())
	wantLoaded(t, r, alice, token)
	wantLoaded(t, r.store, alice, token)
	before := r.store.Loads()
	wantLoaded(t, r, alice, token)
	if got := r.store.Loads() - before; got != 0 {
		t.Errorf("the store was asked %d times for what it knows by now", got)
	}
}

func TestTokenSlidWhileTheStoreIsDownKeepsItsSlideWhenWrittenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	token := r.token()
	r.commitDown(token, 0)
	r.clock.advance(hour)
	token.ActiveAt = token.ActiveAt.Add(hour)
	wantMatch(t, session.MatchSame)(r.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
	wantLoaded(t, r, alice, token)
	r.store.Break(nil)
	token = inDoubt(token, r.clock.Now())
	wantLoaded(t, r, alice, token)
	wantLoaded(t, r.store, alice, token)
}

// Another replica may have minted meanwhile, and the store may have lost what it was told of that.
func TestTokenThatTheStoreIsToldOfLateIsAskedForOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	token := r.token()
	r.commitDown(token, 0)
	r.clock.advance(2 * time.Second)
	r.store.Break(nil)
	got, err := r.Look(t.Context(), alice)
	must(t, err)
	wantLoaded(t, r.store, alice, got)
	if action := portal().Decide(got, r.clock.Now(), session.Need{}).Action; action != session.Refresh {
		t.Errorf("a fetch would %s it, want it refreshed", action)
	}
	got.ActiveAt = r.clock.Now()
	if action := portal().Decide(got, r.clock.Now().Add(hour), session.Need{}).Action; action != session.Serve {
		t.Errorf("after that a fetch would %s it, want it served", action)
	}
}

func TestForgetWhileTheStoreIsDownIsAnErrorAndTheMemoryForgets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	save(t, r, token)
	r.store.Break(errDown)
	if match, err := r.Forget(t.Context(), alice, token.ID); !errors.Is(err, errDown) {
		t.Errorf("Forget = %v, %v; want the store's error", match, err)
	}
	wantLoaded(t, r, alice, session.Token{})
	r.store.Break(nil)
	wantLoaded(t, r.store, alice, token) // it was not told
	r.Settle(t.Context())
	wantLoaded(t, r.store, alice, session.Token{})
	wantLoaded(t, r, alice, session.Token{})
}

func TestTokenThatChangedElsewhereIsNotServedWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	save(t, r, r.token())
	r.Drop(alice, newToken(alice).ID)
	r.store.Break(errDown)
	if got, err := r.Load(t.Context(), alice); !errors.Is(err, errDown) || !got.IsZero() {
		t.Errorf("Load = %+v, %v; want the store's error", got, err)
	}
}

func TestActivityThatTheStoreMissedIsToldLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	save(t, r, token)
	r.store.Break(errDown)
	token.ActiveAt = token.ActiveAt.Add(hour)
	wantMatch(t, session.MatchSame)(r.Slide(t.Context(), session.Move{Client: alice, ID: token.ID, At: token.ActiveAt}))
	r.store.Break(nil)
	r.Settle(t.Context())
	wantLoaded(t, r.store, alice, token)
	wantLoaded(t, r, alice, token)
}

func TestTokenMintedWhileTheStoreFailedIsToldWithoutAFetch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	token := r.token()
	r.commitDown(token, 0)
	r.store.Break(nil)
	r.Settle(t.Context())
	wantLoaded(t, r.store, alice, inDoubt(token, r.clock.Now()))
}

func TestTokenMintedAndForgottenWhileTheStoreIsDownStaysForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store.Break(errDown)
	token := r.token()
	r.commitDown(token, 0)
	if _, err := r.Forget(t.Context(), alice, token.ID); !errors.Is(err, errDown) {
		t.Errorf("Forget: %v, want the store's error", err)
	}
	r.store.Break(nil)
	wantLoaded(t, r, alice, session.Token{})
	wantLoaded(t, r.store, alice, session.Token{})
}

func TestForgetOfAnotherTokenWhileTheStoreIsDownLeavesTheOneServed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	save(t, r, token)
	r.store.Break(errDown)
	if _, err := r.Forget(t.Context(), alice, r.token().ID); !errors.Is(err, errDown) {
		t.Errorf("Forget: %v, want the store's error", err)
	}
	wantLoaded(t, r, alice, token)
}

func TestMissOfAWorkingStoreDropsTheMemorysCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.token()
	save(t, r, token)
	wantMatch(t, session.MatchSame)(r.store.Forget(t.Context(), alice, token.ID)) // by another replica
	r.clock.advance(memoryTTL)
	wantLoaded(t, r, alice, session.Token{})
	r.store.Break(errDown)
	if got, err := r.Load(t.Context(), alice); err == nil || !got.IsZero() {
		t.Errorf("Load = %+v, %v; want nothing: it was gone", got, err)
	}
}

func TestUnreadableRecordIsNotCoveredByTheMemorysCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	save(t, r, r.token())
	r.store.Break(session.ErrRecordUnreadable)
	if got, err := r.Look(t.Context(), alice); !errors.Is(err, session.ErrRecordUnreadable) || !got.IsZero() {
		t.Errorf("Look = %+v, %v; want ErrRecordUnreadable", got, err)
	}
}

func TestTierIsSafeForConcurrentUseWhileTheStoreComesAndGoes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tokens := []session.Token{r.token(), r.token()}
	tokens[1].Client = "other"
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 200 {
				token := tokens[(i+n)%2]
				switch n % 8 {
				case 0:
					r.store.Break(errDown)
				case 3:
					r.store.Break(nil)
				case 4:
					_, _ = r.Slide(t.Context(), session.Move{Client: token.Client, ID: token.ID, At: r.clock.Now()})
				case 5:
					_, _ = r.Forget(t.Context(), token.Client, token.ID)
				case 6:
					r.Drop(token.Client, session.TokenID{})
				case 7:
					r.Doubt()
				default:
					_, _ = r.Commit(t.Context(), token, 0)
				}
				if got, _ := r.Load(t.Context(), token.Client); !got.IsZero() && (got.ID != token.ID || got.Client != token.Client) {
					t.Errorf("loaded another client's token: %+v", got)
				}
			}
		})
	}
	group.Wait()
}

func TestTokenMintedWhileRedisWasDeadIsInRedisOnceItIsBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := open(t, server.URL(), "p")
	clock := newClock()
	tier := newTier(t, cache.TierParts{Store: store, TTL: hour, Now: clock.Now})
	server.Kill()
	token := sessiontest.NewToken(alice, clock.Now())
	if _, err := tier.Commit(t.Context(), token, 0); err == nil {
		t.Error("committed in a dead Redis")
	}
	wantLoaded(t, tier, alice, token)
	server.Restart()
	reach(t, store, alice)
	token = inDoubt(token, clock.Now())
	wantLoaded(t, tier, alice, token)
	wantLoaded(t, store, alice, token)
}

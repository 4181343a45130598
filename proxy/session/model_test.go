package session_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// What callers need, and what passes between them: around the bounds of a token's life.
var (
	lives = []time.Duration{0, time.Minute, 3 * time.Minute, hour, 6 * hour, 20 * hour, day - time.Millisecond, day}
	steps = []time.Duration{
		time.Millisecond, time.Second, 30 * time.Second, 10 * time.Minute, hour, 4 * hour, 11 * hour, 13 * hour, 20 * hour,
		day - 5*time.Minute, day - 3*time.Minute, day - time.Minute, day, 3 * day,
	}
)

// fleet is a few replicas on one store, before one Portal, and all that must hold of what they hand out. Steps are
// one after another; the callers of one step are there at once, and flights may outlast the step that began them.
type fleet struct {
	t        *rapid.T
	life     session.Lifetime
	store    *noting
	line     *line
	replicas []*session.Broker
	// held :: client -> the token that the client was granted last
	held map[session.ClientID]session.Token
	// killed tokens are dead at Portal, and maybe nobody knows.
	killed map[session.TokenID]bool
	// gone tokens were forgotten, or are known to be dead: they must not be granted any more.
	gone map[session.TokenID]bool
}

// line is the replicas' way to Portal. It can be slow, or cut, and it checks the reason of every mint.
type line struct {
	*sessiontest.Portal
	life     session.Lifetime
	store    *noting
	replicas int

	mu    sync.Mutex
	delay time.Duration
	cut   bool
	// lives :: client -> the longest life that a caller of this step needs
	lives map[session.ClientID]time.Duration
	// rejecting :: token -> whether a caller of this step saw it rejected
	rejecting map[session.TokenID]bool
	// refused :: token -> when Portal last refused it to a replica
	refused map[session.TokenID]time.Time
	// wrong is what a mint should not have happened for.
	wrong []string
	mints map[session.Reason]int
}

// noting is a store that remembers the token that it last dropped for a client, and when it last changed.
type noting struct {
	*sessiontest.Store
	mu      sync.Mutex
	dropped map[session.ClientID]session.TokenID
	changed map[session.ClientID]time.Time
}

func (s *noting) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed[token.Client] = time.Now()
	return s.Store.Commit(ctx, token, seen)
}

func (s *noting) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (session.Match, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, _ := s.Load(ctx, client)
	match, err := s.Store.Forget(ctx, client, id)
	if match == session.MatchSame {
		s.dropped[client], s.changed[client] = token.ID, time.Now()
	}
	return match, err
}

func (s *noting) last(client session.ClientID) (dropped session.TokenID, changed time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped[client], s.changed[client]
}

func (l *line) pass(ctx context.Context) error {
	l.mu.Lock()
	delay := l.delay
	l.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return session.ErrPortalTimeout
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return session.ErrPortalUnavailable
	}
	return nil
}

func (l *line) Probe(ctx context.Context, token session.Token) error {
	if err := l.pass(ctx); err != nil {
		return err
	}
	err := l.Portal.Probe(ctx, token)
	if errors.Is(err, session.ErrTokenRejected) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refused[token.ID] = time.Now()
	}
	return err
}

func (l *line) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	l.judge(ctx, client, reason)
	if err := l.pass(ctx); err != nil {
		return session.Token{}, err
	}
	return l.Portal.Mint(ctx, client, reason)
}

// judge checks, at the moment of the decision, that the mint was due for the reason given.
func (l *line) judge(ctx context.Context, client session.ClientID, reason session.Reason) {
	cached, _ := l.store.Load(ctx, client)
	dropped, changed := l.store.last(client)
	now, window := time.Now(), cached.MintedAt.Add(l.life.RefreshWindow)
	idle := cached.ActiveAt.Add(l.life.IdleTTL)
	l.mu.Lock()
	defer l.mu.Unlock()
	ended := func(end time.Time) bool { return !now.Before(end.Add(-l.life.SafetyMargin)) }
	allowed := map[session.Reason]bool{
		session.Absent:       cached.IsZero(),
		session.IdleExpired:  !cached.IsZero() && ended(idle) && idle.Before(window),
		session.WindowClosed: !cached.IsZero() && !window.After(now.Add(max(l.lives[client], l.life.MinTTL, l.life.SafetyMargin))),
		session.Ahead:        l.life.MintAhead > 0 && l.life.Live(cached, now) && !now.Before(l.life.AheadAt(cached)),
		session.Rejected:     cached.IsZero() && (l.rejecting[dropped] || l.refused[dropped].Equal(now)),
	}
	// Two replicas may decide at the same moment, and a caller may report a token while a flight decides on it. Then what
	// was decided on is not there any more.
	raced := changed.Equal(now) && (l.replicas > 1 || l.rejecting[dropped])
	if !slices.Contains(session.Reasons(), reason) || !allowed[reason] && !raced {
		l.wrong = append(l.wrong, string(reason)+" for "+string(client)+" at "+now.String()+": cached minted "+
			cached.MintedAt.String()+", active "+cached.ActiveAt.String())
	}
	l.mints[reason]++
}

// longest is how long a request to Portal may take. What a caller gets may have been asked for that long ago.
const longest = 2500 * time.Millisecond

// caller is one fetch, and what came of it.
type caller struct {
	ask     session.Ask
	replica *session.Broker
	grant   session.Grant
	err     error
	took    time.Duration
	// accepted: Portal would have accepted the token when it was handed out.
	accepted bool
}

func (c *caller) fetch(f *fleet) {
	began := time.Now()
	c.grant, c.err = c.replica.Grant(f.t.Context(), c.ask)
	c.took, c.accepted = time.Since(began), f.line.Accepts(c.grant.Token)
	if c.err == nil && f.life.Refresh == session.RefreshAssume {
		// Who configures this mode promises that a token fetched is used.
		_ = f.line.Portal.Probe(f.t.Context(), c.grant.Token)
	}
}

func (f *fleet) client() session.ClientID {
	return rapid.SampledFrom([]session.ClientID{alice, bob}).Draw(f.t, "client")
}

func (f *fleet) replica() *session.Broker {
	return f.replicas[rapid.IntRange(0, len(f.replicas)-1).Draw(f.t, "replica")]
}

// fetches lets a few callers fetch at once.
func (f *fleet) fetches(*rapid.T) {
	callers := make([]*caller, rapid.IntRange(1, 4).Draw(f.t, "callers"))
	before, gone := map[session.ClientID]session.Token{}, maps.Clone(f.gone)
	f.line.mu.Lock()
	f.line.lives, f.line.rejecting = map[session.ClientID]time.Duration{}, map[session.TokenID]bool{}
	for i := range callers {
		c := &caller{ask: session.Ask{Client: f.client()}, replica: f.replica()}
		if rapid.IntRange(0, 2).Draw(f.t, "explicit") == 0 {
			c.ask.Need = explicit(rapid.SampledFrom(lives).Draw(f.t, "life"))
			f.line.lives[c.ask.Client] = max(f.line.lives[c.ask.Client], c.ask.Need.Life)
		}
		if rapid.IntRange(0, 9).Draw(f.t, "rejecting") == 0 {
			c.ask.Need.Rejected = f.held[c.ask.Client].ID
			f.line.rejecting[c.ask.Need.Rejected] = true
		}
		before[c.ask.Client], _ = f.store.Load(f.t.Context(), c.ask.Client)
		callers[i] = c
	}
	f.line.mu.Unlock()
	var group sync.WaitGroup
	for _, c := range callers {
		group.Go(func() { c.fetch(f) })
	}
	group.Wait()
	for _, c := range callers {
		f.check(c, before[c.ask.Client], gone)
	}
	for _, token := range before {
		if f.line.rejecting[token.ID] {
			f.gone[token.ID] = true
		}
	}
}

// check holds what a caller got against what must be.
func (f *fleet) check(c *caller, before session.Token, gone map[session.TokenID]bool) {
	if c.err != nil {
		f.checkError(c, before)
		return
	}
	token, need := c.grant.Token, c.ask.Need
	left := f.life.ExpiresAt(token).Sub(c.grant.At)
	switch {
	case !slices.Contains(session.Sources(), c.grant.Source):
		f.t.Fatalf("granted from %q", c.grant.Source)
	case token.Client != c.ask.Client:
		f.t.Fatalf("%s was granted a token of %s", c.ask.Client, token.Client)
	case !c.accepted && !f.killed[token.ID]:
		f.t.Fatalf("granted from %s a token that Portal refuses: minted %s, active %s, now %s",
			c.grant.Source, token.MintedAt, token.ActiveAt, c.grant.At)
	case gone[token.ID]:
		f.t.Fatalf("granted from %s a token that was forgotten or found dead", c.grant.Source)
	case token.ID == need.Rejected:
		f.t.Fatalf("granted from %s the token that the caller rejected", c.grant.Source)
	case left <= f.life.SafetyMargin:
		f.t.Fatalf("granted from %s with %s left", c.grant.Source, left)
	case need.Explicit && left < need.Life-longest:
		f.t.Fatalf("granted from %s with %s left, wanted %s", c.grant.Source, left, need.Life)
	}
	f.held[token.Client] = token
}

// checkError: there is one only if Portal can't be asked, and the token that was there does not do.
func (f *fleet) checkError(c *caller, before session.Token) {
	if !f.line.cut || !errors.Is(c.err, session.ErrPortalUnavailable) {
		f.t.Fatalf("granted nothing: %v, cut: %t", c.err, f.line.cut)
	}
	need := max(f.life.SafetyMargin, c.ask.Need.Life) + 4*longest
	if !before.IsZero() && !f.line.rejecting[before.ID] && f.life.ExpiresAt(before).Sub(c.began()) > need {
		f.t.Fatalf("granted nothing, with %s left: %v", f.life.ExpiresAt(before).Sub(c.began()), c.err)
	}
}

func (c *caller) began() time.Time { return time.Now().Add(-c.took) }

// activity lets a client use its token, and maybe the backend report it, maybe a little late.
func (f *fleet) activity(*rapid.T) {
	token := f.held[f.client()]
	if token.IsZero() || f.line.Portal.Probe(f.t.Context(), token) != nil {
		return
	}
	late := rapid.IntRange(-1, 45).Draw(f.t, "late")
	if late < 0 {
		return
	}
	time.Sleep(time.Duration(late) * time.Second)
	id := token.ID
	cached, _ := f.store.Load(f.t.Context(), token.Client)
	if cached.ID == id && rapid.Bool().Draw(f.t, "nameless") {
		id = session.TokenID{}
	}
	want := map[session.TokenID]error{{}: session.ErrClientNotFound, token.ID: nil}
	wanted, ok := want[cached.ID]
	if !ok {
		wanted = session.ErrTokenMismatch
	}
	if err := f.replica().NoteActivity(f.t.Context(), token.Client, id); !errors.Is(err, wanted) {
		f.t.Fatalf("activity: %v, want %v", err, wanted)
	}
}

// trouble is what ends tokens early; more of it, and none would live to its window's end.
func (f *fleet) trouble(*rapid.T) {
	if rapid.IntRange(0, 2).Draw(f.t, "luck") > 0 {
		return
	}
	rapid.SampledFrom([]func(){f.forget, f.wipe, f.kill, f.kill}).Draw(f.t, "trouble")()
}

func (f *fleet) forget() {
	client := f.client()
	cached, _ := f.store.Load(f.t.Context(), client)
	if err := f.replica().Forget(f.t.Context(), client); err != nil {
		f.t.Fatalf("forget: %v", err)
	}
	f.gone[cached.ID] = true
}

func (f *fleet) wipe() {
	for _, client := range []session.ClientID{alice, bob} {
		cached, _ := f.store.Load(f.t.Context(), client)
		_, _ = f.store.Forget(f.t.Context(), client, session.TokenID{})
		f.gone[cached.ID] = true
	}
}

func (f *fleet) kill() {
	id := f.held[f.client()].ID
	f.line.Kill(id)
	f.killed[id] = true
}

func (f *fleet) weather(*rapid.T) {
	f.line.mu.Lock()
	defer f.line.mu.Unlock()
	f.line.cut = rapid.IntRange(0, 2).Draw(f.t, "cut") == 0
	f.line.delay = rapid.SampledFrom([]time.Duration{
		0, 0, 30 * time.Millisecond, 700 * time.Millisecond, time.Second, longest,
	}).Draw(f.t, "delay")
}

func (f *fleet) step(*rapid.T) {
	time.Sleep(rapid.SampledFrom(steps).Draw(f.t, "step") + time.Duration(rapid.IntRange(-1, 1).Draw(f.t, "ms"))*time.Millisecond)
}

// check is what holds between the steps.
func (f *fleet) between(*rapid.T) {
	synctest.Wait()
	f.line.mu.Lock()
	defer f.line.mu.Unlock()
	for _, wrong := range f.line.wrong {
		f.t.Fatalf("minted as %s", wrong)
	}
	for id := range f.line.refused {
		f.gone[id] = true
	}
}

func TestNoHistoryOfAFleetGrantsADeadTokenOrMintsWithoutAReason(t *testing.T) {
	t.Parallel()
	total := map[session.Reason]int{}
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			f := newFleet(t)
			defer f.end()
			t.Repeat(map[string]func(*rapid.T){
				"": f.between, "fetch": f.fetches, "fetch again": f.fetches, "step": f.step, "step again": f.step,
				"activity": f.activity, "weather": f.weather, "trouble": f.trouble,
			})
			for reason, n := range f.line.mints {
				total[reason] += n
			}
		})
	})
	t.Logf("mints: %v", total)
}

func newFleet(t *rapid.T) *fleet {
	life := portal()
	life.RefreshWindow = rapid.SampledFrom([]time.Duration{25 * hour, 2 * day, 7 * day}).Draw(t, "window")
	most := life.RefreshWindow - life.IdleTTL
	life.MintAhead = rapid.SampledFrom([]time.Duration{0, most / 2, most - time.Millisecond}).Draw(t, "ahead")
	life.Refresh = rapid.SampledFrom([]session.RefreshMode{
		session.RefreshProbe, session.RefreshObserve, session.RefreshAssume,
	}).Draw(t, "mode")
	store := &noting{
		Store: &sessiontest.Store{}, dropped: map[session.ClientID]session.TokenID{}, changed: map[session.ClientID]time.Time{},
	}
	replicas := rapid.IntRange(1, 2).Draw(t, "replicas")
	f := &fleet{
		t: t, life: life, store: store,
		line: &line{
			Portal: &sessiontest.Portal{Lifetime: life, Now: time.Now}, life: life, store: store, replicas: replicas,
			refused: map[session.TokenID]time.Time{}, mints: map[session.Reason]int{},
		},
		held: map[session.ClientID]session.Token{}, killed: map[session.TokenID]bool{}, gone: map[session.TokenID]bool{},
	}
	for range replicas {
		f.replicas = append(f.replicas, session.NewBroker(session.Parts{
			Store: store, Leaser: store, Registry: store, Portal: f.line, Lifetime: life, StoreDown: session.StoreDownMint,
			Deadline: deadline, Now: time.Now, Sent: time.Now, Log: slog.New(slog.DiscardHandler),
		}))
	}
	return f
}

// end cancels whatever still flies.
func (f *fleet) end() {
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel()
	for _, replica := range f.replicas {
		replica.Close(ctx)
	}
}

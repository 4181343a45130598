package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// What the proxy has unless it is told otherwise.
const (
	portalTimeout = 10 * time.Second
	flightTime    = 2 * portalTimeout
	memoryTTL     = 30 * time.Second
	memoryEntries = 100_000
	perMinute     = 200
	// roundTrip is how long a request takes to Portal.
	roundTrip = 80 * time.Millisecond
)

func shippedLife() session.Lifetime {
	return session.Lifetime{
		IdleTTL: 24 * time.Hour, RefreshWindow: 168 * time.Hour, SafetyMargin: time.Minute, MinTTL: 5 * time.Minute, Refresh: session.RefreshProbe,
	}
}

// simulated is a Portal that counts what it is asked.
type simulated interface {
	session.Portal
	// accepts reports whether a request with the token would be answered now.
	accepts(session.Secret) bool
	counts() portaltest.Stats
}

// fleet is some replicas before one Portal, wired as the proxy is but for what they share: one store in memory stands for
// Redis, and one budget for the count that is kept there.
type fleet struct {
	portal   simulated
	books    *books
	replicas []*replica
	life     session.Lifetime
	// passed is told that time passed; it may be nil.
	passed func()
	close  func()
}

type replica struct {
	broker *session.Broker
	tier   *cache.Tier
}

// store is what a fleet shares.
type store interface {
	session.Store
	session.Leaser
	session.Registry
}

// link is one replica's way to what the fleet shares.
type link struct {
	store   store
	restore func(context.Context, session.Token) (session.Token, error)
	budget  session.Budget
	// changed is given what the replica remembers, which is to be told of what others change.
	changed func(*cache.Tier)
}

func newFleet(life session.Lifetime, portal simulated, links []link) *fleet {
	f := &fleet{portal: portal, books: &books{mints: map[session.Reason]int64{}, began: time.Now()}, life: life}
	for _, l := range links {
		f.replicas = append(f.replicas, f.join(l))
	}
	return f
}

// join wires a replica, as the proxy's own wire does.
func (f *fleet) join(l link) *replica {
	key := session.NewSecret(portaltest.DefaultKey)
	paced := portal.NewPaced(f.portal, l.budget)
	guard := portal.NewGuard(portal.GuardParts{
		Next: portal.NewRetry(paced), CheckKey: func(context.Context) error { return nil }, Budget: l.budget,
		Key: func() session.Secret { return key }, Refused: func() {}, Succeed: func(context.Context, session.Secret) {},
	})
	r := &replica{tier: cache.NewTier(cache.TierParts{
		Store: l.store, Restore: l.restore, Lifetime: f.life, Entries: memoryEntries, TTL: memoryTTL, Now: time.Now, Sent: time.Now, Meter: f.books,
	})}
	_ = r.tier.Close() // see linked
	l.changed(r.tier)
	r.broker = session.NewBroker(session.Parts{
		Store: r.tier, Leaser: l.store, Registry: l.store, Portal: &bookkeeper{guard, f.books}, Lifetime: f.life, StoreDown: session.StoreDownMint,
		Limits: session.Limits{Waiting: 4000, Flights: 500}, Deadline: flightTime, Now: time.Now, Sent: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	return r
}

// end waits for what is under way.
func (f *fleet) end(ctx context.Context) {
	for _, r := range f.replicas {
		r.broker.Close(ctx)
	}
	if f.close != nil {
		f.close()
	}
}

// books is what is known of a run.
type books struct {
	hits, misses     atomic.Int64
	fetches, expired atomic.Int64
	deferred         atomic.Int64

	mu     sync.Mutex
	mints  map[session.Reason]int64
	failed error
	// waits are how long those waited who did wait.
	waits []wait
	// hourly :: hour since the trace began -> mints in it
	hourly []int64
	began  time.Time
	// renewals are the fetches on the day on which the windows of a launch close.
	renewals atomic.Int64
}

// wait is how long a fetch took that began so long after the trace.
type wait struct{ at, long time.Duration }

func (b *books) MemoryHit()  { b.hits.Add(1) }
func (b *books) MemoryMiss() { b.misses.Add(1) }

func (b *books) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil {
		b.failed = err
	}
}

// bookkeeper counts the mints of those that ask Portal.
type bookkeeper struct {
	session.Portal
	books *books
}

// Mint implements [session.Portal].
func (k *bookkeeper) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	token, err := k.Portal.Mint(ctx, client, reason)
	if err == nil {
		k.books.minted(reason)
	}
	return token, err
}

func (b *books) minted(reason session.Reason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mints[reason]++
	hour := int(time.Since(b.began) / time.Hour)
	for len(b.hourly) <= hour {
		b.hourly = append(b.hourly, 0)
	}
	b.hourly[hour]++
}

// fetch has one caller ask for the client's token until it gets one, which Portal must accept then.
func (f *fleet) fetch(ctx context.Context, on *replica, client session.ClientID) session.Grant {
	began := time.Now()
	for attempt := 0; ; attempt++ {
		grant, err := on.broker.Grant(ctx, session.Ask{Client: client})
		if err == nil {
			f.handedOut(began, grant)
			return grant
		}
		if !f.comeAgain(ctx, err, patienceOf(client, attempt)) {
			return session.Grant{}
		}
	}
}

// patienceOf is how long a caller waits at least who was put off: twice as long each time, up to a minute, and none as long as
// another.
func patienceOf(client session.ClientID, attempt int) time.Duration {
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, client, attempt)
	wait := time.Second << min(attempt, 6)
	return wait/2 + time.Duration(hash.Sum64()%uint64(wait))
}

// comeAgain waits as long as a caller is told to, and at least for the patience.
func (f *fleet) comeAgain(ctx context.Context, err error, patience time.Duration) bool {
	switch {
	case errors.Is(err, session.ErrPortalRateLimited), errors.Is(err, session.ErrOverloaded):
		f.books.deferred.Add(1)
	case errors.Is(err, context.Canceled):
		return false
	default:
		f.books.fail(fmt.Errorf("a fetch failed: %w", err))
		return false
	}
	select {
	case <-time.After(max(session.RetryAfter(err), patience)):
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *fleet) handedOut(began time.Time, grant session.Grant) {
	b := f.books
	b.fetches.Add(1)
	if at := began.Sub(b.began); at >= renewalBegins && at < renewalEnds {
		b.renewals.Add(1)
	}
	if !f.portal.accepts(grant.Token.Secret) {
		b.expired.Add(1)
	}
	if long := time.Since(began); long > 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.waits = append(b.waits, wait{began.Sub(b.began), long})
	}
}

// tiers are what all replicas remember. They are told at once of a token that takes another's place, as messages through
// Redis tell them.
type tiers struct{ all []*cache.Tier }

func (t *tiers) add(tier *cache.Tier) { t.all = append(t.all, tier) }

// telling is a store that tells them.
type telling struct {
	store
	tiers *tiers
}

// Commit implements [session.Store].
func (s telling) Commit(ctx context.Context, token session.Token, seen uint64) (session.Token, error) {
	kept, err := s.store.Commit(ctx, token, seen)
	for _, tier := range s.tiers.all {
		tier.Drop(token.Client, kept.ID)
	}
	return kept, err
}

// shared is a store in memory that a fleet shares, in the place of Redis: it has one lease a client.
type shared struct {
	*cache.Memory

	mu     sync.Mutex
	leases map[session.ClientID]string
}

// linked returns the ways of so many replicas to one store in memory. What closing it ends is that it clears up once a
// second, which nothing that is read depends on; a month has 2.6 million seconds.
func linked(life session.Lifetime, replicas, entries int) []link {
	s := &shared{
		Memory: cache.NewMemory(cache.MemoryParts{Entries: entries, Lifetime: life, Late: flightTime, Now: time.Now}),
		leases: map[session.ClientID]string{},
	}
	_ = s.Close()
	budget := cache.NewBudget(cache.BudgetParts{Limits: limits(), Log: slog.New(slog.DiscardHandler)})
	all := &tiers{}
	links := make([]link, replicas)
	for i := range links {
		links[i] = link{store: telling{s, all}, restore: s.restore, budget: budget, changed: all.add}
	}
	return links
}

// limits are Portal's, as the proxy has them unless told otherwise.
func limits() map[session.Class]cache.Limit {
	limit := cache.Limit{Requests: perMinute, Per: time.Minute}
	return map[session.Class]cache.Limit{session.ClassMint: limit, session.ClassProbe: limit}
}

func (s *shared) restore(ctx context.Context, token session.Token) (session.Token, error) {
	return s.Commit(ctx, token, token.Fence)
}

// Acquire implements [session.Leaser].
func (s *shared) Acquire(ctx context.Context, client session.ClientID, owner string) (session.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if holder, held := s.leases[client]; held && holder != owner {
		return session.Lease{}, session.ErrLeaseBusy
	}
	s.leases[client] = owner
	return s.Memory.Acquire(ctx, client, owner)
}

// LetGo implements [session.Leaser].
func (s *shared) LetGo(_ context.Context, lease session.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leases, lease.Client)
	return nil
}

// Abandon implements [session.Leaser].
func (s *shared) Abandon(ctx context.Context, lease session.Lease) error {
	_ = s.LetGo(ctx, lease)
	return s.Memory.Abandon(ctx, lease)
}

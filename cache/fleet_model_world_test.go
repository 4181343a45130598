package cache_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cstproxy/cstproxy/cache"
	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

const (
	// givenUp is how long the Broker waits for Portal in all; what it gave up may be carried out for as long after that.
	givenUp = sessiontest.Late
	// attempt is how long it waits for one request.
	attempt = givenUp / 2
	// checkUp is how often a replica looks whether the store is well, and missing how long it may be before it is not known
	// any more.
	checkUp = time.Second
	missing = 5 * time.Second
)

// luck draws what no rapid draw can: what happens to requests that are under way at once.
type luck struct {
	mu   sync.Mutex
	rand *rand.Rand
}

func (l *luck) below(n int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rand.Int64N(n)
}

func (l *luck) oneIn(n int64) bool { return l.below(n) == 0 }

func (l *luck) upTo(d time.Duration) time.Duration { return time.Duration(l.below(int64(d) + 1)) }

// pass lets time pass.
func pass(d time.Duration) { <-time.After(d) }

// link is how a replica and the store, or Portal, are connected.
type link int32

const (
	linked link = iota
	// severed: requests don't arrive.
	severed
	// deaf: requests arrive, and the answers are lost.
	deaf
	// crashed: there is no replica any more.
	crashed
)

// member is one replica of the fleet.
type member struct {
	*session.Broker
	world *world
	tier  *cache.Tier
	// store says how it is connected to the store. mute: it gets no messages, and does not notice.
	store atomic.Int32
	mute  atomic.Bool
	skew  time.Duration
	stop  chan struct{}
	ended sync.WaitGroup

	mu sync.Mutex
	// heard is when the latest message comes, so that they come in order.
	heard time.Time
	// leased :: client -> whether it has the client's lease; failed, whether the store failed it since
	leased, failed map[session.ClientID]bool
}

// world is a fleet on one store, before one Portal, and the weather.
type world struct {
	luck   *luck
	life   session.Lifetime
	ttl    time.Duration
	shared *sessiontest.Store
	portal *sessiontest.Portal
	book   *book
	// passed is how much time passed at once, on top of the bubble's.
	passed atomic.Int64
	// early and late are how far the earliest and the latest that the fleet's clock may be lie from the time.
	early, late atomic.Int64
	weather     atomic.Int32
	// lives counts the times that the store was lost.
	lives atomic.Int64
	// open are requests that may be carried out yet, though nobody waits for them any more.
	open atomic.Int64

	mu      sync.Mutex
	members []*member
}

// now is what time it is at Portal.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.passed.Load())) }

func (w *world) all() []*member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*member(nil), w.members...)
}

// join adds a replica, which knows nothing yet.
func (w *world) join(skew time.Duration) *member {
	m := &member{
		world: w, skew: skew, stop: make(chan struct{}),
		leased: map[session.ClientID]bool{}, failed: map[session.ClientID]bool{},
	}
	now := func() time.Time { return w.now().Add(skew + time.Duration(w.late.Load())) }
	sent := func() time.Time { return w.now().Add(skew - time.Duration(w.early.Load())) }
	line := &wire{m}
	m.tier = cache.NewTier(cache.TierParts{
		Store: line, Restore: line.Restore, Lifetime: w.life, Entries: 1000, TTL: w.ttl, Now: now, Sent: sent, Meter: &lookups{},
	})
	m.Broker = session.NewBroker(session.Parts{
		Store: m.tier, Leaser: line, Registry: w.shared, Portal: &road{m}, Lifetime: w.life, StoreDown: session.StoreDownMint,
		Deadline: givenUp, Now: now, Sent: sent, Log: slog.New(slog.DiscardHandler),
	})
	m.ended.Go(m.monitor)
	return m
}

// monitor tells the store what it was not told, each time that it is well.
func (m *member) monitor() {
	lives, well := m.world.lives.Load(), time.Now()
	for {
		select {
		case <-m.stop:
			return
		case <-time.After(checkUp):
		}
		if link(m.store.Load()) != linked {
			continue
		}
		if now := m.world.lives.Load(); now != lives || time.Since(well) > missing {
			lives = now
			m.tier.Lost()
		}
		well = time.Now()
		m.tier.Settle(context.Background())
	}
}

// end ends the replica; how it does so is up to its link to the store.
func (m *member) end(ctx context.Context) {
	m.Close(ctx)
	close(m.stop)
	m.ended.Wait()
	m.tier.Settle(context.Background())
	_ = m.tier.Close()
}

// hear delivers a message, unless it is lost.
func (m *member) hear(client session.ClientID, id session.TokenID) {
	if link(m.store.Load()) != linked || m.mute.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := time.Now().Add(m.world.luck.upTo(20 * time.Millisecond))
	if !at.After(m.heard) {
		at = m.heard.Add(time.Microsecond)
	}
	m.heard = at
	time.AfterFunc(time.Until(at), func() {
		if link(m.store.Load()) != crashed {
			m.tier.Drop(client, id)
		}
	})
}

func (w *world) publish(client session.ClientID, id session.TokenID) {
	for _, m := range w.all() {
		m.hear(client, id)
	}
}

// wire is a replica's way to the store.
type wire struct{ *member }

// send has the store do something for the client, and loses the request or the answer if the link does.
func (w *wire) send(client session.ClientID, do func()) error {
	pass(w.world.luck.upTo(3 * time.Millisecond))
	if to := link(w.store.Load()); to == severed || to == crashed {
		if w.world.luck.oneIn(2) {
			pass(120 * time.Millisecond)
		}
		return w.fail(client)
	}
	w.world.book.change(client, do)
	pass(w.world.luck.upTo(3 * time.Millisecond))
	if link(w.store.Load()) != linked {
		return w.fail(client)
	}
	return nil
}

func (w *wire) fail(client session.ClientID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[client] = true
	return errDown
}

// carried returns what the store answered, or that nothing came.
func carried[V any](lost error, value V, err error) (V, error) {
	if lost != nil {
		var none V
		return none, lost
	}
	return value, err
}

func (w *wire) Load(ctx context.Context, client session.ClientID) (token session.Token, err error) {
	lost := w.send(client, func() { token, err = w.world.shared.Load(ctx, client) })
	return carried(lost, token, err)
}

func (w *wire) Look(ctx context.Context, client session.ClientID) (session.Token, error) {
	return w.Load(ctx, client)
}

func (w *wire) Commit(ctx context.Context, token session.Token, seen uint64) (kept session.Token, err error) {
	lost := w.send(token.Client, func() {
		kept, err = w.world.shared.Commit(ctx, token, seen)
		w.world.book.committed(token)
		sure := kept.ID
		if kept.Suspect {
			sure = session.TokenID{}
		}
		w.world.publish(token.Client, sure)
	})
	if lost != nil {
		w.world.book.unsure(token)
	}
	return carried(lost, kept, err)
}

func (w *wire) Slide(ctx context.Context, move session.Move) (match session.Match, err error) {
	lost := w.send(move.Client, func() {
		before, _ := w.world.shared.Load(ctx, move.Client)
		match, err = w.world.shared.Slide(ctx, move)
		if match == session.MatchSame && move.Doubt.After(before.Doubt) {
			w.world.publish(move.Client, session.TokenID{})
		}
	})
	return carried(lost, match, err)
}

func (w *wire) Forget(ctx context.Context, client session.ClientID, id session.TokenID) (match session.Match, err error) {
	lost := w.send(client, func() {
		before, _ := w.world.shared.Load(ctx, client)
		match, err = w.world.shared.Forget(ctx, client, id)
		if match == session.MatchSame {
			w.world.book.gone[before.ID] = time.Now()
			w.world.publish(client, session.TokenID{})
		}
	})
	return carried(lost, match, err)
}

func (w *wire) Restore(ctx context.Context, token session.Token) (kept session.Token, err error) {
	lost := w.send(token.Client, func() { kept, err = w.world.shared.Restore(ctx, token) })
	return carried(lost, kept, err)
}

func (w *wire) Acquire(ctx context.Context, client session.ClientID, owner string) (lease session.Lease, err error) {
	w.mu.Lock()
	w.leased[client], w.failed[client] = false, false
	w.mu.Unlock()
	lost := w.send(client, func() { lease, err = w.world.shared.Acquire(ctx, client, owner) })
	lease, err = carried(lost, lease, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leased[client] = err == nil
	return lease, err
}

func (w *wire) Renew(ctx context.Context, lease session.Lease) (err error) {
	lost := w.send(lease.Client, func() { err = w.world.shared.Renew(ctx, lease) })
	return errors.Join(lost, err)
}

func (w *wire) LetGo(ctx context.Context, lease session.Lease) (err error) {
	lost := w.send(lease.Client, func() { err = w.world.shared.LetGo(ctx, lease) })
	return errors.Join(lost, err)
}

func (w *wire) Abandon(ctx context.Context, lease session.Lease) (err error) {
	lost := w.send(lease.Client, func() { err = w.world.shared.Abandon(ctx, lease) })
	return errors.Join(lost, err)
}

func (w *wire) Watch(client session.ClientID) (changed <-chan struct{}, stop func()) {
	if w.mute.Load() {
		return nil, func() {}
	}
	return w.world.shared.Watch(client)
}

// weather is how Portal is.
type weather int32

const (
	fair weather = iota
	// slow: answers take longer than a caller waits who could be served at once.
	slow
	// failing: no request arrives.
	failing
	// stormy: requests fail, hang, are carried out late or without an answer.
	stormy
)

// road is a replica's way to Portal.
type road struct{ *member }

// fate is what becomes of a request.
type fate struct {
	there, back time.Duration
	// refused: it does not arrive; lost: the answer does not; hangs: it is not carried out before it is given up.
	refused, lost, hangs bool
	// late is how long after that it is carried out; 0 is never.
	late time.Duration
	// twice: an attempt of which nothing became known comes before it.
	twice bool
}

func (r *road) fate() fate {
	l := r.world.luck
	f := fate{there: l.upTo(100 * time.Millisecond), back: l.upTo(100 * time.Millisecond)}
	if l.oneIn(2) {
		f.late = time.Millisecond + l.upTo(givenUp-2*time.Second)
	}
	switch weather(r.world.weather.Load()) {
	case slow:
		f.there, f.back = l.upTo(1500*time.Millisecond), l.upTo(1500*time.Millisecond)
	case failing:
		f.refused = true
	case stormy:
		dice := l.below(8)
		f.refused, f.lost, f.hangs, f.twice = dice == 0, dice == 1 || dice == 2, dice == 3 || dice == 4, dice == 5
		f.there = l.upTo(2 * time.Second)
	}
	return f
}

var errLostAnswer = errors.Join(session.ErrPortalUnavailable, session.ErrOutcomeUnknown)

// cutOff is what a request that was given up returns.
func cutOff(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return session.ErrPortalTimeout
}

// travel has a request go to Portal, be carried out, and come back.
func (r *road) travel(ctx context.Context, f fate, do func()) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	arrival := time.After(f.there)
	if f.hangs {
		arrival = nil
	}
	select {
	case <-arrival:
	case <-ctx.Done():
		r.linger(f, do)
		return cutOff(ctx)
	}
	if f.refused {
		return session.ErrPortalUnavailable
	}
	do()
	select {
	case <-time.After(f.back):
	case <-ctx.Done():
		return cutOff(ctx)
	}
	if f.lost {
		return errLostAnswer
	}
	return nil
}

// linger has a request carried out for which nobody waits any more.
func (r *road) linger(f fate, do func()) {
	if f.late == 0 || f.refused {
		return
	}
	r.world.open.Add(1)
	time.AfterFunc(f.late, func() {
		defer r.world.open.Add(-1)
		do()
	})
}

// Mint implements [session.Portal].
func (r *road) Mint(ctx context.Context, client session.ClientID, reason session.Reason) (session.Token, error) {
	f, doubt := r.fate(), time.Time{}
	if f.twice {
		first := r.world.book.begin(r.member, client, reason)
		if r.world.luck.oneIn(2) {
			r.linger(f, func() { r.carryOut(first) })
		} else {
			r.carryOut(first)
		}
		doubt = time.Now()
	}
	m := r.world.book.begin(r.member, client, reason)
	err := r.travel(ctx, f, func() { r.carryOut(m) })
	if err != nil {
		r.world.book.note("%s: mint for %s failed: %v", r.name(), client, err)
		return session.Token{}, err
	}
	token := r.world.book.answered(m)
	token.Doubt = doubt
	return token, nil
}

func (r *road) carryOut(m *mint) {
	r.world.book.mu.Lock()
	defer r.world.book.mu.Unlock()
	token, _ := r.world.portal.Mint(context.Background(), m.client, m.reason)
	r.world.book.carriedOut(m, token)
}

// Probe implements [session.Portal].
func (r *road) Probe(ctx context.Context, token session.Token) error {
	answer := error(nil)
	f := r.fate()
	f.late = 0 // what it does makes a token live longer than is known
	if err := r.travel(ctx, f, func() { answer = r.world.book.probed(r.world.portal, token) }); err != nil {
		return err
	}
	return answer
}

// Register implements [session.Portal]: nobody does.
func (r *road) Register(context.Context, session.Registration) (session.Token, error) {
	return session.Token{}, session.ErrPortalBadResponse
}

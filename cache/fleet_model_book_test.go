package cache_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// mint is one that Portal was asked for, and what became of it.
type mint struct {
	client session.ClientID
	reason session.Reason
	token  session.TokenID
	// lives is how often the store was lost before it.
	lives int64
	// leased: it was asked for under a lease. announced: the token that was served meanwhile was in doubt.
	leased, announced bool
	// at is when Portal carried it out, if it did; answered, that its minter got the token; committed, when the store did.
	at        time.Time
	answered  bool
	committed time.Time
	// orphan: the store lost its lease before it was told of the token. missed: the store lost the token before everybody was
	// told of it.
	orphan, missed bool
	// unsure: its minter does not know that the store was told.
	unsure bool
}

// issued is a token by what Portal knows.
type issued struct {
	mint *mint
	// own has Portal's dates.
	own session.Token
	// dead is since when Portal refuses it though its time was not over; killer is the mint that did it, if one did.
	dead   time.Time
	killer *mint
}

// entry is what the store keeps for a client since a moment.
type entry struct {
	since  time.Time
	record session.Token
}

// fetch is one caller's, and what came of it.
type fetch struct {
	ask     session.Ask
	by      *member
	began   time.Time
	left    bool
	grant   session.Grant
	err     error
	pending bool
}

// forgetting is which replica forgot what.
type forgetting struct {
	by *member
	id session.TokenID
}

// book is what really happened, by the bubble's clock: only Portal and the store know it.
type book struct {
	world *world

	mu     sync.Mutex
	tokens map[session.TokenID]*issued
	mints  []*mint
	// kept :: client -> all that the store ever kept for it
	kept map[session.ClientID][]entry
	// well :: member -> since when it is well connected to the store; none while it is not
	well map[*member]time.Time
	// portal is since when Portal is well, calm since when nothing at all was wrong; zero while it is not.
	portal, calm time.Time
	// gone :: token -> since when the store was told to forget it; what it was told before it lost everything does not count
	gone map[session.TokenID]time.Time
	// forgotten :: replica and token -> since when it has told somebody that it forgot it
	forgotten map[forgetting]time.Time
	fetches   []*fetch
	wrong     []string
	trace     []string
	excused   map[string]int
}

func newBook(w *world) *book {
	return &book{
		world: w, tokens: map[session.TokenID]*issued{}, kept: map[session.ClientID][]entry{}, well: map[*member]time.Time{},
		portal: time.Now(), calm: time.Now(), gone: map[session.TokenID]time.Time{},
		forgotten: map[forgetting]time.Time{}, excused: map[string]int{},
	}
}

// note keeps what a reader of a failure needs.
func (b *book) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noteLocked(format, args...)
}

func (b *book) noteLocked(format string, args ...any) {
	b.trace = append(b.trace, time.Now().Format("02T15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (b *book) failLocked(format string, args ...any) {
	b.noteLocked("WRONG: "+format, args...)
	b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
}

// name tells a token from others.
func name(id session.TokenID) string { return id.String()[:6] }

func (m *member) name() string { return fmt.Sprintf("%p", m)[6:] }

// change has the store do something for the client, and notes what it keeps then.
func (b *book) change(client session.ClientID, do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
	b.lookLocked(client)
}

func (b *book) lookLocked(client session.ClientID) {
	record, _ := b.world.shared.Load(context.Background(), client)
	history := b.kept[client]
	if len(history) > 0 && history[len(history)-1].record == record {
		return
	}
	if since, gone := b.gone[record.ID]; gone && !b.tokens[record.ID].mint.unsure {
		b.failLocked("the store has %s again, which it was told to forget at %s", name(record.ID), since.Format("15:04:05.000"))
	}
	b.kept[client] = append(history, entry{time.Now(), record})
	b.noteLocked("store: %s has %s, fence %d, suspect %t, active %s, doubt %s", client, name(record.ID), record.Fence,
		record.Suspect, record.ActiveAt.Format("15:04:05.000"), record.Doubt.Format("15:04:05.000"))
}

// calmAt reports whether nothing was wrong then, for so long that nothing was under way that began when something was.
func (b *book) calmAt(then time.Time) bool { return !b.calm.IsZero() && then.Sub(b.calm) > calmEnough }

// forgotBefore reports whether the replica that granted had said that it forgot the token, before it was asked for one.
func (b *book) forgotBefore(f *fetch) bool {
	since, forgot := b.forgotten[forgetting{f.by, f.grant.Token.ID}]
	_, gone := b.gone[f.grant.Token.ID]
	return forgot && gone && !b.tokens[f.grant.Token.ID].mint.unsure && since.Before(f.began)
}

// during returns all that the store kept for the client since then.
func (b *book) during(client session.ClientID, since time.Time) []session.Token {
	history := b.kept[client]
	var records []session.Token
	for _, entry := range slices.Backward(history) {
		records = append(records, entry.record)
		if !entry.since.After(since) {
			return records
		}
	}
	return append(records, session.Token{})
}

// begin notes that Portal is asked for a mint.
func (b *book) begin(by *member, client session.ClientID, reason session.Reason) *mint {
	by.mu.Lock()
	leased, failed := by.leased[client], by.failed[client]
	by.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	record, _ := b.world.shared.Load(context.Background(), client)
	m := &mint{client: client, reason: reason, leased: leased, lives: b.world.lives.Load()}
	latest := b.world.now().Add(time.Duration(b.world.late.Load()) + skewed/2)
	m.announced = !b.world.life.Live(record, latest) || record.Suspect || record.ActiveAt.Before(record.Doubt)
	decided := b.during(client, time.Now().Add(-100*time.Millisecond))
	same := !slices.ContainsFunc(decided, func(token session.Token) bool { return token.ID != record.ID })
	if leased && !failed && same && !m.announced && by.store.Load() == int32(linked) {
		b.failLocked("a mint for %s began while the store kept %s without a doubt", client, name(record.ID))
	}
	b.noteLocked("%s: asks for a mint for %s, %s, leased %t, announced %t", by.name(), client, reason, leased, m.announced)
	b.judgeLocked(client, reason)
	return m
}

// judgeLocked holds the reason of a mint against what the store kept when it was decided, if nothing was wrong.
func (b *book) judgeLocked(client session.ClientID, reason session.Reason) {
	if !slices.Contains(session.Reasons(), reason) {
		b.failLocked("minted as %q", reason)
	}
	if !b.calmAt(time.Now()) {
		return
	}
	life, now := b.world.life, b.world.now()
	margin := life.SafetyMargin + skewed
	wanted := life.MinTTL
	rejected := false
	for _, f := range b.fetches {
		if f.pending || time.Since(f.began) < calmEnough {
			wanted = max(wanted, f.ask.Need.Life)
			rejected = rejected || f.ask.Client == client && !f.ask.Need.Rejected.IsZero()
		}
	}
	for _, record := range b.during(client, time.Now().Add(-time.Second)) {
		window := record.MintedAt.Add(life.RefreshWindow)
		switch {
		case reason == session.Absent && record.IsZero(),
			reason == session.IdleExpired && !record.IsZero() && !now.Add(margin).Before(record.ActiveAt.Add(life.IdleTTL)),
			reason == session.WindowClosed && !record.IsZero() && !now.Add(margin+wanted).Before(window),
			reason == session.Rejected && (rejected || b.refusedLocked(client)):
			return
		}
	}
	b.failLocked("minted for %s as %q: the store keeps %+v", client, reason, b.during(client, time.Now()))
}

// refusedLocked reports whether Portal may have refused a token of the client.
func (b *book) refusedLocked(client session.ClientID) bool {
	for _, t := range b.tokens {
		if t.own.Client == client && !t.dead.IsZero() {
			return true
		}
	}
	return false
}

// carriedOut notes that Portal made token.
func (b *book) carriedOut(m *mint, token session.Token) {
	m.at, m.token = time.Now(), token.ID
	for _, t := range b.tokens {
		if b.world.portal.KillsOlder && t.own.Client == m.client && t.dead.IsZero() {
			t.dead, t.killer = m.at, m
		}
	}
	own := token
	own.MintedAt, own.ActiveAt = b.world.now(), b.world.now()
	b.tokens[token.ID] = &issued{mint: m, own: own}
	b.mints = append(b.mints, m)
	b.noteLocked("portal: minted %s for %s", name(token.ID), m.client)
}

// answered returns the token that a mint's answer brings.
func (b *book) answered(m *mint) session.Token {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.answered = true
	token := b.tokens[m.token].own
	token.MintedAt, token.ActiveAt = time.Time{}, time.Time{}
	return token
}

// committed notes that the store was told of a token. It is locked already.
func (b *book) committed(token session.Token) {
	if m := b.tokens[token.ID].mint; m.committed.IsZero() {
		m.committed, m.orphan = time.Now(), m.lives != b.world.lives.Load()
	}
}

// unsure notes that the minter of a token does not know whether the store was told of it.
func (b *book) unsure(token session.Token) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens[token.ID].mint.unsure = true
}

// missLocked notes which tokens the store loses before everybody was told of them.
func (b *book) missLocked() {
	mute := slices.ContainsFunc(b.world.all(), func(m *member) bool { return m.mute.Load() })
	for _, m := range b.mints {
		m.missed = m.missed || mute || time.Since(m.committed) < messages
	}
}

// probed has Portal carry out a probe.
func (b *book) probed(portal *sessiontest.Portal, token session.Token) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := portal.Probe(context.Background(), token)
	if err == nil {
		b.tokens[token.ID].own.ActiveAt = b.world.now()
	}
	b.noteLocked("portal: probe of %s: %v", name(token.ID), err)
	return err
}

// accounted reports whether a mint left word of itself where whoever is served the token that it killed finds it.
func (b *book) accounted(m *mint, killed *issued) (why string, ok bool) {
	switch {
	case m == nil:
		return "killed behind everybody's back", false
	case m.answered && (m.committed.IsZero() || time.Since(m.committed) < b.world.ttl+grace):
		return "the store was not told of the mint, or was just now", false
	case killed.mint.orphan:
		return "minted under a lease that the store lost, while another mint ran", false
	case m.missed:
		return "put back by a replica that missed what the store lost", false
	case m.answered:
		return "", true
	case !m.leased:
		return "minted alone, and given up", false
	case !killed.mint.leased:
		return "killed by a mint given up, itself minted alone", false
	case !m.announced:
		return "the store was not told of the doubt", false
	case m.lives != b.world.lives.Load():
		return "the store lost word of a mint that was given up", false
	}
	return "", true
}

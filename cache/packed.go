package cache

import (
	"iter"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// memories is what a [Tier] remembers. There may be very many, so each is packed.
type memories struct {
	cache *otter.Cache[session.ClientID, packed]
}

// packed is a [remembered] in a third of its size: dates are Unix nanoseconds, and what only few have is elsewhere.
type packed struct {
	id     session.TokenID
	secret session.Secret
	// Of each 0 is none.
	minted, active, doubt, seen int64

	fence, era uint64
	// owed is what the store could not be told; nil for most.
	owed  *owed
	flags byte
}

func pack(r remembered) packed {
	t := r.token
	p := packed{
		id: t.ID, secret: t.Secret, minted: nanos(t.MintedAt), active: nanos(t.ActiveAt), doubt: nanos(t.Doubt), seen: nanos(r.seen),
		fence: t.Fence, era: r.era, flags: flagsOf(t),
	}
	if r.owed != (owed{}) {
		o := r.owed
		p.owed = &o
	}
	return p
}

// of returns what is remembered of the client.
func (p *packed) of(client session.ClientID) remembered {
	r := remembered{seen: atNanos(p.seen), era: p.era}
	if p.owed != nil {
		r.owed = *p.owed
	}
	if p.id.IsZero() {
		return r
	}
	r.token = session.Token{
		Client: client, ID: p.id, Secret: p.secret, AccountAbstracted: p.flags&flagAccountAbstracted != 0, Fence: p.fence,
		MintedAt: atNanos(p.minted), ActiveAt: atNanos(p.active), Suspect: p.flags&flagSuspect != 0, Doubt: atNanos(p.doubt),
	}
	return r
}

// nanos returns a date's Unix nanoseconds, or 0 for the zero date; atNanos turns that back.
func nanos(date time.Time) int64 {
	if date.IsZero() {
		return 0
	}
	return date.UnixNano()
}

func atNanos(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

// newMemories keeps at most so many, each until its time is over; the least used go first.
func newMemories(most int, life func(remembered) time.Duration) memories {
	return memories{otter.Must(&otter.Options[session.ClientID, packed]{
		MaximumSize: most,
		Executor:    func(work func()) { work() }, // which takes less than it takes to wake somebody for it
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[session.ClientID, packed]) time.Duration {
			return life(e.Value.of(e.Key))
		}),
	})}
}

func (m memories) get(client session.ClientID) (remembered, bool) {
	p, found := m.cache.GetIfPresent(client)
	return p.of(client), found
}

// look returns what get does, and does not count as a use.
func (m memories) look(client session.ClientID) (remembered, bool) {
	e, found := m.cache.GetEntryQuietly(client)
	return e.Value.of(client), found
}

func (m memories) all() iter.Seq2[session.ClientID, remembered] {
	return func(yield func(session.ClientID, remembered) bool) {
		for client, p := range m.cache.All() {
			if !yield(client, p.of(client)) {
				return
			}
		}
	}
}

func (m memories) set(client session.ClientID, r remembered) { m.cache.Set(own(client), pack(r)) }

// compute changes what is remembered of the client, in one step.
func (m memories) compute(client session.ClientID, change func(r remembered, found bool) (remembered, otter.ComputeOp)) {
	client = own(client)
	m.cache.Compute(client, func(p packed, found bool) (packed, otter.ComputeOp) {
		r, op := change(p.of(client), found)
		return pack(r), op
	})
}

// computeIfPresent does so if there is anything, and returns what there is then.
func (m memories) computeIfPresent(client session.ClientID, change func(r remembered) (remembered, otter.ComputeOp)) (remembered, bool) {
	client = own(client)
	p, found := m.cache.ComputeIfPresent(client, func(p packed) (packed, otter.ComputeOp) {
		r, op := change(p.of(client))
		return pack(r), op
	})
	return p.of(client), found
}

// own returns a copy: the text may be a piece of a request, all of which would be kept with it.
func own(client session.ClientID) session.ClientID {
	return session.ClientID(strings.Clone(string(client)))
}

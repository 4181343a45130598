package session

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Store keeps one token per client. A miss is the zero Token without an error. All methods are safe for concurrent use.
type Store interface {
	// Load returns the client's token, whether live or not; it may be what this replica saw a moment ago.
	// [ErrRecordUnreadable]: there is a record, but no token in it.
	Load(ctx context.Context, client ClientID) (Token, error)
	// Look is Load past all that this replica remembers.
	Look(ctx context.Context, client ClientID) (Token, error)
	// Commit puts token in the place of whatever is kept for its client, unless that has a higher fence: then it keeps
	// that one, makes it suspect, and returns it. seen is the fence that was there when the lease was taken: if another
	// is there now, two mints ran at once, and whichever token is kept is suspect.
	Commit(ctx context.Context, token Token, seen uint64) (Token, error)
	// Slide moves ActiveAt forward to move.At (never back) if the token kept is move.ID; the zero id is any.
	Slide(ctx context.Context, move Move) (Match, error)
	// Forget drops the client's token if it is id; the zero id is any.
	Forget(ctx context.Context, client ClientID, id TokenID) (Match, error)
}

// Move is activity of a client's token.
type Move struct {
	Client ClientID
	ID     TokenID
	At     time.Time
	// Clears: the request that this is about was sent knowing that the token was suspect, so that it is so no longer.
	Clears bool
	// Doubt takes the place of the token's, unless it is zero.
	Doubt time.Time
	// Corrects: the token was dated ahead of the clock, and Portal accepted it at At: its dates move back by as much.
	Corrects bool
}

// Of returns t after the move, which is of that token.
func (m Move) Of(t Token) Token {
	if m.At.After(t.ActiveAt) {
		t.ActiveAt = m.At
	}
	if ahead := t.ActiveAt.Sub(m.At); m.Corrects && ahead > 0 {
		t.MintedAt, t.ActiveAt = t.MintedAt.Add(-ahead), m.At
	}
	t.Suspect = t.Suspect && !m.Clears
	if !m.Doubt.IsZero() {
		t.Doubt = m.Doubt
	}
	return t
}

// Match says which token a compare-and-set found: only [MatchSame] changed anything.
type Match uint8

// The matches.
const (
	MatchNone  Match = iota // nothing is kept for the client
	MatchOther              // another token is
	MatchSame               // the token named is
)

// Portal is what the Broker asks of Portal's API. A token comes back without dates: the Broker keeps the clock.
type Portal interface {
	// Mint has Portal make a new token for client. The reason is for those who count. Its Doubt is not zero if an attempt
	// before the one that succeeded may be carried out yet.
	Mint(ctx context.Context, client ClientID, reason Reason) (Token, error)
	// Probe sends one authenticated request with the token. [ErrTokenRejected]: Portal refuses it.
	Probe(ctx context.Context, token Token) error
	// Register has Portal make a new client, which comes with a token. It is not safe to repeat.
	Register(ctx context.Context, registration Registration) (Token, error)
}

// StoreDown says what a fetch gets while the store can't be read.
type StoreDown string

// What a fetch gets while the store can't be read.
const (
	StoreDownMint StoreDown = "mint" // a failing store counts as an empty one
	StoreDownFail StoreDown = "fail" // ErrStoreUnavailable
)

// Parts is what a Broker is made of. Every field is required but the Limits, Index and Replaced.
type Parts struct {
	Store     Store
	Leaser    Leaser
	Registry  Registry
	Portal    Portal
	Lifetime  Lifetime
	StoreDown StoreDown
	Limits    Limits
	// Deadline bounds everything that one flight asks of Portal, its retry included.
	Deadline time.Duration
	// Now returns the latest that it may be, by which lives are judged; Sent the earliest, by which requests are dated. They
	// differ where the clock that a fleet goes by is in doubt.
	Now, Sent func() time.Time
	Log       *slog.Logger
	// Index finds clients by their tokens; nil finds none.
	Index Index
	// Replaced is told how long ago a token was minted when another that was minted takes its place, live or not. It may
	// be nil.
	Replaced func(age time.Duration)
}

// Broker grants tokens. It is safe for concurrent use; [Broker.Close] ends it.
type Broker struct {
	parts         Parts
	remembering   Remembering                 // nil if the store is none
	served        func(Token, time.Time) bool // servesAsIs, bound once: to do so for each hit takes memory
	mints         *flights[ClientID, Grant]
	refreshes     *flights[ClientID, Grant]
	registrations *flights[Registration, Grant]
	// flying has a place for each flight, waiting one for each caller who waits for any.
	flying, waiting *room
	calm            calm
	backlog         *backlog
	ahead           ahead
	adrift          adrift
	uses            *uses
	quarrels        quarrels
}

// NewBroker returns a Broker made of parts.
func NewBroker(parts Parts) *Broker {
	flying := newRoom(parts.Limits.Flights)
	remembering, _ := parts.Store.(Remembering)
	return &Broker{
		parts:         parts,
		remembering:   remembering,
		served:        parts.Lifetime.servesAsIs,
		mints:         newFlights[ClientID, Grant](parts.Log, flying, WorkMint),
		refreshes:     newFlights[ClientID, Grant](parts.Log, flying, WorkRefresh),
		registrations: newFlights[Registration, Grant](parts.Log, flying, WorkRegister),
		flying:        flying,
		waiting:       newRoom(parts.Limits.Waiting),
		backlog:       newBacklog(),
		ahead:         ahead{places: make(chan struct{}, mostAhead)},
		uses:          newUses(parts.Limits.Flights),
	}
}

// Close lets no new flight begin, waits for those under way until ctx ends, then cancels them and waits for their end.
// Who waits for a canceled flight gets [ErrShuttingDown].
func (b *Broker) Close(ctx context.Context) {
	// All of them first: one that is under way may board another.
	b.backlog.refuse()
	b.registrations.refuse()
	b.refreshes.refuse()
	b.mints.refuse()
	b.mints.close(ctx)
	b.refreshes.close(ctx)
	b.registrations.close(ctx)
	b.backlog.worker.Wait()
	b.uses.close()
}

// Ask is what a caller wants: a token for Client that meets Need.
type Ask struct {
	Client ClientID
	Need   Need
	// ahead: nobody wants it yet, so that it is minted for [Ahead] alone.
	ahead bool
}

// mints reports whether the decision has a flight for this ask mint.
func (a Ask) mints(decision Decision) bool {
	if a.ahead {
		return decision.Action > Mint && decision.Reason == Ahead
	}
	return decision.Action == Mint
}

// Grant returns a live token for ask.Client, one that meets ask.Need. Errors are those of the Portal port, or
// [ErrStoreUnavailable], [ErrOverloaded], [ErrShuttingDown], or ctx's own. The call outlives ctx only in what others share.
func (b *Broker) Grant(ctx context.Context, ask Ask) (Grant, error) {
	if err := b.parts.Lifetime.Check(ask.Need); err != nil {
		return Grant{}, err
	}
	lookup := b.lookup
	if !ask.Need.Rejected.IsZero() {
		lookup = b.look // it may be a newer one than this replica remembers
	}
	token, err := lookup(ctx, ask.Client)
	if err != nil {
		return Grant{}, err
	}
	now := b.now()
	decision := b.parts.Lifetime.Decide(token, now, ask.Need)
	another := decision.Reason == Ahead && b.mintBehind(ctx, token)
	switch decision.Action {
	case ServeAndExtend:
		if !another {
			b.extendBehind(ctx, token)
		}
		fallthrough
	case Serve:
		return Grant{Token: token, Source: SourceCache, At: now}, nil
	}
	return b.obtain(ctx, ask, token)
}

// lookup loads the client's token. A failing store counts as an empty one (unless it must not), here and nowhere else.
func (b *Broker) lookup(ctx context.Context, client ClientID) (Token, error) {
	token, err := b.parts.Store.Load(ctx, client)
	return b.found(ctx, client, token, err)
}

// look is lookup past all that this replica remembers.
func (b *Broker) look(ctx context.Context, client ClientID) (Token, error) {
	token, err := b.parts.Store.Look(ctx, client)
	return b.found(ctx, client, token, err)
}

func (b *Broker) found(ctx context.Context, client ClientID, token Token, err error) (Token, error) {
	switch {
	case err == nil:
		return token, nil
	case ctx.Err() != nil:
		return Token{}, ctx.Err()
	case errors.Is(err, ErrRecordUnreadable):
		b.parts.Log.WarnContext(ctx, "record unreadable, counted as a miss", "client", client, "error", err)
		return Token{}, nil
	case b.parts.StoreDown == StoreDownFail:
		return Token{}, storeError(err)
	}
	b.parts.Log.WarnContext(ctx, "store failed, counted as a miss", "client", client, "error", err)
	return Token{}, nil
}

func (b *Broker) now() time.Time { return stored(b.parts.Now()) }

func (b *Broker) sent() time.Time { return stored(b.parts.Sent()) }

// stored cuts to the precision that stores keep, down, so that a date never grows by being stored.
func stored(date time.Time) time.Time { return date.UTC().Truncate(time.Millisecond) }

package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Index finds clients by their tokens.
type Index interface {
	// Client returns whose token id was when it was last seen, or "" if it was nobody's. Another may have taken its place
	// since.
	Client(ctx context.Context, id TokenID) (ClientID, error)
}

// Find returns the token that secret is, if it is the one that is kept for its client, live or not: only Portal knows what
// came of one that others use. [ErrTokenUnknown]: it is not. [ErrStoreUnavailable]: nobody can say.
func (b *Broker) Find(ctx context.Context, secret Secret) (Token, error) {
	id := IdentifyToken(secret)
	if b.parts.Index == nil {
		return Token{}, ErrTokenUnknown
	}
	client, err := b.parts.Index.Client(ctx, id)
	if err != nil {
		return Token{}, storeError(err)
	}
	if client == "" {
		return Token{}, ErrTokenUnknown
	}
	for _, load := range []func(context.Context, ClientID) (Token, error){b.parts.Store.Load, b.parts.Store.Look} {
		token, err := load(ctx, client)
		switch {
		case errors.Is(err, ErrRecordUnreadable):
		case err != nil:
			return Token{}, storeError(err)
		case token.ID == id && token.Secret.Equal(secret):
			return token, nil
		}
	}
	return Token{}, fmt.Errorf("%w: its client has another", ErrTokenUnknown)
}

// Sent returns by what a request to Portal is dated that is about to leave: the earliest that it may be.
func (b *Broker) Sent() time.Time { return b.sent() }

// Used notes that Portal answered with a 2xx a request that left at sent ([Broker.Sent]) with token, as it was found
// before. Nobody waits until that is written. It is written about once in a [Lifetime.SlideStep] at most.
func (b *Broker) Used(ctx context.Context, token Token, sent time.Time) {
	if sent.Sub(token.ActiveAt) < b.parts.Lifetime.useStep() && !token.Suspect {
		return
	}
	move := Move{Client: token.Client, ID: token.ID, At: sent, Clears: token.Suspect}
	if !b.uses.board(move) {
		return
	}
	go b.write(context.WithoutCancel(ctx), move)
}

// write writes the move, and whatever came for the client meanwhile that is worth another write.
func (b *Broker) write(ctx context.Context, move Move) {
	defer b.uses.wait.Done()
	for {
		if _, err := b.parts.Store.Slide(ctx, move); err != nil {
			b.parts.Log.WarnContext(ctx, "activity not stored", "client", move.Client, "token_id", move.ID, "error", err)
		}
		next, ok := b.uses.land(move, b.parts.Lifetime.useStep())
		if !ok {
			return
		}
		move = next
	}
}

// uses are the moves that are being written: one at a time for each client.
type uses struct {
	wait sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// most bounds those under way; 0 is no bound. What is left out then comes with the client's next request.
	most int
	// latest :: client -> the latest that came for it since its move is being written
	latest map[ClientID]Move
}

func newUses(most int) *uses { return &uses{most: most, latest: map[ClientID]Move{}} }

// board reports whether the caller has to write the move. Else somebody who is writing for the client takes it along.
func (u *uses) board(move Move) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if latest, ok := u.latest[move.Client]; ok {
		if move.At.After(latest.At) {
			u.latest[move.Client] = move
		}
		return false
	}
	if u.closed || u.most > 0 && len(u.latest) >= u.most {
		return false
	}
	u.latest[move.Client] = move
	u.wait.Add(1)
	return true
}

// land ends the writing for the client, or returns what else is worth a write.
func (u *uses) land(written Move, step time.Duration) (next Move, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	latest := u.latest[written.Client]
	if latest.ID != written.ID || latest.At.Sub(written.At) >= step {
		return latest, true
	}
	delete(u.latest, written.Client)
	return Move{}, false
}

// close lets no more begin, and waits for those under way: each takes as long as the store does.
func (u *uses) close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.wait.Wait()
}

// Refused notes that Portal answered a request with token by a 401: exactly that token is forgotten, if that is believed.
func (b *Broker) Refused(ctx context.Context, token Token) {
	if b.quarrels.believe(token, time.Now(), b.parts.Lifetime.SlideStep()) {
		b.parts.Log.InfoContext(ctx, "token rejected", "client", token.Client, "token_id", token.ID)
		b.drop(context.WithoutCancel(ctx), token.Client, token.ID) // whoever told may leave
	}
}

// Replace returns another token for the one that Portal answered by a 401, as [Broker.Grant] does for a caller who says so.
// [ErrTokenRejected]: the client's tokens are refused one after the other, and that is not believed any more.
func (b *Broker) Replace(ctx context.Context, token Token) (Grant, error) {
	if !b.quarrels.believe(token, time.Now(), b.parts.Lifetime.SlideStep()) {
		return Grant{}, ErrTokenRejected
	}
	return b.Grant(ctx, Ask{Client: token.Client, Need: Need{Rejected: token.ID}})
}

// Clear notes that Portal answered a request with token by a 401 just after it made it: what refuses it is not its death.
func (b *Broker) Clear(token Token) {
	b.quarrels.mu.Lock()
	defer b.quarrels.mu.Unlock()
	if known, ok := b.quarrels.of[token.Client]; ok {
		known.cleared = token.ID
		b.quarrels.of[token.Client] = known
	}
}

// quarrels bounds of how many tokens of a client it is believed that Portal refuses them: what refuses them all refuses for
// another reason, and each would cost a mint.
type quarrels struct {
	mu    sync.Mutex
	since time.Time
	// of :: client -> what was believed since then
	of map[ClientID]quarrel
}

type quarrel struct {
	latest TokenID
	count  int
	// cleared is a token that was refused as soon as it was made: it is not believed to be dead.
	cleared TokenID
}

// mostQuarrels are believed of a client in a [Lifetime.SlideStep].
const mostQuarrels = 5

// believe reports whether it is believed that token is refused.
func (q *quarrels) believe(token Token, now time.Time, step time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.of == nil || now.Sub(q.since) >= step {
		q.since, q.of = now, map[ClientID]quarrel{}
	}
	known := q.of[token.Client]
	if known.cleared == token.ID {
		return false
	}
	if known.latest != token.ID {
		known = quarrel{latest: token.ID, count: known.count + 1}
		q.of[token.Client] = known
	}
	return known.count <= mostQuarrels
}

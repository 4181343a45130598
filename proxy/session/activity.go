package session

import (
	"context"
	"fmt"
	"time"
)

// NoteActivity records that Portal accepted a request with the client's token just now; id says with which, zero with
// whichever is cached. [ErrClientNotFound]: nothing is cached. [ErrTokenMismatch]: another token is.
func (b *Broker) NoteActivity(ctx context.Context, client ClientID, id TokenID) error {
	match, err := b.parts.Store.Slide(ctx, Move{Client: client, ID: id, At: b.sent()})
	if err != nil {
		return storeError(err)
	}
	switch match {
	case MatchNone:
		return fmt.Errorf("%w: no token is cached for it", ErrClientNotFound)
	case MatchOther:
		return ErrTokenMismatch
	}
	return nil
}

// Forget drops the client's token, so that the next fetch mints. With ids, only if the token is one of them:
// else [ErrTokenMismatch]. The token itself lives on at Portal, which knows no revocation.
func (b *Broker) Forget(ctx context.Context, client ClientID, ids ...TokenID) error {
	if len(ids) == 0 {
		if _, err := b.parts.Store.Forget(ctx, client, TokenID{}); err != nil {
			return storeError(err)
		}
		return nil
	}
	for _, id := range ids {
		match, err := b.parts.Store.Forget(ctx, client, id)
		if err != nil {
			return storeError(err)
		}
		if match == MatchSame {
			return nil
		}
	}
	return ErrTokenMismatch
}

// Status is what is known of a client's token.
type Status struct {
	// Token is zero if none is cached.
	Token Token
	Live  bool
	// Next is what a fetch with no particular need would do at At.
	Next Decision
	At   time.Time
}

// Inspect returns what is known of the client's token. It changes nothing and asks Portal nothing.
func (b *Broker) Inspect(ctx context.Context, client ClientID) (Status, error) {
	token, err := b.lookup(ctx, client)
	if err != nil {
		return Status{}, err
	}
	now := b.now()
	return Status{
		Token: token,
		Live:  b.parts.Lifetime.Live(token, now),
		Next:  b.parts.Lifetime.Decide(token, now, Need{}),
		At:    now,
	}, nil
}

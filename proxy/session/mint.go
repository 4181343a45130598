package session

import (
	"context"
	"time"
)

// mint is the only path on which Portal is asked for another token of a client it knows.
func (b *Broker) mint(ctx context.Context, client ClientID, old TokenID, reason Reason) (Grant, error) {
	// First, so that the dead token is gone even if the mint fails. If it is gone already, the callers look again: another
	// may have taken its place, or nobody may ask for one any more.
	if reason == Rejected && b.drop(ctx, client, old) != MatchSame {
		return Grant{}, nil
	}
	sent := b.now()
	asking, cancel := context.WithTimeout(ctx, b.parts.Deadline)
	defer cancel()
	token, err := b.parts.Portal.Mint(asking, client, reason)
	if err != nil {
		return Grant{}, err
	}
	b.parts.Log.InfoContext(ctx, "minted", "client", client, "token_id", token.ID, "reason", reason)
	grant := b.keep(ctx, token, sent)
	grant.Reason = reason
	return grant, nil
}

// keep dates a token that Portal just made and stores it. sent is when the request left, so never later than Portal's
// own date. A store that fails costs a mint later, not this caller's token.
func (b *Broker) keep(ctx context.Context, token Token, sent time.Time) Grant {
	token.MintedAt, token.ActiveAt = sent, sent
	if err := b.parts.Store.Save(ctx, token); err != nil {
		b.parts.Log.WarnContext(ctx, "token not stored", "client", token.Client, "token_id", token.ID, "error", err)
	}
	return Grant{Token: token, Source: SourceMint}
}

// drop forgets a token that Portal refuses, and no other. It returns which one it found; a store that fails does not know
// better than Portal, so that counts as the same.
func (b *Broker) drop(ctx context.Context, client ClientID, dead TokenID) Match {
	match, err := b.parts.Store.Forget(ctx, client, dead)
	if err != nil {
		b.parts.Log.WarnContext(ctx, "dead token not forgotten", "client", client, "token_id", dead, "error", err)
		return MatchSame
	}
	return match
}

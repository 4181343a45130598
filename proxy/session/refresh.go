package session

import (
	"context"
	"errors"
	"time"
)

// refresh makes the sliding real: one request with the token, and ActiveAt moves to when that was sent. A token that
// Portal refuses is forgotten, and another minted.
func (b *Broker) refresh(ctx context.Context, token Token) (Grant, error) {
	sent := b.sent()
	asking, cancel := context.WithTimeout(ctx, b.parts.Deadline)
	defer cancel()
	switch err := b.parts.Portal.Probe(asking, token); {
	case errors.Is(err, ErrTokenRejected):
		b.parts.Log.InfoContext(ctx, "token rejected", "client", token.Client, "token_id", token.ID)
		return b.replace(ctx, token)
	case errors.Is(err, ErrNoneSpare):
		return Grant{}, err
	case err != nil:
		b.calm.fall(token.Client, time.Now(), err)
		return Grant{}, err
	}
	b.calm.lift()
	grant, err := b.moved(ctx, token, sent, SourceRefresh)
	if grant.Token.unsettled() {
		b.calm.rest(token.Client, time.Now().Add(askAgain))
	}
	return grant, err
}

// replace gets another token for the one that Portal refuses, unless that is gone already: then nobody may ask for one
// any more, and whoever does looks again.
func (b *Broker) replace(ctx context.Context, dead Token) (Grant, error) {
	now, err := b.look(ctx, dead.Client)
	if err != nil || now.IsZero() {
		return Grant{}, err
	}
	f, led := b.board(ctx, Ask{Client: dead.Client, Need: Need{Rejected: dead.ID}}, Mint)
	if !led {
		b.drop(ctx, dead.Client, dead.ID) // it may be for another reason, and not know
	}
	return f.wait(ctx)
}

// slide takes the fetch itself for activity (refresh mode assume).
func (b *Broker) slide(ctx context.Context, token Token) (Grant, error) {
	return b.moved(ctx, token, b.sent(), SourceCache)
}

// moved records that token was active at the given time. If another has taken its place meanwhile, or it was
// forgotten, it grants nothing, and the callers look again.
func (b *Broker) moved(ctx context.Context, token Token, at time.Time, source Source) (Grant, error) {
	move := Move{Client: token.Client, ID: token.ID, At: at}
	if source == SourceRefresh {
		move.Clears, move.Corrects = token.Suspect, b.parts.Lifetime.datedAhead(token, b.now())
	}
	match, err := b.parts.Store.Slide(ctx, move)
	switch {
	case err != nil:
		b.parts.Log.WarnContext(ctx, "activity not stored", "client", token.Client, "token_id", token.ID, "error", err)
	case match != MatchSame:
		return Grant{}, nil
	}
	return Grant{Token: move.Of(token), Source: source, At: at}, nil
}

// flyBehind is the work of a flight that nobody waits for; noneSpare is called where it is left undone for want of a turn.
func (b *Broker) flyBehind(ctx context.Context, client ClientID, noneSpare func()) (Grant, error) {
	grant, err := b.refreshBehind(ctx, client)
	switch {
	case errors.Is(err, ErrNoneSpare):
		noneSpare()
		return Grant{}, nil // whoever joined looks again
	case err != nil:
		// Logged here, since most often nobody waits for it.
		b.parts.Log.WarnContext(ctx, "token not refreshed", "client", client, "error", err)
	}
	return grant, err
}

// refreshBehind refreshes the client's token if that is due. It never mints for want of a token: who had it may have logged
// out.
func (b *Broker) refreshBehind(ctx context.Context, client ClientID) (Grant, error) {
	token, err := b.look(ctx, client)
	if err != nil {
		return Grant{}, err
	}
	now := b.now()
	switch b.parts.Lifetime.Decide(token, now, Need{}).Action {
	case ServeAndExtend:
		if b.parts.Lifetime.mayWait(token, now) {
			ctx = Unhurried(ctx)
		}
		fallthrough
	case Refresh:
		return b.refresh(ctx, token)
	}
	return Grant{}, nil // whoever joined looks again
}

// extendBehind refreshes a token in the background, unless that is under way or just failed, or others wait for what is under
// way already. Where no turn is spare it waits for one, behind those who do.
func (b *Broker) extendBehind(ctx context.Context, token Token) {
	client, now := token.Client, time.Now()
	switch {
	case b.flying.busy(), b.calm.holds(client, now):
		return
	case b.parts.Lifetime.mayWait(token, b.now()) && b.backlog.follow(client, now):
		return
	}
	b.refreshes.join(ctx, client, func(ctx context.Context) (Grant, error) {
		return b.flyBehind(ctx, client, func() { b.putOff(client) })
	})
}

package session

import (
	"context"
	"time"
)

// Remembering is a [Store] that knows what it would find, as far as this replica has seen.
type Remembering interface {
	// Recall returns what Load does, and when it was so by the clock that lives are judged by. It is false where that is not
	// good. It looks only for who is likely to have a token that is, by what is remembered.
	Recall(ctx context.Context, client ClientID, good func(Token, time.Time) bool) (token Token, at time.Time, ok bool)
}

// Hit returns what [Broker.Grant] would for a client whose token is to be served as it is; false where there is more to it. It
// looks only where that is likely, so that hardly any other is looked for twice.
func (b *Broker) Hit(ctx context.Context, client ClientID) (Grant, bool) {
	if b.remembering == nil {
		return Grant{}, false
	}
	token, at, ok := b.remembering.Recall(ctx, client, b.served)
	return Grant{Token: token, Source: SourceCache, At: stored(at)}, ok
}

// servesAsIs reports whether token is to be served at a time as it is, to who asks for nothing in particular.
func (l Lifetime) servesAsIs(token Token, at time.Time) bool {
	return l.Decide(token, stored(at), Need{}) == Decision{Action: Serve}
}

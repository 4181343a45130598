package session

import (
	"context"
	"time"
)

// Remembering is a [Store] that knows of which clients there are tokens, as far as this replica has seen.
type Remembering interface {
	// Recall returns what Load does, and when it was so by the clock that lives are judged by. It looks only if what is
	// remembered of the client is good, and is false where that is not, or what it found: then nothing may have been looked for.
	Recall(ctx context.Context, client ClientID, good func(Token, time.Time) bool) (token Token, at time.Time, ok bool)
}

// Hit returns what [Broker.Grant] would for a client whose token is to be served as it is; false where there is more to it. It
// looks only where it is likely to be so, that no other is looked for twice.
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

package session

import "context"

// Remembering is a [Store] that knows of which clients there are tokens, as far as this replica has seen.
type Remembering interface {
	// Remembers reports whether there was one when the client was last seen.
	Remembers(client ClientID) bool
}

// Hit returns what [Broker.Grant] would for a client whose token is to be served as it is; false where there is more to it. It
// looks only for what was there before, so that who is new is not looked for twice.
func (b *Broker) Hit(ctx context.Context, client ClientID) (Grant, bool) {
	if b.remembering == nil || !b.remembering.Remembers(client) {
		return Grant{}, false
	}
	token, err := b.parts.Store.Load(ctx, client)
	if err != nil {
		return Grant{}, false
	}
	now := b.now()
	if (b.parts.Lifetime.Decide(token, now, Need{}) != Decision{Action: Serve}) {
		return Grant{}, false
	}
	return Grant{Token: token, Source: SourceCache, At: now}, true
}

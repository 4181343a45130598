package portaltest

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"time"
)

// ledger holds the clients and their tokens. It is guarded by Portal.mu.
type ledger struct {
	idleTTL, refreshWindow time.Duration
	clients                map[string]*client // id → client
	listed                 []*client          // the same, oldest first
	tokens                 map[string]*token  // CST → what is known of it; killed ones are gone
	issued                 Issued
}

type client struct {
	id                  string
	place               int // in ledger.listed
	apiKey              string
	isAccountAbstracted bool
	tokens              []string
}

type token struct {
	owner    *client
	mintedAt time.Time
	activeAt time.Time // when the expiry last slid
}

// add makes a client, or returns the one that has the id already.
func (l *ledger) add(id string) *client {
	c, known := l.clients[id]
	if !known {
		c = &client{id: id, place: len(l.listed), apiKey: randomSecret()}
		l.clients[id] = c
		l.issued.ClientAPIKeys[c.apiKey] = id
		l.listed = append(l.listed, c)
	}
	return c
}

// mint makes a token and returns its CST.
func (l *ledger) mint(owner *client, now time.Time) string {
	cst := randomSecret()
	l.issued.Tokens[cst] = owner.id
	l.tokens[cst] = &token{owner: owner, mintedAt: now, activeAt: now}
	owner.tokens = append(owner.tokens, cst)
	return cst
}

// killAll ends every token of the client.
func (l *ledger) killAll(c *client) {
	for _, cst := range c.tokens {
		delete(l.tokens, cst)
	}
	c.tokens = nil
}

func (l *ledger) refreshableUntil(t *token) time.Time {
	return t.mintedAt.Add(l.refreshWindow)
}

// slide moves the expiry, unless the refresh window is over.
func (l *ledger) slide(t *token, now time.Time) {
	if now.Before(l.refreshableUntil(t)) {
		t.activeAt = now
	}
}

// expiresAt is the first moment at which t is refused.
func (p *Portal) expiresAt(t *token) time.Time {
	idleAt, refreshableUntil := t.activeAt.Add(p.ledger.idleTTL), p.ledger.refreshableUntil(t)
	if p.behavior.OutlivesWindow || idleAt.Before(refreshableUntil) {
		return idleAt
	}
	return refreshableUntil
}

// live returns the token if it is accepted now, else nil.
func (p *Portal) live(cst string, now time.Time) *token {
	t, known := p.ledger.tokens[cst]
	if !known || !now.Before(p.expiresAt(t)) {
		return nil
	}
	return t
}

// settle lets an answered request count as activity of the CST that it carried.
func (p *Portal) settle(c call, a answer) {
	t := p.live(c.bearer, c.at)
	if t == nil {
		return
	}
	if a.succeeded() || p.behavior.SlideOnError && a.pardonable() {
		p.ledger.slide(t, c.at)
	}
}

// randomID returns an id that looks like Portal's: a cuid of 25 characters.
func randomID() string {
	return "c" + strings.ToLower(rand.Text()[:24])
}

// randomSecret returns 256 bits without a form to rely on, as Portal states
// none.
func randomSecret() string {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails: it ends the process instead
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

package portaltest

import (
	"maps"
	"time"
)

// tokenState is what /_sim/accepts answers.
type tokenState struct {
	Accepts   bool      `json:"accepts"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	ActiveAt  time.Time `json:"activeAt,omitzero"`
}

// inspect looks at a CST without sliding it.
func (p *Portal) inspect(cst string) (s tokenState, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, known := p.ledger.tokens[cst]
	if !known {
		return tokenState{}, false
	}
	return tokenState{
		Accepts:   p.live(cst, p.now()) != nil,
		ExpiresAt: p.expiresAt(t).UTC(),
		ActiveAt:  t.activeAt.UTC(),
	}, true
}

// Accepts reports whether a request with the CST would be authenticated right
// now. Asking does not slide the expiry.
func (p *Portal) Accepts(cst string) bool {
	s, _ := p.inspect(cst)
	return s.Accepts
}

// Expires returns the first moment, in UTC, at which the CST is refused if it is
// not used before. ok is false for a CST never made or killed; an expired one is
// known still.
func (p *Portal) Expires(cst string) (at time.Time, ok bool) {
	s, known := p.inspect(cst)
	return s.ExpiresAt, known
}

// ActiveAt returns the moment, in UTC, from which the CST's idle time counts: the
// last request that slid its expiry, or its mint. ok is as for Expires.
func (p *Portal) ActiveAt(cst string) (at time.Time, ok bool) {
	s, known := p.inspect(cst)
	return s.ActiveAt, known
}

// Kill ends a CST before its time, as Portal may without saying so.
func (p *Portal) Kill(cst string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ledger.tokens, cst)
}

// KillClient ends all CSTs of a client; the client itself stays known.
func (p *Portal) KillClient(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, known := p.ledger.clients[id]; known {
		p.ledger.killAll(c)
	}
}

// AddClient makes a client known under the id, without a token, as if it had
// been registered long ago. For a known id it does nothing.
func (p *Portal) AddClient(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.add(id)
}

// Issued is every secret that a Portal ever made, dead ones too (:: secret → the client's id).
type Issued struct {
	Tokens        map[string]string
	ClientAPIKeys map[string]string
}

// Issued returns what was made so far.
func (p *Portal) Issued() Issued {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Issued{Tokens: maps.Clone(p.ledger.issued.Tokens), ClientAPIKeys: maps.Clone(p.ledger.issued.ClientAPIKeys)}
}

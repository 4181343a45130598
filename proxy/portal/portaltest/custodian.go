package portaltest

import (
	"encoding/json"
	"net/http"
	"time"
)

// ejectable is how long a client can be ejected once it was enabled (Portal's documentation).
const ejectable = 5 * time.Minute

func register(success int) work {
	return func(p *Portal, c call) answer {
		var wish struct {
			IsAccountAbstracted bool `json:"isAccountAbstracted"`
		}
		if len(c.body) > 0 && json.Unmarshal(c.body, &wish) != nil {
			return refusal(http.StatusBadRequest)
		}
		owner := p.ledger.add(randomID())
		owner.isAccountAbstracted = wish.IsAccountAbstracted
		p.stats.Registrations++
		d := describe(owner)
		d.ClientAPIKey, d.ClientSessionToken = owner.apiKey, p.ledger.mint(owner, c.at)
		return answer{status: success, body: d}
	}
}

func (p *Portal) mint(c call) answer {
	if p.behavior.AnyClient {
		p.ledger.add(c.clientID)
	}
	owner, known := p.ledger.clients[c.clientID]
	if !known {
		return refusal(p.behavior.UnknownClientStatus)
	}
	if p.behavior.MintKillsOlder {
		p.ledger.killAll(owner)
	}
	p.stats.Mints++
	p.stats.MintsByClient[owner.id]++
	d := describe(owner)
	d.ClientSessionToken = p.ledger.mint(owner, c.at)
	return answer{status: http.StatusOK, body: d}
}

func (p *Portal) read(c call) answer {
	owner, known := p.ledger.clients[c.clientID]
	if !known {
		return refusal(p.behavior.UnknownClientStatus)
	}
	return answer{status: http.StatusOK, body: describe(owner)}
}

// readLeaky gives the Client API Key away, as Portal's v1 does.
func (p *Portal) readLeaky(c call) answer {
	a := p.read(c)
	if d, ok := a.body.(document); ok {
		d.ClientAPIKey = p.ledger.clients[c.clientID].apiKey
		a.body = d
	}
	return a
}

// listLeaky gives every client's Client API Key away, as Portal's v1 does: it
// knows no pages.
func (p *Portal) listLeaky(call) answer {
	all := make([]document, 0, len(p.ledger.listed))
	for _, c := range p.ledger.listed {
		d := describe(c)
		d.ClientAPIKey = c.apiKey
		all = append(all, d)
	}
	return answer{status: http.StatusOK, body: all}
}

func (p *Portal) webOTP(c call) answer {
	return p.about(c, func(owner *client) any {
		return map[string]string{"id": owner.id, "otp": randomSecret()}
	})
}

func (p *Portal) enableEject(c call) answer {
	return p.about(c, func(*client) any {
		return map[string]time.Time{"ejectableUntil": c.at.Add(ejectable).UTC()}
	})
}

// prepareEject answers no object, but a string: the end of the time in which the client can be ejected.
func (p *Portal) prepareEject(c call) answer {
	return p.about(c, func(*client) any { return c.at.Add(ejectable).UTC() })
}

// prepareEjectLeaky hides the Client API Key deep in the answer, which is not
// stated for v1, so that whoever takes it out at the top alone is found out.
func (p *Portal) prepareEjectLeaky(c call) answer {
	return p.about(c, func(owner *client) any {
		d := describe(owner)
		d.ClientAPIKey = owner.apiKey
		return map[string]any{
			"ejectableUntil": c.at.Add(ejectable).UTC(),
			"wallet":         map[string]any{"shares": []any{map[string]any{"client": d}}},
		}
	})
}

// about answers what body says of a client that is known.
func (p *Portal) about(c call, body func(*client) any) answer {
	owner, known := p.ledger.clients[c.clientID]
	if !known {
		return refusal(p.behavior.UnknownClientStatus)
	}
	return answer{status: http.StatusOK, body: body(owner)}
}

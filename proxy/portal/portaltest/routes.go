package portaltest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Operation is what a request asks Portal for, whatever the API version.
type Operation string

// The operations, by which faults are set and arrivals are listed.
const (
	Register Operation = "register" // make a client
	Mint     Operation = "mint"     // make a session, that is a CST
	Read     Operation = "read"     // read one client with the Portal API Key
	List     Operation = "list"     // read some clients, page by page
	Probe    Operation = "probe"    // GET …/clients/me with a CST
	Track    Operation = "track"    // what an SDK tells Portal's analytics, with a CST
	Enclave  Operation = "enclave"  // any call to the Enclave MPC API
	All      Operation = "all"
)

var families = map[Operation]family{
	Register: custodianAPI,
	Mint:     custodianAPI,
	Read:     custodianAPI,
	List:     custodianAPI,
	Probe:    clientsAPI,
	Track:    clientsAPI,
	Enclave:  enclaveAPI,
}

// call is what counts of a request.
type call struct {
	bearer   string
	clientID string
	query    url.Values
	body     []byte
	at       time.Time
}

// work is what a route does, under the lock.
type work func(*Portal, call) answer

func (p *Portal) newRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(operation Operation, w work, patterns ...string) {
		for _, pattern := range patterns {
			mux.HandleFunc(pattern, p.handler(operation, w))
		}
	}
	handle(Register, withKey(register(http.StatusCreated)), "POST /api/v1/custodians/clients")
	handle(Register, withKey(register(http.StatusOK)), "POST /api/v3/custodians/me/clients")
	handle(Mint, withKey((*Portal).mint),
		"POST /api/v1/custodians/clients/{id}/session",
		"POST /api/v3/custodians/me/clients/{id}/sessions")
	handle(Read, withKey((*Portal).readLeaky), "GET /api/v1/custodians/clients/{id}")
	handle(Read, withKey((*Portal).read), "GET /api/v3/custodians/me/clients/{id}")
	handle(List, withKey((*Portal).list), "GET /api/v3/custodians/me/clients")
	handle(Probe, withToken((*Portal).probe),
		"GET /api/v1/clients/me", "GET /api/v2/clients/me", "GET /api/v3/clients/me")
	handle(Track, withToken((*Portal).track), "POST /api/v1/analytics/identify", "POST /api/v1/analytics/track")
	handle(Enclave, withToken((*Portal).execute),
		"POST /v1/generate", "POST /v1/sign", "POST /v1/assets/send",
		"POST /v1/backup", "POST /v1/recover", "POST /v1/raw/sign/{curve}")
	mux.HandleFunc("/", p.notFound)
	p.addControl(mux)
	return mux
}

// handler takes a request of operation from its arrival to its answer.
func (p *Portal) handler(operation Operation, w work) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		c, err := readCall(r)
		if err != nil {
			refusal(http.StatusBadRequest).send(rw)
			return
		}
		f, name := p.arrive(operation)
		if f.Kind == Hang && p.hang(r.Context(), name) != nil {
			hangUp(rw)
			return
		}
		a := p.perform(c, w, f)
		if p.delay(r.Context(), f.Latency) != nil {
			hangUp(rw)
			return
		}
		f.deliver(rw, a)
	}
}

// readCall reads the body to its end: net/http watches for the caller's leaving
// only from then on.
func readCall(r *http.Request) (call, error) {
	body, err := io.ReadAll(r.Body)
	return call{bearer: bearer(r), clientID: r.PathValue("id"), query: r.URL.Query(), body: body}, err
}

func bearer(r *http.Request) string {
	credential, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return credential
}

// perform does the work, unless the fault is to happen instead of it.
func (p *Portal) perform(c call, w work, f Fault) answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.at = p.now()
	a, replaced := f.instead()
	if !replaced {
		a = w(p, c)
	}
	p.settle(c, a)
	return a
}

// notFound answers whatever is no route of Portal's, as far as it is simulated.
func (p *Portal) notFound(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.stats.Requests++
	a := answer{status: http.StatusNotFound, body: struct{}{}}
	p.settle(call{bearer: bearer(r), at: p.now()}, a)
	p.mu.Unlock()
	a.send(w)
}

// withKey lets pass who has the Portal API Key.
func withKey(w work) work {
	return func(p *Portal, c call) answer {
		if c.bearer != p.apiKey {
			p.stats.Unauthorized++
			return refusal(http.StatusUnauthorized)
		}
		return w(p, c)
	}
}

// withToken lets pass who has a live CST, with the token's client as its own.
func withToken(w work) work {
	return func(p *Portal, c call) answer {
		t := p.live(c.bearer, c.at)
		if t == nil {
			p.stats.Unauthorized++
			return answer{status: http.StatusUnauthorized, body: deadTokenBody(p.stats.Unauthorized)}
		}
		c.clientID = t.owner.id
		return w(p, c)
	}
}

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

func (p *Portal) probe(c call) answer {
	p.stats.Probes++
	d := describe(p.ledger.clients[c.clientID])
	d.Wallets = []struct{}{}
	return answer{status: http.StatusOK, body: d}
}

func (p *Portal) track(call) answer {
	return answer{status: http.StatusOK, body: map[string]bool{"success": true}}
}

// execute stands for every Enclave call: what they answer is of no concern here.
func (p *Portal) execute(c call) answer {
	return answer{status: http.StatusOK, body: map[string]string{"data": "simulated", "clientId": c.clientID}}
}

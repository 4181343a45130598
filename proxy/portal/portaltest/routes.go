package portaltest

import "net/http"

// Operation is what a request asks Portal for, whatever the API version.
type Operation string

// The operations, by which faults are set and arrivals are listed.
const (
	Register Operation = "register" // make a client
	Mint     Operation = "mint"     // make a session, that is a CST
	Read     Operation = "read"     // read one client with the Portal API Key
	List     Operation = "list"     // read some clients, page by page
	Manage   Operation = "manage"   // a client's web-otp, enable-eject or prepare-eject with the Portal API Key
	Probe    Operation = "probe"    // GET …/clients/me with a CST
	Track    Operation = "track"    // what an SDK tells Portal's analytics, with a CST
	Use      Operation = "use"      // any other call to the Clients API with a CST
	Enclave  Operation = "enclave"  // any call to the Enclave MPC API
	All      Operation = "all"
)

var families = map[Operation]family{
	Register: custodianAPI,
	Mint:     custodianAPI,
	Read:     custodianAPI,
	List:     custodianAPI,
	Manage:   custodianAPI,
	Probe:    clientsAPI,
	Track:    clientsAPI,
	Use:      clientsAPI,
	Enclave:  enclaveAPI,
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
	handle(Register, withKey(register(http.StatusCreated)), "POST /api/v1/custodians/clients", "POST /api/clients")
	handle(Register, withKey(register(http.StatusOK)), "POST /api/v3/custodians/me/clients")
	handle(Mint, withKey((*Portal).mint),
		"POST /api/v1/custodians/clients/{id}/session",
		"POST /api/v3/custodians/me/clients/{id}/sessions")
	handle(Read, withKey((*Portal).readLeaky), "GET /api/v1/custodians/clients/{id}")
	handle(Read, withKey((*Portal).read), "GET /api/v3/custodians/me/clients/{id}")
	handle(List, withKey((*Portal).listLeaky), "GET /api/v1/custodians/clients")
	handle(List, withKey((*Portal).list), "GET /api/v3/custodians/me/clients")
	// v1's web-otp is a GET in v1's reference, and was a POST in v3's before v3 had one of its own.
	handle(Manage, withKey((*Portal).webOTP), "POST /api/v3/custodians/me/clients/{id}/web-otps",
		"GET /api/v1/custodians/clients/{id}/web-otp", "POST /api/v1/custodians/clients/{id}/web-otp")
	handle(Manage, withKey((*Portal).enableEject), "PATCH /api/v3/custodians/me/clients/{id}/enable-eject")
	handle(Manage, withKey((*Portal).prepareEject), "POST /api/v3/custodians/me/clients/{id}/prepare-eject")
	handle(Manage, withKey((*Portal).prepareEjectLeaky), "POST /api/v1/custodians/clients/{id}/prepare-eject")
	handle(Probe, withToken((*Portal).probe),
		"GET /api/v1/clients/me", "GET /api/v2/clients/me", "GET /api/v3/clients/me")
	handle(Track, withToken((*Portal).track), "POST /api/v1/analytics/identify", "POST /api/v1/analytics/track")
	mux.HandleFunc("/", p.newFamilies())
	p.addControl(mux)
	return mux
}

// handler takes a request of operation from its arrival to its answer.
func (p *Portal) handler(operation Operation, w work) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		c, err := readCall(rw, r)
		if err != nil {
			refusal(unreadable(err)).send(rw)
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
		if c.trace != "" && families[operation] != custodianAPI {
			rw.Header().Set(traceHeader, c.trace)
		}
		f.deliver(rw, a)
	}
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

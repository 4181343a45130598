package portaltest

import (
	"maps"
	"time"
)

// maxArrivals bounds what a Portal under load for days keeps.
const maxArrivals = 1 << 20

// Stats count what was done, whether or not the answer arrived.
type Stats struct {
	// Requests are all that came whole, but for those to the control routes.
	Requests int `json:"requests"`
	// Registrations are clients made by the registration routes.
	Registrations int `json:"registrations"`
	// Mints are CSTs made by the mint routes; registrations are not among them.
	Mints int `json:"mints"`
	// Probes are reads of …/clients/me that found the CST live.
	Probes int `json:"probes"`
	// Uses are calls to the rest of the Clients API that found the CST live,
	// whatever status they asked for; what an SDK tracks is not among them.
	Uses int `json:"uses"`
	// Executions are calls to the Enclave MPC API that found the CST live.
	Executions int `json:"executions"`
	// Unauthorized are requests without the right key or a live CST.
	Unauthorized int `json:"unauthorized"`
	// RateLimited are requests refused for the rate limit.
	RateLimited int `json:"rateLimited"`
	// Faulted are requests that a fault happened to.
	Faulted int `json:"faulted"`
	// MintsByClient maps a client id to its share of Mints; the caller's own.
	MintsByClient map[string]int `json:"mintsByClient"`
}

type arrival struct {
	operation Operation
	at        time.Time
}

// Stats returns the counts since New or ResetCounters.
func (p *Portal) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.MintsByClient = maps.Clone(s.MintsByClient)
	return s
}

// ResetCounters starts Stats and Arrivals anew. Clients, tokens, behavior and
// the rate limit's minute stay.
func (p *Portal) ResetCounters() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats = Stats{MintsByClient: map[string]int{}}
	p.arrivals = nil
}

// Arrivals returns when requests of the operation, or of All, came, earliest
// first: refused and failed ones too. Of very many only the latest are kept, at
// least half a million.
func (p *Portal) Arrivals(operation Operation) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	times := []time.Time{}
	for _, a := range p.arrivals {
		if operation == All || operation == a.operation {
			times = append(times, a.at)
		}
	}
	return times
}

// arrive counts a request and says what goes wrong with it: the name under which
// the fault was set comes along, since a Hang asks for it again.
func (p *Portal) arrive(operation Operation) (f Fault, name Operation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.stats.Requests++
	p.arrivals = append(p.arrivals, arrival{operation, now})
	if len(p.arrivals) >= maxArrivals {
		p.arrivals = append([]arrival{}, p.arrivals[maxArrivals/2:]...)
	}
	if f, over := p.overLimit(operation, now); over {
		return f, operation
	}
	f, name = p.behavior.takeFault(operation)
	if f != (Fault{}) {
		p.stats.Faulted++
	}
	return f, name
}

package portaltest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// Behavior is what can be changed while a Portal runs: a reading for each
// point on which Portal's documentation is silent, the rate limit, and faults.
type Behavior struct {
	// MintKillsOlder: a new mint ends the client's older tokens. Not stated by
	// Portal: one version "refreshes" a session, another "creates" one.
	MintKillsOlder bool `json:"mintKillsOlder"`
	// OutlivesWindow: a token lives out its last idle time beyond the refresh
	// window, without sliding any more, instead of dying with it. Not stated.
	OutlivesWindow bool `json:"outlivesWindow"`
	// SlideOnError: an answer of 4xx, but for 401, slides a live token's expiry
	// as a 2xx does. Not stated.
	SlideOnError bool `json:"slideOnError"`
	// UnknownClientStatus answers for a client that was never made: 400, 401,
	// 403 or 404 (also for 0). Not stated.
	UnknownClientStatus int `json:"unknownClientStatus"`
	// AnyClient: a mint for an unknown client makes it instead of failing. No
	// real Portal does; it spares demonstrations and load runs the registering.
	AnyClient bool `json:"anyClient"`
	// RateLimit is the number of requests admitted in any rolling minute, for
	// the Custodian API and for the Clients API each; 0 is no limit. Portal's
	// documentation states 200 for both and leaves the window open.
	RateLimit int `json:"rateLimit"`
	// RetryAfter is the form in which the rate limit's 429 says when to come
	// back. Not stated.
	RetryAfter RetryAfter `json:"retryAfter"`
	// Faults maps an operation, or All, to what goes wrong with it; an
	// operation's own fault comes before that of All. A zero Fault is none.
	Faults map[Operation]Fault `json:"faults"`
}

// RetryAfter is a form of the header of that name. The zero value is no header.
type RetryAfter string

// The forms that HTTP knows.
const (
	RetryAfterNone    RetryAfter = ""
	RetryAfterSeconds RetryAfter = "seconds"
	RetryAfterDate    RetryAfter = "date"
)

// Behavior returns the current behavior; changing it changes nothing here.
func (p *Portal) Behavior() Behavior {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.behavior.clone()
}

// Set changes the behavior, at once for all requests that come later. change
// gets the current one, with Faults never nil; it must not call the Portal. Set
// panics if the result is nothing that Portal can be made to do.
func (p *Portal) Set(change func(*Behavior)) {
	err := p.update(func(b *Behavior) error {
		change(b)
		return nil
	})
	if err != nil {
		panic("portaltest: " + err.Error())
	}
}

// Inject lets f happen to operation, or to All, in place of what did; a zero
// Fault heals it. It panics as Set does.
func (p *Portal) Inject(operation Operation, f Fault) {
	p.Set(func(b *Behavior) { b.Faults[operation] = f })
}

// ClearFaults heals everything and lets go the requests that hang.
func (p *Portal) ClearFaults() {
	p.Set(func(b *Behavior) { clear(b.Faults) })
}

// update changes all or, on an error, nothing.
func (p *Portal) update(change func(*Behavior) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.behavior.clone()
	if err := change(&next); err != nil {
		return err
	}
	next.normalize()
	if err := next.check(); err != nil {
		return err
	}
	p.behavior = next
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (b *Behavior) clone() Behavior {
	c := *b
	c.Faults = maps.Clone(b.Faults)
	if c.Faults == nil {
		c.Faults = map[Operation]Fault{}
	}
	return c
}

func (b *Behavior) normalize() {
	*b = b.clone()
	maps.DeleteFunc(b.Faults, func(_ Operation, f Fault) bool { return f == Fault{} })
	if b.UnknownClientStatus == 0 {
		b.UnknownClientStatus = http.StatusNotFound
	}
}

func (b *Behavior) check() error {
	switch b.UnknownClientStatus {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
	default:
		return fmt.Errorf("unknownClientStatus: %d is none of 400, 401, 403, 404", b.UnknownClientStatus)
	}
	if b.RateLimit < 0 {
		return fmt.Errorf("rateLimit: %d is negative", b.RateLimit)
	}
	if !slices.Contains([]RetryAfter{RetryAfterNone, RetryAfterSeconds, RetryAfterDate}, b.RetryAfter) {
		return fmt.Errorf("retryAfter: %q is none of %q, %q, %q", b.RetryAfter, RetryAfterNone, RetryAfterSeconds, RetryAfterDate)
	}
	for operation, f := range b.Faults {
		if err := f.check(operation); err != nil {
			return fmt.Errorf("faults.%s: %w", operation, err)
		}
	}
	return nil
}

// takeFault returns what goes wrong with the next request of operation, and
// under whose name it was set, and counts it.
func (b *Behavior) takeFault(operation Operation) (Fault, Operation) {
	for _, name := range []Operation{operation, All} {
		f, set := b.Faults[name]
		if !set || f.Times == spent {
			continue
		}
		b.Faults[name] = f.used()
		return f, name
	}
	return Fault{}, operation
}

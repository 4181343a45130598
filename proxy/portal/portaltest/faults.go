package portaltest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// FaultKind is a way to go wrong. The zero value is none: with a Latency, slow
// but right.
type FaultKind string

// What happens instead of the work.
const (
	// Status answers Fault.Status, a 4xx or 5xx.
	Status FaultKind = "status"
	// Reset drops the connection, by a TCP reset where there is TCP.
	Reset FaultKind = "reset"
	// Redirect answers 302 to Fault.Location.
	Redirect FaultKind = "redirect"
	// Hang does nothing until the request's context ends, the Portal is closed
	// or the fault is cleared; only in that last case is the request served.
	Hang FaultKind = "hang"
)

// What happens to the answer after the work was done. But for Lost they spoil
// successes alone; a refusal is answered as it is.
const (
	// Lost drops the connection in place of the answer.
	Lost FaultKind = "lost"
	// Garbage answers with success something that is not JSON.
	Garbage FaultKind = "garbage"
	// Huge puts 64 MiB of blanks, which JSON allows, before the answer.
	Huge FaultKind = "huge"
	// WrongID names another client in the answer.
	WrongID FaultKind = "wrongId"
	// NoToken leaves the CST out of the answer.
	NoToken FaultKind = "noToken"
)

// spent is the Times of a fault that has happened as often as it should. It
// stays in sight until it is cleared or set again, since requests may still
// hang in it.
const spent = -1

// elsewhere is a host that can't exist (RFC 2606).
const elsewhere = "https://elsewhere.invalid/"

// Fault is something going wrong. In JSON, Latency is a Go duration ("250ms").
type Fault struct {
	Kind FaultKind `json:"kind,omitempty"`
	// Latency holds back the answer, after the work was done: whoever dates a
	// token from the answer dates it too late. It passes in the process's own
	// time, not in that of Options.Now.
	Latency time.Duration `json:"-"`
	// Status goes with the kind of that name.
	Status int `json:"status,omitempty"`
	// RetryAfter is sent as the header of that name, as it is, with a Status.
	RetryAfter string `json:"retryAfter,omitempty"`
	// Location goes with Redirect; empty is a host that does not exist.
	Location string `json:"location,omitempty"`
	// Times is how many requests it happens to; 0 is all until it is cleared.
	// A fault that is through with them reads −1.
	Times int `json:"times,omitempty"`
}

func (f Fault) check(operation Operation) error {
	switch {
	case operation != All && families[operation] == "":
		return errors.New("no such operation")
	case f.Latency < 0:
		return fmt.Errorf("latency: %s is negative", f.Latency)
	case f.Times < spent:
		return fmt.Errorf("times: %d is negative", f.Times)
	case !slices.Contains([]FaultKind{"", Status, Reset, Redirect, Hang, Lost, Garbage, Huge, WrongID, NoToken}, f.Kind):
		return fmt.Errorf("kind: %q is unknown", f.Kind)
	case f.Kind == Status && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status: %d is neither 4xx nor 5xx", f.Status)
	}
	return nil
}

// used returns the fault as it is after one more request.
func (f Fault) used() Fault {
	switch f.Times {
	case 0, spent:
	case 1:
		f.Times = spent
	default:
		f.Times--
	}
	return f
}

// instead returns the answer that takes the place of the work, if one does.
func (f Fault) instead() (a answer, replaced bool) {
	switch f.Kind {
	case Reset:
		return answer{}, true
	case Redirect:
		location := f.Location
		if location == "" {
			location = elsewhere
		}
		return answer{status: http.StatusFound, header: map[string]string{"Location": location}, body: struct{}{}}, true
	case Status:
		a := refusal(f.Status)
		if f.RetryAfter != "" {
			a.header = map[string]string{"Retry-After": f.RetryAfter}
		}
		return a, true
	}
	return answer{}, false
}

// deliver sends a, or what the fault makes of it.
func (f Fault) deliver(w http.ResponseWriter, a answer) {
	switch {
	case f.Kind == Reset || f.Kind == Lost:
		hangUp(w)
	case !a.succeeded():
		a.send(w)
	case f.Kind == Garbage:
		a.sendGarbage(w)
	case f.Kind == Huge:
		a.sendHuge(w)
	default:
		a.altered(f.Kind).send(w)
	}
}

var errClosed = errors.New("portal closed")

// hang waits until no Hang is set under name any more.
func (p *Portal) hang(ctx context.Context, name Operation) error {
	for {
		changed, hangs := p.hangs(name)
		if !hangs {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.closed:
			return errClosed
		}
	}
}

func (p *Portal) hangs(name Operation) (changed <-chan struct{}, hangs bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed, p.behavior.Faults[name].Kind == Hang
}

// delay waits for d to pass.
func (p *Portal) delay(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.closed:
		return errClosed
	}
}

package portaltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

type tokenCommand struct {
	Token string `json:"token"`
}

type killCommand struct {
	Token    string `json:"token"`
	ClientID string `json:"clientId"`
}

type clientCommand struct {
	ID string `json:"id"`
}

func (p *Portal) addControl(mux *http.ServeMux) {
	mux.HandleFunc("GET /_sim/stats", control(func(*http.Request) (any, error) { return p.Stats(), nil }))
	mux.HandleFunc("DELETE /_sim/stats", control(p.resetCounters))
	mux.HandleFunc("GET /_sim/arrivals", control(p.listArrivals))
	mux.HandleFunc("POST /_sim/accepts", control(command(p.showToken)))
	mux.HandleFunc("POST /_sim/kill", control(command(p.kill)))
	mux.HandleFunc("POST /_sim/clients", control(command(p.addClient)))
	mux.HandleFunc("GET /_sim/behavior", control(func(*http.Request) (any, error) { return p.Behavior(), nil }))
	mux.HandleFunc("PUT /_sim/behavior", control(p.putBehavior))
	mux.HandleFunc("/_sim/", func(w http.ResponseWriter, _ *http.Request) {
		refusal(http.StatusNotFound).send(w)
	})
}

// control answers what do returns; its errors are the caller's fault.
func control(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		result, err := do(r)
		if err != nil {
			answer{status: http.StatusBadRequest, body: map[string]string{"error": err.Error()}}.send(w)
			return
		}
		answer{status: http.StatusOK, body: result}.send(w)
	}
}

// command reads a T from the body for do.
func command[T any](do func(T) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var c T
		if err := decode(r.Body, &c); err != nil {
			return nil, err
		}
		return do(c)
	}
}

func (p *Portal) resetCounters(*http.Request) (any, error) {
	p.ResetCounters()
	return struct{}{}, nil
}

func (p *Portal) listArrivals(r *http.Request) (any, error) {
	operation := Operation(r.FormValue("operation"))
	switch {
	case operation == "":
		operation = All
	case operation != All && families[operation] == "":
		return nil, fmt.Errorf("operation: %q is unknown", operation)
	}
	times := p.Arrivals(operation)
	for i := range times {
		times[i] = times[i].UTC()
	}
	return map[string][]time.Time{"arrivals": times}, nil
}

func (p *Portal) showToken(c tokenCommand) (any, error) {
	if c.Token == "" {
		return nil, errors.New("token: is missing")
	}
	state, _ := p.inspect(c.Token)
	return state, nil
}

func (p *Portal) kill(c killCommand) (any, error) {
	if (c.Token == "") == (c.ClientID == "") {
		return nil, errors.New("token, clientId: exactly one is needed")
	}
	p.Kill(c.Token)
	p.KillClient(c.ClientID)
	return struct{}{}, nil
}

func (p *Portal) addClient(c clientCommand) (any, error) {
	if c.ID == "" {
		return nil, errors.New("id: is missing")
	}
	p.AddClient(c.ID)
	return c, nil
}

// putBehavior decodes over the current behavior: what is not named stays.
func (p *Portal) putBehavior(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	err = p.update(func(b *Behavior) error { return decode(bytes.NewReader(body), b) })
	if err != nil {
		return nil, err
	}
	return p.Behavior(), nil
}

// decode reads one JSON value and nothing else; an error names the field.
func decode(from io.Reader, into any) error {
	decoder := json.NewDecoder(from)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("read JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read JSON: more than one value")
	}
	return nil
}

// faultFields are those that JSON has as Go has; they come without methods.
type faultFields Fault

// faultJSON is a Fault on the wire.
type faultJSON struct {
	faultFields
	Latency duration `json:"latency,omitempty"`
}

type duration time.Duration

// MarshalJSON writes Latency as a Go duration.
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultJSON{faultFields(f), duration(f.Latency)})
}

// UnmarshalJSON reads what MarshalJSON writes and refuses unknown fields. For
// null the fault is left as it is.
func (f *Fault) UnmarshalJSON(text []byte) error {
	wire := faultJSON{faultFields(*f), duration(f.Latency)}
	if err := decode(bytes.NewReader(text), &wire); err != nil {
		return err
	}
	*f = Fault(wire.faultFields)
	f.Latency = time.Duration(wire.Latency)
	return nil
}

// MarshalText writes a Go duration.
func (d duration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText reads a Go duration; an error names the one field of the type.
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	if err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	return nil
}

package proxy_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func TestRegistrationAsCallersSeeIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		paths  portal.Paths
		target string
		body   string
		status int
	}{
		"register":    {portal.V1, "/v1/clients", `{"isAccountAbstracted":true}`, http.StatusCreated},
		"register_v1": {portal.V1, v1Clients, `{}`, http.StatusCreated},
		"register_v3": {portal.V3, v3Clients, `{}`, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *setup) { s.paths = c.paths })
			a := w.post(c.target, c.body, testID)
			d := a.token(t, c.status)
			golden(t, name, a.blind(d))
			if got := w.get("/v1/clients/"+d.ID+"/token").token(t, http.StatusOK); got.TokenID != d.TokenID || got.Source != "cache" {
				t.Errorf("fetched %s from %s afterwards, want %s from cache", got.TokenID, got.Source, d.TokenID)
			}
			w.wantRegistered(1)
			w.wantMints(0)
		})
	}
}

func (w *world) wantRegistered(want int) {
	w.t.Helper()
	if n := w.sim.Stats().Registrations; n != want {
		w.t.Errorf("%d clients were made, want %d", n, want)
	}
}

func TestLocationLeadsToTheNewClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.post("/v1/clients", "")
	d := a.token(t, http.StatusCreated)
	var got status
	w.get(a.header.Get("Location")).decode(t, &got)
	if got.ID != d.ID || got.TokenID != d.TokenID {
		t.Errorf("%s leads to %s with %s, want %s with %s", a.header.Get("Location"), got.ID, got.TokenID, d.ID, d.TokenID)
	}
}

func TestRegistrationBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body       string
		abstracted bool
		refused    bool
	}{
		"none":                   {body: ""},
		"an empty object":        {body: "{}"},
		"true":                   {body: `{"isAccountAbstracted":true}`, abstracted: true},
		"false":                  {body: `{"isAccountAbstracted":false}`},
		"null":                   {body: `{"isAccountAbstracted":null}`},
		"a string":               {body: `{"isAccountAbstracted":"true"}`, refused: true},
		"a number":               {body: `{"isAccountAbstracted":1}`, refused: true},
		"a field not known":      {body: `{"accountAbstracted":true}`, refused: true},
		"half an object":         {body: `{"isAccountAbstracted":true`, refused: true},
		"something after it":     {body: `{}{}`, refused: true},
		"an array":               {body: `[{}]`, refused: true},
		"a form":                 {body: `isAccountAbstracted=true`, refused: true},
		"an empty string's JSON": {body: `""`, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for target, status := range map[string]int{"/v1/clients": 201, v1Clients: 201, v3Clients: 200} {
				w := newWorld(t)
				a := w.post(target, c.body)
				if c.refused {
					a.wantProblem(t, "invalid_request")
					w.wantUntouched()
					continue
				}
				if d := a.token(t, status); d.IsAccountAbstracted != c.abstracted {
					t.Errorf("%s: isAccountAbstracted is %v, want %v", target, d.IsAccountAbstracted, c.abstracted)
				}
			}
		})
	}
}

func TestPermanentKeyStaysBehind(t *testing.T) {
	t.Parallel()
	for name, paths := range map[string]portal.Paths{"v1": portal.V1, "v3": portal.V3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *setup) { s.paths = paths })
			d := w.post(v1Clients, "{}").token(t, http.StatusCreated)
			w.get("/v1/clients/"+d.ID+"/token").want(t, http.StatusOK)
			w.get("/v1/clients/"+d.ID).want(t, http.StatusOK)
			// Every world reads at its end what was said and logged; here there must be something to look for.
			if keys, _ := w.tap.secrets(); len(keys) == 0 {
				t.Error("Portal sent no clientApiKey")
			}
		})
	}
}

func TestEachRegistrationWithoutAKeyMakesAClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { w.post("/v1/clients", "") })
	}
	group.Wait()
	w.wantRegistered(3)
}

func TestRegistrationsWithOneKeyMakeOneClient(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: order-1"
	w := newWorld(t)
	w.sim.Inject(portaltest.Register, portaltest.Fault{Latency: 20 * time.Millisecond})
	all := make([]answer, 8)
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i] = w.post("/v1/clients", "", key) })
	}
	group.Wait()
	first := all[0].token(t, http.StatusCreated)
	for _, a := range all {
		if d := a.token(t, http.StatusCreated); d.ID != first.ID || d.TokenID != first.TokenID {
			t.Errorf("%s with %s, want %s with %s", d.ID, d.TokenID, first.ID, first.TokenID)
		}
	}
	for _, target := range []string{"/v1/clients", v1Clients, v3Clients} {
		a := w.post(target, "{}", key)
		var d document
		a.decode(t, &d)
		if d.ID != first.ID || d.TokenID != first.TokenID || d.Source != "cache" {
			t.Errorf("%s again: %s", target, a.body)
		}
	}
	w.wantRegistered(1)
	w.wantMints(0)
}

func TestKeyOutlivesTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.post("/v1/clients", "", "Idempotency-Key: k").token(t, http.StatusCreated)
	w.do(http.MethodDelete, "/v1/clients/"+first.ID+"/token", "").want(t, http.StatusNoContent)
	again := w.post("/v1/clients", "", "Idempotency-Key: k").token(t, http.StatusCreated)
	if again.ID != first.ID || again.TokenID == first.TokenID || again.Source != "mint" {
		t.Errorf("again: %s with %s from %s", again.ID, again.TokenID, again.Source)
	}
	w.wantRegistered(1)
}

func TestKeyHoldsForADay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after time.Duration
		made  int
	}{
		"a moment before its end": {day - time.Millisecond, 1},
		"at its end":              {day, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.post("/v1/clients", "", "Idempotency-Key: k").want(t, http.StatusCreated)
			w.clock.advance(c.after)
			w.post("/v1/clients", "", "Idempotency-Key: k").want(t, http.StatusCreated)
			w.wantRegistered(c.made)
		})
	}
}

func TestKeyOfAFailedRegistrationIsFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Inject(portaltest.Register, portaltest.Fault{Kind: portaltest.Status, Status: 500, Times: 1})
	w.post("/v1/clients", "", "Idempotency-Key: k").wantProblem(t, "portal_unavailable")
	w.wantRegistered(0)
	w.post("/v1/clients", "", "Idempotency-Key: k").want(t, http.StatusCreated)
	w.wantRegistered(1)
	if n := len(w.sim.Arrivals(portaltest.Register)); n != 2 {
		t.Errorf("%d registrations reached Portal, want 2: the proxy must not repeat one by itself", n)
	}
}

func TestKeyIsForOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.post("/v1/clients", "", "Idempotency-Key: k").want(t, http.StatusCreated)
	w.post("/v1/clients", `{"isAccountAbstracted":true}`, "Idempotency-Key: k").wantProblem(t, "invalid_request")
	w.post("/v1/clients", `{"isAccountAbstracted":false}`, "Idempotency-Key: k").want(t, http.StatusCreated)
	w.wantRegistered(1)
}

func TestKeysThatAreNoKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys []string
		good bool
	}{
		"one character":      {[]string{"k"}, true},
		"as long as allowed": {[]string{strings.Repeat("k", 255)}, true},
		"with any text":      {[]string{`{a}:"b" ü`}, true},
		"a character more":   {[]string{strings.Repeat("k", 256)}, false},
		"empty":              {[]string{""}, false},
		"blank":              {[]string{"  "}, false},
		"two":                {[]string{"a", "b"}, false},
		"the same twice":     {[]string{"a", "a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var header []string
			for _, key := range c.keys {
				header = append(header, "Idempotency-Key: "+key)
			}
			a := w.post("/v1/clients", "", header...)
			if c.good {
				a.want(t, http.StatusCreated)
				w.post("/v1/clients", "", header...).want(t, http.StatusCreated)
				w.wantRegistered(1)
				return
			}
			a.wantProblem(t, "invalid_request")
			w.wantUntouched()
		})
	}
}

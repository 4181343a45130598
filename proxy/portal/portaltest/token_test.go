package portaltest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

const (
	idle   = 24 * time.Hour
	window = 168 * time.Hour
)

// every returns the moments at which a client that comes every step until the
// given age of its token makes a request.
func every(step, until time.Duration) []time.Duration {
	var ages []time.Duration
	for age := step; age <= until; age += step {
		ages = append(ages, age)
	}
	return ages
}

func TestTokenIsAcceptedUntilItsExpiry(t *testing.T) {
	daily := every(20*time.Hour, 160*time.Hour)
	for name, tc := range map[string]struct {
		outlives bool
		used     []time.Duration // ages of the token at which it is used
		dies     time.Duration   // age at which it is refused
	}{
		"an idle token dies after a day":            {used: nil, dies: idle},
		"a use slides it":                           {used: []time.Duration{time.Hour}, dies: 25 * time.Hour},
		"a use in its last moment slides it":        {used: []time.Duration{idle - 1}, dies: 2*idle - 1},
		"a use at its expiry comes too late":        {used: []time.Duration{idle}, dies: idle},
		"no use slides it beyond the window":        {used: daily, dies: window},
		"a use just before the window's end":        {used: append(daily, window-1), dies: window},
		"outliving: an idle token":                  {outlives: true, used: nil, dies: idle},
		"outliving: it lives out its last day":      {outlives: true, used: daily, dies: 184 * time.Hour},
		"outliving: used just before the window":    {outlives: true, used: append(daily, window-1), dies: window + idle - 1},
		"outliving: a use at the window's end":      {outlives: true, used: append(daily, window), dies: 184 * time.Hour},
		"outliving: a use after the window's end":   {outlives: true, used: append(daily, window+time.Hour), dies: 184 * time.Hour},
		"outliving: a use in its very last moments": {outlives: true, used: append(daily, 184*time.Hour-1), dies: 184 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			portal, clock := newPortal(t, portaltest.Options{OutlivesWindow: tc.outlives, AnyClient: true})
			cst := mint(t, portal, alice)
			for _, age := range tc.used {
				clock.Set(epoch.Add(age))
				probe(portal, cst)
			}
			if at, ok := portal.Expires(cst); !ok || !at.Equal(epoch.Add(tc.dies)) {
				t.Errorf("expires at the age of %s, want %s", at.Sub(epoch), tc.dies)
			}
			clock.Set(epoch.Add(tc.dies - 1))
			if !portal.Accepts(cst) {
				t.Error("refused a moment before its expiry")
			}
			clock.Set(epoch.Add(tc.dies))
			if portal.Accepts(cst) {
				t.Error("accepted at its expiry")
			}
			if w := probe(portal, cst); w.Code != http.StatusUnauthorized {
				t.Errorf("a probe at its expiry gets %d", w.Code)
			}
		})
	}
}

func TestLifeSpansCanBeSet(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{
		IdleTTL: time.Minute, RefreshWindow: 90 * time.Second, AnyClient: true})
	cst := mint(t, portal, alice)
	clock.Advance(40 * time.Second)
	probe(portal, cst)
	if at, _ := portal.Expires(cst); !at.Equal(epoch.Add(90 * time.Second)) {
		t.Errorf("expires after %s", at.Sub(epoch))
	}
}

func TestLookingAtATokenDoesNotSlideIt(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{AnyClient: true})
	cst := mint(t, portal, alice)
	clock.Advance(time.Hour)
	portal.Accepts(cst)
	portal.Expires(cst)
	if at, ok := portal.ActiveAt(cst); !ok || !at.Equal(epoch) {
		t.Errorf("active at %s, %v", at, ok)
	}
}

func TestMintEndsOlderTokensOnlyIfToldTo(t *testing.T) {
	for name, kills := range map[string]bool{"older tokens live on": false, "older tokens die": true} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{MintKillsOlder: kills, AnyClient: true})
			others := mint(t, portal, "somebody-else")
			oldest, older := mint(t, portal, alice), mint(t, portal, alice)
			newest := mint(t, portal, alice)
			for age, cst := range map[string]string{"oldest": oldest, "older": older} {
				if got := portal.Accepts(cst); got == kills {
					t.Errorf("the %s token: accepted = %v", age, got)
				}
			}
			if !portal.Accepts(newest) || !portal.Accepts(others) {
				t.Error("the newest token, or another client's, is dead")
			}
		})
	}
}

func TestMintKillsTheTokenOfTheRegistration(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{MintKillsOlder: true})
	doc := object(t, post(portal, registerV1, portaltest.DefaultKey, "{}"), 201)
	mint(t, portal, text(t, doc, "id"))
	if portal.Accepts(text(t, doc, "clientSessionToken")) {
		t.Error("the token of the registration is accepted")
	}
}

func TestUnknownClientGetsTheChosenStatus(t *testing.T) {
	for name, tc := range map[string]struct{ chosen, want int }{
		"by default": {0, 404}, "400": {400, 400}, "401": {401, 401}, "403": {403, 403}, "404": {404, 404},
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{UnknownClientStatus: tc.chosen})
			object(t, post(portal, mintV1(alice), portaltest.DefaultKey, "{}"), tc.want)
			object(t, post(portal, mintV3(alice), portaltest.DefaultKey, "{}"), tc.want)
			object(t, send(portal, "GET", registerV1+"/"+alice, portaltest.DefaultKey, ""), tc.want)
			object(t, send(portal, "GET", registerV3+"/"+alice, portaltest.DefaultKey, ""), tc.want)
			if s := portal.Stats(); s.Mints != 0 || s.Unauthorized != 0 {
				t.Errorf("stats = %+v", s)
			}
		})
	}
}

func TestAnyClientIsMadeByItsFirstMint(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
	object(t, send(portal, "GET", registerV3+"/"+alice, portaltest.DefaultKey, ""), 404)
	mint(t, portal, alice)
	object(t, send(portal, "GET", registerV3+"/"+alice, portaltest.DefaultKey, ""), 200)
	portal.Set(func(b *portaltest.Behavior) { b.AnyClient = false })
	mint(t, portal, alice)
	if n := portal.Stats().Registrations; n != 0 {
		t.Errorf("%d registrations", n)
	}
}

func TestErrorsSlideOnlyIfToldTo(t *testing.T) {
	status := func(code int) portaltest.Fault { return portaltest.Fault{Kind: portaltest.Status, Status: code} }
	for name, tc := range map[string]struct {
		slideOnError bool
		fault        portaltest.Fault
		path         string
		slides       bool
	}{
		"a 400":                             {false, status(400), clientsMe, false},
		"a 429":                             {false, status(429), clientsMe, false},
		"a 404 for want of a route":         {false, portaltest.Fault{}, "/api/v3/clients/you", false},
		"told to: a 400":                    {true, status(400), clientsMe, true},
		"told to: a 429":                    {true, status(429), clientsMe, true},
		"told to: a 404 for want of route":  {true, portaltest.Fault{}, "/api/v3/clients/you", true},
		"told to: a 401":                    {true, status(401), clientsMe, false},
		"told to: a 500":                    {true, status(500), clientsMe, false},
		"told to: a redirect":               {true, portaltest.Fault{Kind: portaltest.Redirect}, clientsMe, false},
		"told to: the custodian's own door": {true, portaltest.Fault{}, registerV3 + "/x", false},
		"a success, told or not":            {false, portaltest.Fault{}, clientsMe, true},
	} {
		t.Run(name, func(t *testing.T) {
			portal, clock := newPortal(t, portaltest.Options{SlideOnError: tc.slideOnError, AnyClient: true})
			cst := mint(t, portal, alice)
			portal.Inject(portaltest.Probe, tc.fault)
			clock.Advance(time.Hour)
			send(portal, http.MethodGet, tc.path, cst, "")
			at, _ := portal.ActiveAt(cst)
			if slid := at.Equal(epoch.Add(time.Hour)); slid != tc.slides {
				t.Errorf("slides = %v, want %v", slid, tc.slides)
			}
		})
	}
}

func TestErrorsNeverReviveADeadToken(t *testing.T) {
	portal, clock := newPortal(t, portaltest.Options{SlideOnError: true, AnyClient: true})
	cst := mint(t, portal, alice)
	portal.Inject(portaltest.Probe, portaltest.Fault{Kind: portaltest.Status, Status: 400})
	clock.Advance(idle)
	probe(portal, cst)
	if portal.Accepts(cst) {
		t.Error("a dead token came to life")
	}
}

func TestKilledTokensAreDeadAndUnknown(t *testing.T) {
	for name, kill := range map[string]func(p *portaltest.Portal, cst string){
		"one by one":       func(p *portaltest.Portal, cst string) { p.Kill(cst) },
		"with all of them": func(p *portaltest.Portal, _ string) { p.KillClient(alice) },
	} {
		t.Run(name, func(t *testing.T) {
			portal, _ := newPortal(t, portaltest.Options{AnyClient: true})
			cst, others := mint(t, portal, alice), mint(t, portal, "somebody-else")
			kill(portal, cst)
			kill(portal, cst)
			if portal.Accepts(cst) || !portal.Accepts(others) {
				t.Error("the wrong token is dead")
			}
			if _, known := portal.Expires(cst); known {
				t.Error("its expiry is known")
			}
			if _, known := portal.ActiveAt(cst); known {
				t.Error("its activity is known")
			}
			if w := probe(portal, cst); w.Code != http.StatusUnauthorized {
				t.Errorf("a probe gets %d", w.Code)
			}
			if next := mint(t, portal, alice); !portal.Accepts(next) {
				t.Error("the next token is dead too")
			}
		})
	}
	portal, _ := newPortal(t, portaltest.Options{})
	portal.KillClient("never-made") // harmless
}

func TestAddingAClientAgainKeepsItsTokens(t *testing.T) {
	portal, _ := newPortal(t, portaltest.Options{MintKillsOlder: true})
	portal.AddClient(alice)
	first := mint(t, portal, alice)
	portal.AddClient(alice)
	mint(t, portal, alice)
	if portal.Accepts(first) {
		t.Error("adding the client again made it another")
	}
}

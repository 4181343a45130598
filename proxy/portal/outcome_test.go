package portal_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestRequestThatMayHaveBeenCarriedOutSaysSo(t *testing.T) {
	t.Parallel()
	status := func(code int) portaltest.Fault { return portaltest.Fault{Kind: portaltest.Status, Status: code} }
	for name, c := range map[string]struct {
		fault   portaltest.Fault
		unknown bool
	}{
		"a reset":                     {portaltest.Fault{Kind: portaltest.Reset}, true},
		"a lost answer":               {portaltest.Fault{Kind: portaltest.Lost}, true},
		"a gateway that heard noise":  {status(502), true},
		"a gateway that heard naught": {status(504), true},
		"a fault of Portal's own":     {status(500), false},
		"a Portal that can't":         {status(503), false},
		"a Portal that won't":         {status(429), false},
		"a client that is not there":  {status(404), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sim.Inject(portaltest.Mint, c.fault)
			if _, err := w.Mint(t.Context(), alice, session.Absent); errors.Is(err, session.ErrOutcomeUnknown) != c.unknown {
				t.Errorf("mint: %v; the outcome is unknown: %t", err, c.unknown)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		_, err := newClient(t, "http://127.0.0.1:1").Mint(t.Context(), alice, session.Absent)
		if err == nil || errors.Is(err, session.ErrOutcomeUnknown) {
			t.Errorf("mint: %v; nothing was sent", err)
		}
	})
}

func TestTokenOfASecondAttemptIsInDoubtIfTheFirstMayBeCarriedOutYet(t *testing.T) {
	t.Parallel()
	unknown := fmt.Errorf("%w: %w", session.ErrPortalUnavailable, session.ErrOutcomeUnknown)
	for name, c := range map[string]struct {
		fails []error
		doubt bool
	}{
		"at once":                       {nil, false},
		"after a refusal":               {[]error{session.ErrPortalUnavailable}, false},
		"after an answer that was lost": {[]error{unknown}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				token, err := seasoned(&scripted{fails: c.fails, takes: time.Millisecond}).Mint(t.Context(), alice, session.Absent)
				if err != nil || token.Doubt.IsZero() == c.doubt {
					t.Errorf("minted in doubt until %s, %v; want a doubt: %t", token.Doubt, err, c.doubt)
				}
			})
		})
	}
}

package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// status is the document about a client's token.
type status struct {
	ID               string
	State            string
	TokenID          string
	MintedAt         time.Time
	ActiveAt         time.Time
	ExpiresAt        time.Time
	ExpiresIn        int64
	RefreshableUntil time.Time
	Next             struct{ Action, Reason string }
}

func TestStatusAsCallersSeeIt(t *testing.T) {
	t.Parallel()
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		golden(t, "status_absent", newWorld(t).get(aliceStatus, testID).dump())
	})
	t.Run("live", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := w.fetch()
		w.clock.advance(90*time.Minute + 250*time.Millisecond)
		golden(t, "status_live", w.get(aliceStatus, testID).blind(d))
	})
}

func TestStatusForetellsTheNextFetch(t *testing.T) {
	t.Parallel()
	const moment = time.Millisecond
	for name, c := range map[string]struct {
		age            time.Duration
		mode           session.RefreshMode
		state          string
		action, reason string
	}{
		"of a new token":                         {0, session.RefreshProbe, "live", "serve", "live"},
		"of one just before it is due":           {day/48 - moment, session.RefreshProbe, "live", "serve", "live"},
		"of one that is due":                     {day / 48, session.RefreshProbe, "live", "serve", "due"},
		"of one with the least life":             {day - 5*time.Minute, session.RefreshProbe, "live", "serve", "due"},
		"of one with less than that":             {day - 5*time.Minute + moment, session.RefreshProbe, "live", "refresh", "short"},
		"of one a moment before the margin":      {day - time.Minute - moment, session.RefreshProbe, "live", "refresh", "short"},
		"of one within the margin":               {day - time.Minute, session.RefreshProbe, "absent", "mint", "idle_expired"},
		"of one that went idle":                  {day, session.RefreshProbe, "absent", "mint", "idle_expired"},
		"of one whose window is over":            {7 * day, session.RefreshProbe, "absent", "mint", "window_closed"},
		"of one at the end of its window":        {7*day - 5*time.Minute, session.RefreshProbe, "live", "serve", "live"},
		"of one a moment nearer to it":           {7*day - 5*time.Minute + moment, session.RefreshProbe, "live", "mint", "window_closed"},
		"of one within the margin of its window": {7*day - time.Minute, session.RefreshProbe, "absent", "mint", "window_closed"},
		"where a fetch counts as use":            {hour, session.RefreshAssume, "live", "serve", "due"},
		"where only use counts":                  {day - 2*time.Minute, session.RefreshObserve, "live", "serve", "live"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *setup) { s.Lifetime.Refresh = c.mode })
			first := w.kept(c.age)
			before, expires := w.sim.Stats(), w.expiry(first)
			a := w.get(aliceStatus)
			a.want(t, http.StatusOK)
			var got status
			a.decode(t, &got)
			if got.State != c.state || got.Next.Action != c.action || got.Next.Reason != c.reason || got.ID != alice {
				t.Errorf("%+v, want state %s, %s because %s", got, c.state, c.action, c.reason)
			}
			if c.state == "absent" && (got.TokenID != "" || got.ExpiresIn != 0 || !got.ExpiresAt.IsZero()) {
				t.Errorf("absent, and yet %+v", got)
			}
			if strings.Contains(a.body, first.ClientSessionToken) {
				t.Error("the token itself is in it")
			}
			if diff := cmp.Diff(before, w.sim.Stats()); diff != "" {
				t.Errorf("Portal was asked (-before +after):\n%s", diff)
			}
			if again := w.get(aliceStatus); again.body != a.body || !w.expiry(first).Equal(expires) {
				t.Errorf("looking changed it: %s, then %s", a.body, again.body)
			}
			if c.action != "refresh" {
				w.wantFetched(c.action, first)
			}
		})
	}
}

// expiry is when Portal itself would end the token.
func (w *world) expiry(d document) time.Time {
	at, _ := w.sim.Expires(d.ClientSessionToken)
	return at
}

// wantFetched checks that a fetch now does what was foretold.
func (w *world) wantFetched(action string, first document) {
	w.t.Helper()
	if minted := w.fetch().TokenID != first.TokenID; minted != (action == "mint") {
		w.t.Errorf("foretold %s, and then minted: %v", action, minted)
	}
}

func TestStatusIsOfTheTokenThatIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fetch()
	w.clock.advance(recently)
	d := w.fetch()
	var got status
	w.get(aliceStatus).decode(t, &got)
	want := status{
		ID: d.ID, State: "live", TokenID: d.TokenID, MintedAt: d.MintedAt, ActiveAt: d.ActiveAt, ExpiresAt: d.ExpiresAt,
		ExpiresIn: d.ExpiresIn, RefreshableUntil: d.RefreshableUntil, Next: struct{ Action, Reason string }{"serve", "live"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-served +shown):\n%s", diff)
	}
}

func TestStatusForetellsAMintAhead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		left   time.Duration // of the window
		reason string
	}{
		"while it is too early": {2 * hour, "live"},
		"once it is due":        {5 * time.Minute, "ahead"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *setup) { s.Lifetime.MintAhead = hour })
			w.kept(7*day - c.left)
			var got status
			w.get(aliceStatus).decode(t, &got)
			if got.State != "live" || got.Next.Action != "serve" || got.Next.Reason != c.reason {
				t.Errorf("%+v, want live, serve because %s", got, c.reason)
			}
			if w.sim.Stats().Mints != 1 {
				t.Error("looking had one minted")
			}
		})
	}
}

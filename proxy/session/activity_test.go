package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// The tokens that a caller may name, by what they are to the one cached.
const (
	itself    = "itself"
	whichever = "whichever"
	another   = "another"
)

func named(name string, cached session.Token) session.TokenID {
	switch name {
	case itself:
		return cached.ID
	case another:
		return sessiontest.NewToken(alice, time.Now()).ID
	}
	return session.TokenID{}
}

func TestActivitySlidesTheTokenThatItNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token  string
		absent bool
		broken bool
		want   error
	}{
		"the token cached":                      {token: itself},
		"whichever is cached":                   {token: whichever},
		"another token":                         {token: another, want: session.ErrTokenMismatch},
		"a token, with nothing cached":          {token: another, absent: true, want: session.ErrClientNotFound},
		"whichever, with nothing cached":        {token: whichever, absent: true, want: session.ErrClientNotFound},
		"a token, with the store down":          {token: itself, broken: true, want: session.ErrStoreUnavailable},
		"whichever is cached in a broken store": {token: whichever, broken: true, want: session.ErrStoreUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var before session.Token
				if !c.absent {
					before = w.aged(hour)
				}
				if c.broken {
					w.store.Break(sessiontest.ErrStoreDown)
				}
				err := w.NoteActivity(t.Context(), alice, named(c.token, before))
				w.store.Break(nil)
				if !errors.Is(err, c.want) || (err != nil && c.want == nil) {
					t.Errorf("err = %v, want %v", err, c.want)
				}
				if c.broken != (session.RetryAfter(err) > 0) {
					t.Errorf("retry after %s", session.RetryAfter(err))
				}
				want := before
				if c.want == nil {
					want.ActiveAt = time.Now().UTC()
				}
				if diff := cmp.Diff(want, w.stored()); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestForgetDropsTheTokenThatItNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tokens []string
		absent bool
		broken bool
		kept   bool
		want   error
	}{
		"whichever is cached":                {},
		"whichever, with nothing cached":     {absent: true},
		"the token cached":                   {tokens: []string{itself}},
		"one of several, the last":           {tokens: []string{another, another, itself}},
		"one of several, the first":          {tokens: []string{itself, another}},
		"another token":                      {tokens: []string{another}, kept: true, want: session.ErrTokenMismatch},
		"several others":                     {tokens: []string{another, another}, kept: true, want: session.ErrTokenMismatch},
		"a token, with nothing cached":       {tokens: []string{another}, absent: true, want: session.ErrTokenMismatch},
		"a token in a broken store":          {tokens: []string{itself}, broken: true, kept: true, want: session.ErrStoreUnavailable},
		"whichever is cached, store broken":  {broken: true, kept: true, want: session.ErrStoreUnavailable},
		"one of several, and a broken store": {tokens: []string{another, itself}, broken: true, kept: true, want: session.ErrStoreUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var before session.Token
				if !c.absent {
					before = w.aged(hour)
				}
				var ids []session.TokenID
				for _, token := range c.tokens {
					ids = append(ids, named(token, before))
				}
				if c.broken {
					w.store.Break(sessiontest.ErrStoreDown)
				}
				err := w.Forget(t.Context(), alice, ids...)
				w.store.Break(nil)
				if !errors.Is(err, c.want) || (err != nil && c.want == nil) {
					t.Errorf("err = %v, want %v", err, c.want)
				}
				if c.broken != (session.RetryAfter(err) > 0) {
					t.Errorf("retry after %s", session.RetryAfter(err))
				}
				if kept := !w.stored().IsZero(); kept != c.kept {
					t.Errorf("kept: %t, want %t", kept, c.kept)
				}
			})
		})
	}
}

func TestForgottenTokenIsReplacedOnTheNextFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(hour)
		if err := w.Forget(t.Context(), alice); err != nil {
			t.Fatalf("forget: %v", err)
		}
		w.fetch(session.Need{}).wantMinted(t, session.Absent, token.ID)
		w.wantMints(session.Absent, session.Absent)
	})
}

func TestClientsAreForgottenAndActiveApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.aged(hour)
		if _, err := w.Grant(t.Context(), session.Ask{Client: bob}); err != nil {
			t.Fatalf("grant: %v", err)
		}
		if err := w.NoteActivity(t.Context(), bob, session.TokenID{}); err != nil {
			t.Errorf("activity: %v", err)
		}
		if err := w.Forget(t.Context(), bob); err != nil {
			t.Errorf("forget: %v", err)
		}
		if diff := cmp.Diff(token, w.stored()); diff != "" {
			t.Errorf("alice's token (-want +got):\n%s", diff)
		}
	})
}

func TestInspectTellsWhatAFetchWouldDoAndDoesNothing(t *testing.T) {
	t.Parallel()
	type decision = session.Decision
	for name, c := range map[string]struct {
		absent bool
		active time.Duration // reported that long after the mint
		age    time.Duration
		live   bool
		next   decision
	}{
		"nothing cached":  {absent: true, next: decision{Reason: session.Absent}},
		"just minted":     {live: true, next: decision{Action: session.Serve}},
		"due":             {age: due, live: true, next: decision{Action: session.ServeAndExtend}},
		"short":           {age: short, live: true, next: decision{Action: session.Refresh}},
		"idle":            {age: day, next: decision{Reason: session.IdleExpired}},
		"window near":     {active: 6*day + 12*hour, age: 7*day - 2*time.Minute, live: true, next: decision{Reason: session.WindowClosed}},
		"window closed":   {active: 6*day + 12*hour, age: 7 * day, next: decision{Reason: session.WindowClosed}},
		"on its last day": {active: 6*day + 12*hour, age: 6*day + 20*hour, live: true, next: decision{Action: session.Serve}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var mints []session.Reason
				if !c.absent {
					w.aged(c.active)
					mints = append(mints, session.Absent)
				}
				if c.active > 0 {
					if err := w.NoteActivity(t.Context(), alice, session.TokenID{}); err != nil {
						t.Fatalf("activity: %v", err)
					}
				}
				time.Sleep(c.age - c.active)
				before := w.stored()
				got, err := w.Inspect(t.Context(), alice)
				if err != nil {
					t.Fatalf("inspect: %v", err)
				}
				want := session.Status{Token: before, Live: c.live, Next: c.next, At: time.Now().UTC()}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("status (-want +got):\n%s", diff)
				}
				w.settled().wantMints(mints...)
				w.wantProbes(0)
				if diff := cmp.Diff(before, w.stored()); diff != "" {
					t.Errorf("stored (-before +after):\n%s", diff)
				}
			})
		})
	}
}

func TestInspectOfAFailingStore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode session.StoreDown
		want error
	}{
		"counts as empty":         {mode: session.StoreDownMint},
		"is an error fail-closed": {mode: session.StoreDownFail, want: session.ErrStoreUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(p *session.Parts) { p.StoreDown = c.mode })
				w.store.Break(sessiontest.ErrStoreDown)
				status, err := w.Inspect(t.Context(), alice)
				if !errors.Is(err, c.want) || (err != nil && c.want == nil) || !status.Token.IsZero() || status.Live {
					t.Errorf("status %+v, err = %v; want %v", status, err, c.want)
				}
			})
		})
	}
}

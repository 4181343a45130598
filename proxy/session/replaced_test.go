package session_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestAgeOfATokenIsToldWhenAnotherTakesItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(w *world)
		want []time.Duration
	}{
		"none was there": {func(w *world) { w.fetch(session.Need{}) }, nil},
		"it is served":   {func(w *world) { w.aged(hour); w.fetch(session.Need{}) }, nil},
		"it went idle":   {func(w *world) { w.aged(2 * day); w.fetch(session.Need{}) }, []time.Duration{2 * day}},
		"a caller saw it refused": {func(w *world) {
			token := w.aged(3 * hour)
			w.fetch(session.Need{Rejected: token.ID})
		}, []time.Duration{3 * hour}},
		"it was forgotten": {func(w *world) {
			token := w.aged(hour)
			if err := w.Forget(w.t.Context(), alice, token.ID); err != nil {
				w.t.Fatal(err)
			}
			w.fetch(session.Need{})
		}, nil},
		"Portal fails": {func(w *world) {
			w.aged(2 * day)
			w.portal.Fail(session.ErrPortalUnavailable)
			if got := w.ask(w.t.Context(), session.Need{}); !errors.Is(got.err, session.ErrPortalUnavailable) {
				w.t.Errorf("error %v, want %v", got.err, session.ErrPortalUnavailable)
			}
		}, nil},
		"many ask at once": {func(w *world) { w.aged(2 * day); w.crowd(20, session.Need{}) }, []time.Duration{2 * day}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var told []time.Duration
				c.act(newWorld(t, func(p *session.Parts) {
					p.Replaced = func(age time.Duration) { told = append(told, age) }
				}))
				if !slices.Equal(told, c.want) {
					t.Errorf("told of %s, want %s", told, c.want)
				}
			})
		})
	}
}

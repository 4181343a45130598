package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestActivity(t *testing.T) {
	t.Parallel()
	const own = "<own>" // stands for the id of alice's token
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"without a body":              {"", 204},
		"with an empty object":        {"{}", 204},
		"with the token's id":         {`{"tokenId":"` + own + `"}`, 204},
		"with null for the id":        {`{"tokenId":null}`, 204},
		"with blanks around":          {" \n{} \n", 204},
		"with another token's id":     {`{"tokenId":"` + otherID + `"}`, 412},
		"with an id too short":        {`{"tokenId":"` + otherID[1:] + `"}`, 400},
		"with an id in upper case":    {`{"tokenId":"` + strings.ToUpper(otherID) + `"}`, 400},
		"with an empty id":            {`{"tokenId":""}`, 400},
		"with the zero id":            {`{"tokenId":"` + strings.Repeat("0", 32) + `"}`, 400},
		"with a number for the id":    {`{"tokenId":1}`, 400},
		"with a field not known":      {`{"token":"x"}`, 400},
		"with a field more":           {`{"tokenId":"` + own + `","at":"2026-11-22T05:19:55Z"}`, 400},
		"with an array":               {`[]`, 400},
		"with a string":               {`"` + own + `"`, 400},
		"with half an object":         {`{"tokenId":`, 400},
		"with what is not JSON":       {`tokenId=` + own, 400},
		"with something after it":     {`{} x`, 400},
		"with a second object":        {`{}{}`, 400},
		"with a closing brace to it":  {`{}}`, 400},
		"with a byte that isn't text": {"{\x00}", 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := w.fetch()
			w.clock.advance(recently)
			body := strings.ReplaceAll(c.body, own, first.TokenID)
			a := w.post(aliceActivity, body)
			a.want(t, c.status)
			seen := epoch()
			switch c.status {
			case http.StatusNoContent:
				seen = seen.Add(recently)
			case http.StatusPreconditionFailed:
				a.wantProblem(t, "token_mismatch")
			default:
				a.wantProblem(t, "invalid_request")
			}
			d := w.fetch()
			if !d.ActiveAt.Equal(seen) || !d.ExpiresAt.Equal(seen.Add(day)) || d.TokenID != first.TokenID {
				t.Errorf("%s is active at %s and expires at %s, want %s at %s", d.TokenID, d.ActiveAt, d.ExpiresAt, first.TokenID, seen)
			}
			w.wantMints(1)
			if n := w.sim.Stats().Probes; n != 0 {
				t.Errorf("%d probes: what the backend saw needs no asking", n)
			}
		})
	}
}

func TestActivityOfNobody(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"without an id": "", "with one": `{"tokenId":"` + otherID + `"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.post(aliceActivity, body).wantProblem(t, "client_not_found")
			if n := w.sim.Stats().Requests; n != 0 {
				t.Errorf("%d requests reached Portal", n)
			}
		})
	}
}

func TestActivityMovesNothingBeyondTheWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.kept(7*day - hour)
	w.post(aliceActivity, "").want(t, http.StatusNoContent)
	if d := w.fetch(); !d.ExpiresAt.Equal(epoch().Add(7*day)) || d.ExpiresIn != 3600 {
		t.Errorf("expires at %s, in %d s", d.ExpiresAt, d.ExpiresIn)
	}
}

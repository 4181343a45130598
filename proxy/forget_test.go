package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestLogout(t *testing.T) {
	t.Parallel()
	const own = "<own>" // stands for the id of alice's token
	for name, c := range map[string]struct {
		cached  bool
		ifMatch []string
		status  int
		gone    bool
	}{
		"without a condition":                  {true, nil, 204, true},
		"with nothing to forget":               {false, nil, 204, true},
		"of the token named":                   {true, []string{`"` + own + `"`}, 204, true},
		"of another token":                     {true, []string{`"` + otherID + `"`}, 412, false},
		"of the first in a list":               {true, []string{`"` + own + `", "` + otherID + `"`}, 204, true},
		"of the last in a list":                {true, []string{`"` + otherID + `","` + own + `"`}, 204, true},
		"of one in a list over two lines":      {true, []string{`"` + otherID + `"`, `"` + own + `"`}, 204, true},
		"of none in a list":                    {true, []string{`"` + otherID + `", "` + otherID + `"`}, 412, false},
		"of a token named, with none there":    {false, []string{`"` + otherID + `"`}, 412, true},
		"of whichever there is":                {true, []string{"*"}, 204, true},
		"of whichever there is, which is none": {false, []string{"*"}, 412, true},
		"without quotes":                       {true, []string{own}, 400, false},
		"with half the quotes":                 {true, []string{`"` + own}, 400, false},
		"with the other half":                  {true, []string{own + `"`}, 400, false},
		"with a quote alone":                   {true, []string{`"`}, 400, false},
		"with a weak tag":                      {true, []string{`W/"` + own + `"`}, 400, false},
		"with an empty header":                 {true, []string{""}, 400, false},
		"with an empty tag":                    {true, []string{`""`}, 400, false},
		"with an empty place in a list":        {true, []string{`"` + own + `",`}, 400, false},
		"with a star in a list":                {true, []string{`*, "` + own + `"`}, 400, false},
		"with a star in quotes":                {true, []string{`"*"`}, 400, false},
		"with the zero id":                     {true, []string{`"` + strings.Repeat("0", 32) + `"`}, 400, false},
		"with a good tag and a bad one":        {true, []string{`"` + own + `", x`}, 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := otherID
			if c.cached {
				id = w.fetch().TokenID
			}
			var header []string
			for _, line := range c.ifMatch {
				header = append(header, "If-Match: "+strings.ReplaceAll(line, own, id))
			}
			a := w.remove(header...)
			a.want(t, c.status)
			switch {
			case c.status == http.StatusNoContent && a.body != "":
				t.Errorf("a body came: %s", a.body)
			case c.status == http.StatusPreconditionFailed:
				a.wantProblem(t, "token_mismatch")
			case c.status == http.StatusBadRequest:
				a.wantProblem(t, "invalid_request")
			}
			mints := w.sim.Stats().Mints
			if d := w.fetch(); (d.TokenID != id) != c.gone {
				t.Errorf("fetched %s after the logout of %s", d.TokenID, id)
			}
			if c.gone {
				mints++
			}
			w.wantMints(mints)
		})
	}
}

func TestLogoutIsForOneClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.AddClient("bob")
	bobs := w.get("/v1/clients/bob/token").token(t, http.StatusOK)
	w.fetch()
	w.remove().want(t, http.StatusNoContent)
	if d := w.get("/v1/clients/bob/token").token(t, http.StatusOK); d.TokenID != bobs.TokenID {
		t.Error("bob lost his token")
	}
}

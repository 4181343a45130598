package session_test

import (
	"testing"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestCallerMayWhatIsListedAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		caller session.Caller
		route  session.Route
		client session.ClientID
		use    bool
		serve  bool
	}{
		"nobody, nothing":                    {session.Caller{}, session.RouteToken, "alice", false, false},
		"nobody, not even what has no name":  {session.Caller{}, "", "", false, false},
		"a route that is listed":             {session.Caller{Routes: []session.Route{"forget", "token"}}, session.RouteToken, "alice", true, false},
		"a route that is not":                {session.Caller{Routes: []session.Route{"forget"}}, session.RouteToken, "alice", false, false},
		"a route that begins like one":       {session.Caller{Routes: []session.Route{"tok"}}, session.RouteToken, "alice", false, false},
		"every route":                        {session.Caller{Routes: []session.Route{session.Everything}}, session.RouteRegister, "alice", true, false},
		"every client":                       {session.Caller{Clients: []string{session.Everything}}, session.RouteToken, "alice", false, true},
		"a client by its whole id":           {session.Caller{Clients: []string{"alice"}}, session.RouteToken, "alice", false, true},
		"a client by its beginning":          {session.Caller{Clients: []string{"bob", "al"}}, session.RouteToken, "alice", false, true},
		"a client shorter than its rule":     {session.Caller{Clients: []string{"alice-"}}, session.RouteToken, "alice", false, false},
		"a client by its end":                {session.Caller{Clients: []string{"ice"}}, session.RouteToken, "alice", false, false},
		"a client in other letters":          {session.Caller{Clients: []string{"AL"}}, session.RouteToken, "alice", false, false},
		"an underscore is not a dash":        {session.Caller{Clients: []string{"team_a"}}, session.RouteToken, "team-alice", false, false},
		"a star within a beginning":          {session.Caller{Clients: []string{"al*"}}, session.RouteToken, "alice", false, false},
		"an empty beginning is not everyone": {session.Caller{Clients: []string{""}}, session.RouteToken, "alice", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.caller.MayUse(c.route); got != c.use {
				t.Errorf("may use %q: %v, want %v", c.route, got, c.use)
			}
			if got := c.caller.MayServe(c.client); got != c.serve {
				t.Errorf("may serve %q: %v, want %v", c.client, got, c.serve)
			}
		})
	}
}

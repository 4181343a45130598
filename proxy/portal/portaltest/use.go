package portaltest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// statusHeader has a call to the Clients API, but for a probe and for what an SDK
// tracks, answered with the status that it names: any of 200 to 599.
const statusHeader = "X-Simulated-Status"

// clientsPaths are where the Clients API begins: what is without a slash at its
// end is a route itself.
var clientsPaths = []string{
	"/api/v1/clients/me", "/api/v2/clients/me", "/api/v3/clients/me",
	"/api/v1/swaps/", "/api/v3/swaps/", "/api/v1/analytics/", "/api/v1/config/", "/rpc/v1/",
}

const enclavePath = "/v1/"

// newFamilies serves the APIs that take a CST, at any path of theirs that has no
// route of its own. A ServeMux would redirect to where such a path begins.
func (p *Portal) newFamilies() http.HandlerFunc {
	use, execute := p.handler(Use, withToken((*Portal).use)), p.handler(Enclave, withToken((*Portal).execute))
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case ofClientsAPI(r):
			use(w, r)
		case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, enclavePath):
			execute(w, r)
		default:
			p.notFound(w, r)
		}
	}
}

func ofClientsAPI(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	return slices.ContainsFunc(clientsPaths, func(beginning string) bool {
		rest, begins := strings.CutPrefix(r.URL.Path, beginning)
		return begins && (rest == "" || rest[0] == '/' || strings.HasSuffix(beginning, "/"))
	})
}

func (p *Portal) probe(c call) answer {
	p.stats.Probes++
	d := describe(p.ledger.clients[c.clientID])
	d.Wallets = []struct{}{}
	return answer{status: http.StatusOK, body: d}
}

func (p *Portal) track(call) answer {
	return answer{status: http.StatusOK, body: map[string]bool{"success": true}}
}

// use stands for the rest of the Clients API: it tells what came.
func (p *Portal) use(c call) answer {
	status, err := http.StatusOK, error(nil)
	if c.status != "" {
		status, err = strconv.Atoi(c.status)
	}
	if err != nil || status < 200 || status > 599 {
		return refusal(http.StatusBadRequest)
	}
	p.stats.Uses++
	return answer{status: status, body: c.told()}
}

// execute stands for every Enclave call: what they answer is of no concern here.
func (p *Portal) execute(c call) answer {
	p.stats.Executions++
	return answer{status: http.StatusOK, body: struct {
		Data string `json:"data"`
		arrived
	}{"simulated", c.told()}}
}

// told is what came, and whose token it came with.
func (c call) told() arrived {
	c.came.ClientID = c.clientID
	return c.came
}

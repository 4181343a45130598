package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// answer is what came of asking for a token.
type answer struct {
	at     time.Time
	source string // empty where there came none
	code   string
	token  string // its id
}

var caller = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// fetch asks a replica for the client's token.
func (f *fleet) fetch(r *replica, client, query string) answer {
	var said struct{ Source, Code, TokenID string }
	response, err := caller.Get("http://" + r.data + "/v1/clients/" + client + "/token" + query)
	if err == nil {
		err = json.NewDecoder(response.Body).Decode(&said)
		_ = response.Body.Close()
	}
	if err != nil {
		said.Source, said.Code = "", "none"
	}
	return answer{time.Now(), said.Source, said.Code, said.TokenID}
}

// passThrough has a replica pass requests of the Client API on.
const passThrough = "CSTPROXY_PASSTHROUGH=client"

// pass has a replica put a request of the client's through to Portal.
func (f *fleet) pass(r *replica, client string) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+r.data+"/api/v3/clients/me", http.NoBody)
	if err != nil {
		f.t.Fatal(err)
	}
	request.Header.Set("X-Portal-Client-Id", client)
	if response, err := caller.Do(request); err == nil {
		_, _ = io.Copy(io.Discard, response.Body) // its connection serves again
		_ = response.Body.Close()
	}
}

// traffic is callers of a fleet who ask at a steady pace, each time another replica.
type traffic struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	answers []answer
	// waiting :: client → whether somebody asks for it already
	waiting map[string]bool
}

// drive has so many tokens a second asked for until the test ends, for whom next says; it is given how many came before.
// Nobody asks for a client for whom somebody waits still.
func (f *fleet) drive(t *testing.T, perSecond int, next func(i int) (client string)) *traffic {
	t.Helper()
	return f.repeat(t, perSecond, next, func(r *replica, client string) answer { return f.fetch(r, client, "") })
}

// drivePasses has requests put through to Portal likewise.
func (f *fleet) drivePasses(t *testing.T, perSecond int, next func(i int) (client string)) {
	t.Helper()
	f.repeat(t, perSecond, next, func(r *replica, client string) answer { f.pass(r, client); return answer{} })
}

func (f *fleet) repeat(t *testing.T, perSecond int, next func(i int) (client string), ask func(*replica, string) answer) *traffic {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	d := &traffic{stop: stop, waiting: map[string]bool{}}
	d.done.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if client := next(i); client != "" && d.enter(client) {
				d.done.Go(func() { d.note(client, ask(f.replicas[i%len(f.replicas)], client)) })
			}
		}
	})
	t.Cleanup(d.end)
	return d
}

// enter says whether nobody waits for the client.
func (d *traffic) enter(client string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	isFree := !d.waiting[client]
	d.waiting[client] = true
	return isFree
}

func (d *traffic) note(client string, a answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting[client] = false
	d.answers = append(d.answers, a)
}

// end lets no more requests begin, and returns once all have ended.
func (d *traffic) end() {
	d.stop()
	d.done.Wait()
}

// count returns how many tokens came between the times, and how many of them by a mint.
func (d *traffic) count(from, to time.Time) (tokens, minted int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.answers {
		if a.source == "" || !a.at.After(from) || a.at.After(to) {
			continue
		}
		tokens++
		if a.source == "mint" {
			minted++
		}
	}
	return tokens, minted
}

// lost returns how many requests got no token (:: code → number).
func (d *traffic) lost() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	lost := map[string]int{}
	for _, a := range d.answers {
		if a.source == "" {
			lost[a.code]++
		}
	}
	return lost
}

// few has the same few clients come again and again.
func few(i int) string { return fmt.Sprintf("few-%d", i%7) }

// strangers has nobody come twice.
func strangers(i int) string { return fmt.Sprintf("stranger-%d", i) }

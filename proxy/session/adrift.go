package session

import (
	"sync"
	"time"
)

// mostAdrift bounds the clients remembered; one more forgets them all.
const mostAdrift = 10_000

// adrift remembers mints without a lease that were given up and may be carried out yet: no lease tells of them.
type adrift struct {
	mu sync.Mutex
	// until :: client -> until when, by a clock that does not step
	until map[ClientID]time.Time
}

func (a *adrift) note(client ClientID, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil || len(a.until) >= mostAdrift {
		a.until = map[ClientID]time.Time{}
	}
	a.until[client] = until
}

// may reports whether a mint of the client's may be carried out yet.
func (a *adrift) may(client ClientID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, known := a.until[client]
	if known && !now.Before(until) {
		delete(a.until, client)
	}
	return now.Before(until)
}

package session

import (
	"errors"
	"sync"
	"time"
)

const (
	// calmFor is how long usable tokens are left alone after Portal failed to refresh one.
	calmFor = time.Second
	// mostCalmed bounds the clients remembered; one more forgets them all, which costs a probe each.
	mostCalmed = 1000
)

// calm keeps background refreshes from hammering at what just failed: all of them where Portal can't be asked, one
// client's where it is that client's token that Portal has no good answer for.
type calm struct {
	mu  sync.Mutex
	all time.Time
	// one :: client -> until when
	one map[ClientID]time.Time
}

// holds reports whether the client's token is to be left alone.
func (c *calm) holds(client ClientID, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.all) || now.Before(c.one[client])
}

// fall begins a calm after err.
func (c *calm) fall(client ClientID, now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, ErrPortalUnavailable) || errors.Is(err, ErrPortalTimeout) || errors.Is(err, ErrPortalRateLimited) {
		c.all = now.Add(calmFor)
		return
	}
	if c.one == nil || len(c.one) >= mostCalmed {
		c.one = map[ClientID]time.Time{}
	}
	c.one[client] = now.Add(calmFor)
}

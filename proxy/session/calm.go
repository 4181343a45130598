package session

import (
	"errors"
	"sync"
	"time"
)

const (
	// calmFor is how long usable tokens are left alone after Portal failed to refresh one.
	calmFor = time.Second
	// portalTrouble is how many clients in a row must be failed before it is Portal's trouble, and not theirs.
	portalTrouble = 3
	// mostCalmed bounds the clients remembered; one more forgets them all, which costs a probe each.
	mostCalmed = 1000
)

// calm keeps refreshes of usable tokens from hammering at what just failed: that client's token, and all of them once
// Portal fails one client after the other, or says that it is too much. It goes by a clock that does not step.
type calm struct {
	mu sync.Mutex
	// all is until when, by the clock of package time: the one that lives are judged by may step back.
	all time.Time
	// one :: client -> until when
	one map[ClientID]time.Time
	// inARow are clients that were failed since the last that was not.
	inARow map[ClientID]bool
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
	c.leave(client, now.Add(calmFor))
	if c.inARow == nil {
		c.inARow = map[ClientID]bool{}
	}
	if len(c.inARow) < portalTrouble {
		c.inARow[client] = true
	}
	if len(c.inARow) >= portalTrouble || errors.Is(err, ErrPortalRateLimited) {
		c.all = now.Add(calmFor)
	}
}

// rest leaves a token alone that nothing is wrong with.
func (c *calm) rest(client ClientID, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(client, until)
}

func (c *calm) leave(client ClientID, until time.Time) {
	if c.one == nil || len(c.one) >= mostCalmed {
		c.one = map[ClientID]time.Time{}
	}
	c.one[client] = until
}

// lift ends the calm of all, since Portal refreshed a token.
func (c *calm) lift() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = time.Time{}
	clear(c.inARow)
}

package session

import (
	"context"
	"sync"
	"time"
)

const (
	// backlogAgain is when those who wait are thought of again after no turn was spare: seldom enough to be a small part of
	// what a full budget has, and soon enough to leave few turns to nobody, since then all are taken that came free.
	backlogAgain = 5 * time.Second
	// mostBacklog bounds those who wait. That is more than a replica has turns for in the time that they may; the next fetch of
	// who finds no room asks again.
	mostBacklog = 10_000
)

// backlog are the clients whose refresh waits for a turn to be spare: first come, first served, by one goroutine that is
// there only while anybody waits. Nobody is refreshed that was not asked for within [Lifetime.mayBeLate]: who waits for longer
// is left out, and the next fetch asks again.
type backlog struct {
	worker sync.WaitGroup
	// over is closed when the Broker ends.
	over chan struct{}

	mu sync.Mutex
	// closed: nobody waits any more; working: somebody works off the queue.
	closed, working bool
	queue           []standing
	// in :: client -> whether it is in the queue
	in map[ClientID]bool
}

// standing is a client in the queue.
type standing struct {
	client ClientID
	since  time.Time
}

func newBacklog() *backlog { return &backlog{over: make(chan struct{}), in: map[ClientID]bool{}} }

// follow reports whether others wait already, and lets the client wait behind them if there is room.
func (l *backlog) follow(client ClientID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return false
	}
	l.add(client, now)
	return true
}

// begin lets the client wait, and reports whether the caller has to have the queue worked off, since nobody does.
func (l *backlog) begin(client ClientID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(client, now)
	if l.working || len(l.queue) == 0 {
		return false
	}
	l.working = true
	l.worker.Add(1)
	return true
}

func (l *backlog) add(client ClientID, now time.Time) {
	if l.closed || l.in[client] || len(l.queue) >= mostBacklog {
		return
	}
	l.in[client] = true
	l.queue = append(l.queue, standing{client, now})
}

// next returns who is first of those that wait since then or later; false if there is none, and then the work is over.
func (l *backlog) next(since time.Time) (ClientID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 && (l.closed || l.queue[0].since.Before(since)) {
		l.drop()
	}
	if len(l.queue) == 0 {
		l.working = false
		return "", false
	}
	return l.queue[0].client, true
}

// served takes the first out of the queue.
func (l *backlog) served() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

func (l *backlog) drop() {
	delete(l.in, l.queue[0].client)
	l.queue = l.queue[1:]
}

// refuse lets nobody wait any more.
func (l *backlog) refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.over)
	}
}

// pause lets a while pass, unless the end comes sooner.
func (l *backlog) pause() {
	timer := time.NewTimer(backlogAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.over:
	}
}

// putOff has the client's token refreshed once a turn is spare.
func (b *Broker) putOff(client ClientID) {
	if b.backlog.begin(client, time.Now()) {
		go b.workOff()
	}
}

// workOff refreshes the tokens of those who wait, one after the other, as long as anybody does.
func (b *Broker) workOff() {
	defer b.backlog.worker.Done()
	b.backlog.pause() // the first was just told that none is spare
	for {
		client, ok := b.backlog.next(time.Now().Add(-b.parts.Lifetime.mayBeLate()))
		switch {
		case !ok:
			return
		case b.extendLater(client):
			b.backlog.served()
		default:
			b.backlog.pause()
		}
	}
}

// extendLater refreshes the token of a client that waited, and reports whether it need not wait any more: a turn came, or the
// token is to be refreshed no more.
func (b *Broker) extendLater(client ClientID) bool {
	if b.flying.busy() || b.calm.holds(client, time.Now()) {
		return false
	}
	ctx, done := context.Background(), true //nolint:forbidigo // whoever asked for it was served long ago
	f, _ := b.refreshes.join(ctx, client, func(ctx context.Context) (Grant, error) {
		return b.flyBehind(ctx, client, func() { done = false })
	})
	<-f.done
	return done
}

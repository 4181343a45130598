package cache

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// checkSubscription is how often a subscription on which nothing comes is pinged: a connection that died without a
// word is noticed within twice that.
const checkSubscription = time.Second

// Changes hears, from Redis, of every client whose token or lease changed on any replica, and tells those who watch.
// What it does not hear in time is found by looking: nothing is right only because of a message. The zero Changes hears
// nothing until it runs.
type Changes struct {
	// Seal reads whom a message is about. Set it before Run.
	Seal *Seal
	// Lost is called when messages may have been missed, Changed when a client has another token: the one named, or the
	// zero id for none, or none that is sure. Set both before Run, or neither.
	Lost    func()
	Changed func(session.ClientID, session.TokenID)

	mu sync.Mutex
	// watchers :: client -> the channels of those who wait for it
	watchers map[session.ClientID]map[chan struct{}]bool
}

// Run listens on the prefix's channel until ctx ends. It reconnects by itself.
func (c *Changes) Run(ctx context.Context, client redis.UniversalClient, prefix string) {
	subscription := client.Subscribe(ctx, channelOf(prefix))
	stop := context.AfterFunc(ctx, func() { _ = subscription.Close() })
	defer stop()
	events := subscription.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(checkSubscription))
	for event := range events {
		switch event := event.(type) {
		case *redis.Subscription:
			c.lost() // there was no subscription until now
		case *redis.Message:
			c.hear(event.Payload)
		}
	}
}

func (c *Changes) lost() {
	if c.Lost != nil {
		c.Lost()
	}
}

// hear reads "client tokenid", "client " where no token is sure, or "client" where only a lease was let go of. If it can't
// be read whom it is about, it was missed.
func (c *Changes) hear(payload string) {
	letter, id, changed := strings.Cut(payload, " ")
	client, err := c.Seal.address(letter)
	if err != nil {
		c.lost()
		return
	}
	if changed && c.Changed != nil {
		now, err := session.ParseTokenID(id)
		if err != nil {
			now = session.TokenID{}
		}
		c.Changed(client, now)
	}
	c.tell(client)
}

func (c *Changes) tell(client session.ClientID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for watcher := range c.watchers[client] {
		select {
		case watcher <- struct{}{}:
		default: // it has one waiting already
		}
	}
}

func (c *Changes) watch(client session.ClientID) (changed <-chan struct{}, stop func()) {
	watcher := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers == nil {
		c.watchers = map[session.ClientID]map[chan struct{}]bool{}
	}
	if c.watchers[client] == nil {
		c.watchers[client] = map[chan struct{}]bool{}
	}
	c.watchers[client][watcher] = true
	return watcher, func() { c.unwatch(client, watcher) }
}

func (c *Changes) unwatch(client session.ClientID, watcher chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watchers[client], watcher)
	if len(c.watchers[client]) == 0 {
		delete(c.watchers, client)
	}
}

func channelOf(prefix string) string { return prefix + ":changed" }

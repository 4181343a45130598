package oidc

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// When an issuer is asked for its keys.
const (
	// refresh is how long a key that the issuer has withdrawn may still be accepted.
	refresh = time.Hour
	// maxPause lies between two fetches, at least: what callers send must not become a load on the issuer.
	maxPause = 30 * time.Second
	// minPause is the first pause while no key is known: then every caller waits for the issuer to come back.
	minPause = time.Second
)

// ring holds the keys of one issuer. One goroutine alone fetches them ([ring.run]); callers may hurry it, and wait.
type ring struct {
	fetch func(context.Context) (keys, error)
	log   *slog.Logger
	// hurry holds at most one caller's wish for a fetch.
	hurry chan struct{}
	ended chan struct{}

	mu    sync.Mutex
	known keys
	// failures since keys were fetched last.
	failures int
	// rested is when the latest fetch ended.
	rested time.Time
	// news is closed, and replaced, as a fetch ends.
	news chan struct{}
}

func newRing(fetch func(context.Context) (keys, error), log *slog.Logger) *ring {
	return &ring{
		fetch: fetch, log: log,
		hurry: make(chan struct{}, 1), ended: make(chan struct{}), news: make(chan struct{}),
	}
}

func (r *ring) all() keys {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

// inherit takes keys for known as long as none were fetched.
func (r *ring) inherit(known keys) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) == 0 {
		r.known = known
	}
}

// prove tells whether one of the issuer's keys signed the token.
func (r *ring) prove(ctx context.Context, t token) error {
	found, err := r.find(ctx, t.keyID)
	if err != nil {
		return err
	}
	for _, k := range found {
		if !slices.Contains(k.algorithms, t.algorithm) {
			continue
		}
		if _, err := t.jws.Verify(k.public); err == nil {
			return nil
		}
	}
	return errSignature
}

// find returns the keys of that id. For one that isn't known it waits for the fetch that is under way, or may be.
func (r *ring) find(ctx context.Context, kid string) ([]key, error) {
	if news := r.ask(kid); news != nil {
		select {
		case <-news:
		case <-ctx.Done():
		case <-r.ended:
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.known[kid]
	switch {
	case len(r.known) == 0:
		return nil, errNoKeys
	case len(found) == 0:
		return nil, errKey
	}
	return found, nil
}

// ask has the keys fetched for the sake of that id, and returns what to wait for: nil if there is no need, or no leave.
func (r *ring) ask(kid string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kid == "" || len(r.known[kid]) > 0 {
		return nil
	}
	if !r.restedLocked() {
		return nil
	}
	select {
	case r.hurry <- struct{}{}:
	default:
	}
	return r.news
}

// restedLocked tells whether a fetch may begin, or has begun: the pause counts from the end of the one before.
func (r *ring) restedLocked() bool {
	return r.rested.IsZero() || time.Since(r.rested) >= r.pauseLocked()
}

// pauseLocked is what must pass after a fetch before the next.
func (r *ring) pauseLocked() time.Duration {
	if len(r.known) > 0 || r.failures > 5 {
		return maxPause
	}
	return min(minPause<<max(r.failures-1, 0), maxPause)
}

// run fetches the keys at once, then as they age, or fail to come, or callers ask for one that isn't known, until ctx ends.
func (r *ring) run(ctx context.Context) {
	defer close(r.ended)
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hurry:
		case <-due.C:
		}
		due.Reset(r.turn(ctx))
	}
}

// turn fetches the keys, if they may be fetched now, and returns how long to wait until they are due.
func (r *ring) turn(ctx context.Context) time.Duration {
	if r.begin() {
		fetched, err := r.fetch(ctx)
		if ctx.Err() == nil {
			r.report(ctx, fetched, err)
		}
		r.end(fetched, err)
	}
	return r.rest()
}

// begin tells whether the pause is over: a caller's wish may have been met while it lay there.
func (r *ring) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.restedLocked()
}

// end keeps what was fetched, and wakes who waits.
func (r *ring) end(fetched keys, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures++
	if err == nil {
		r.known, r.failures = fetched, 0
	}
	r.rested = time.Now()
	close(r.news)
	r.news = make(chan struct{})
}

func (r *ring) rest() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := refresh
	if r.failures > 0 {
		pause = r.pauseLocked()
	}
	return pause - time.Since(r.rested)
}

func (r *ring) report(ctx context.Context, fetched keys, err error) {
	r.mu.Lock()
	known := len(r.known)
	r.mu.Unlock()
	if err != nil {
		r.log.WarnContext(ctx, "issuer keys not fetched, those known stay", "known", known, "error", err)
		return
	}
	r.log.InfoContext(ctx, "issuer keys fetched", "known", len(fetched))
}

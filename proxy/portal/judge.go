package portal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// badFor is how long a refused key is known to be bad without being asked about again. It outlasts the longest pause of
// a budget, and not by much: a check may get no turn though the key is well, since it does not wait for one.
const badFor = 5 * time.Second

// judge says whose fault it is that a request with the Portal API Key was refused: Portal does not. It knows what Portal
// last thought of the key, and asks where that does not tell. It is safe for concurrent use.
type judge struct {
	parts GuardParts
	// checks lets all who ask at once share one check.
	checks singleflight.Group

	mu   sync.Mutex
	last verdict
	// worked is when the latest request left of which Portal accepted the key.
	worked time.Time
}

// verdict is what Portal thought of a key. The zero verdict is about none.
type verdict struct {
	key session.Secret
	// sent is when the request left that tells, or a moment before.
	sent     time.Time
	accepted bool
	// until is how long a refusal counts.
	until time.Time
}

// blame is whose fault a refusal is.
type blame uint8

const (
	onNobody blame = iota // it is not known
	onClient
	onKey
	onOldKey // another is in use by now
)

// begin returns the verdict that a request which is about to leave will be if it succeeds.
func (j *judge) begin() verdict { return verdict{key: j.parts.Key(), sent: time.Now(), accepted: true} }

// acquit takes in a request that succeeded. If the key was replaced meanwhile, it is not known with which one.
func (j *judge) acquit(begun verdict) {
	if j.parts.Key().Equal(begun.key) {
		j.learn(begun)
	}
}

// convict takes in a refusal that only the key can be the reason of. If no other replaces it, the fleet's mints pause. What
// is known of the key counts once that is settled: nobody is told that the key is bad while another is about to take over.
func (j *judge) convict(ctx context.Context, refused *keyError) {
	replaced := j.replaced(refused)
	if !replaced {
		j.parts.Succeed(ctx, refused.key)
		replaced = !j.inUse(refused)
	}
	j.learn(verdict{key: refused.key, sent: refused.sent, until: time.Now().Add(badFor)})
	if !replaced {
		j.parts.Budget.Bar(ctx, session.ClassMint)
	}
}

// learn keeps the verdict on what was sent last: answers may overtake one another.
func (j *judge) learn(v verdict) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !v.sent.Before(j.last.sent) {
		j.last = v
	}
	if v.accepted && v.sent.After(j.worked) {
		j.worked = v.sent
	}
}

// replaced looks for another key, and reports whether the one that was refused is no longer in use.
func (j *judge) replaced(refused *keyError) bool {
	j.parts.Refused()
	return !j.inUse(refused)
}

// inUse reports whether the key that was refused is the one in use.
func (j *judge) inUse(refused *keyError) bool { return j.parts.Key().Equal(refused.key) }

// blame returns whose fault the refusal is, of a request that may have been refused for its client.
func (j *judge) blame(ctx context.Context, refused *keyError) blame {
	if j.replaced(refused) {
		return onOldKey
	}
	for range 2 { // the check that is shared may have left before the request did
		if who := j.known(refused); who != onNobody {
			return who
		}
		if err := j.check(ctx); err != nil {
			break
		}
	}
	return j.known(refused)
}

func (j *judge) known(refused *keyError) blame {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case !j.inUse(refused):
		return onOldKey
	case !j.last.key.Equal(refused.key):
		return onNobody
	case j.last.accepted && !j.last.sent.Before(refused.sent):
		return onClient
	case time.Now().Before(j.last.until):
		return onKey
	}
	return onNobody
}

// check asks about the key in use, once for all who ask meanwhile. Whoever leaves ends nobody else's check, which has the
// time-out of a request.
func (j *judge) check(ctx context.Context) error {
	asked := j.checks.DoChan("", func() (any, error) { return nil, j.ask(context.WithoutCancel(ctx)) })
	select {
	case answer := <-asked:
		return answer.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *judge) ask(ctx context.Context) error {
	begun := j.begin()
	err := j.parts.CheckKey(ctx)
	if err == nil {
		j.acquit(begun)
	}
	if refused, ok := errors.AsType[*keyError](err); ok {
		j.convict(ctx, refused)
	}
	return err
}

// admit keeps out what would be refused. While the key is known to be bad, Portal is asked about the key first, as soon
// as the pause lets it: one check, and not all that waited for the pause to end.
func (j *judge) admit(ctx context.Context) error {
	if !j.isBad() {
		return nil
	}
	err := j.check(ctx)
	if errors.Is(err, session.ErrPortalRateLimited) || errors.Is(err, session.ErrPortalUnauthorized) && j.isBad() {
		return j.named(err)
	}
	return nil
}

// named returns err as what it is: where the key is bad, it is not the budget that is spent.
func (j *judge) named(err error) error {
	if errors.Is(err, session.ErrPortalRateLimited) && j.isBad() {
		return fmt.Errorf("%w: asked again in %s", session.ErrPortalUnauthorized, session.RetryAfter(err))
	}
	return err
}

// standing returns what is known of the key in use.
func (j *judge) standing() KeyStanding {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := KeyStanding{Verdict: KeyUntried, Worked: j.worked}
	if j.last.key.Equal(j.parts.Key()) {
		s.Verdict = KeyRefused
		if j.last.accepted {
			s.Verdict = KeyAccepted
		}
	}
	return s
}

// isBad reports whether Portal just refused the key in use.
func (j *judge) isBad() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Now().Before(j.last.until) && j.last.key.Equal(j.parts.Key())
}

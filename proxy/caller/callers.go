// Package caller tells who asks the proxy: by a key, a client certificate, a token of an issuer, or the process at the
// other end of a Unix socket, as the callers file says; or, where there is no such file, anybody on this machine.
//
//   - Nobody is known by default: a caller has credentials, routes and clients of its own, or the file is refused.
//   - Every credential that comes with a request and is one of ours must be good, and all must be the same caller's. What
//     is not ours (a backend's Authorization for Portal itself) counts as none.
//   - A key is compared with all there are, in constant time. No credential is ever part of an error.
package caller

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Identity is whom an issuer's token speaks of.
type Identity struct {
	// Issuer is the name of an [Issuer].
	Issuer  string
	Subject string
}

// Verifier knows the tokens of issuers.
type Verifier interface {
	// Verify returns whom the token speaks of, if one of the issuers made it and it is good now.
	Verify(ctx context.Context, raw string) (Identity, error)
	// Close ends what goes on in the background. Whoever is verifying meanwhile is not disturbed.
	Close()
}

// Parts is what a [Callers] is made of.
type Parts struct {
	// Trust returns a Verifier for the issuers, at least one; nil if tokens of issuers are not taken. A Verifier is kept
	// as long as the file names the same issuers.
	Trust func(issuers []Issuer) (Verifier, error)
	// Now is the clock of rates.
	Now func() time.Time
}

// Callers are those that the callers file names. It is safe for concurrent use.
type Callers struct {
	parts Parts
	book  atomic.Pointer[book]
}

// New returns the callers whom the file names. The error says what is wrong in the file, and holds no credential.
func New(file []byte, parts Parts) (*Callers, error) {
	c := &Callers{parts: parts}
	c.book.Store(&book{})
	if err := c.Reload(file); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload takes the file's callers in place of those before, who stay if it has a mistake. A caller whose rate is the same
// has spent what it had spent.
func (c *Callers) Reload(file []byte) error {
	fresh, err := parse(file)
	if err != nil {
		return err
	}
	old := c.book.Load()
	if err := fresh.trust(old, c.parts.Trust); err != nil {
		return err
	}
	fresh.keepSpent(old)
	c.book.Store(fresh)
	if old.verifier != nil && old.verifier != fresh.verifier {
		old.verifier.Close()
	}
	return nil
}

// Close ends what goes on in the background; after that the file must not be read again.
func (c *Callers) Close() {
	if verifier := c.book.Load().verifier; verifier != nil {
		verifier.Close()
	}
}

// methods are the ways in which a request may tell whose it is.
var methods = []func(*book, *http.Request) ([]int, error){(*book).byBearer, (*book).byCertificate, (*book).byPeer}

// Identify returns the one caller whom all credentials of the request name.
func (c *Callers) Identify(r *http.Request) (session.Caller, error) {
	book := c.book.Load()
	var named []int
	for _, method := range methods {
		callers, err := method(book, r)
		if err != nil {
			return session.Caller{}, fmt.Errorf("%w: %w", session.ErrCallerUnauthenticated, err)
		}
		named = append(named, callers...)
	}
	if len(named) == 0 {
		return session.Caller{}, fmt.Errorf("%w: no known credential came", session.ErrCallerUnauthenticated)
	}
	for _, caller := range named {
		if caller != named[0] {
			return session.Caller{}, fmt.Errorf("%w: the credentials are those of several callers", session.ErrCallerUnauthenticated)
		}
	}
	return book.callers[named[0]], nil
}

// Admit counts a request against the caller's rate.
func (c *Callers) Admit(caller session.Caller) error {
	limiter, limited := c.book.Load().limiters[caller.Name]
	if !limited {
		return nil
	}
	now := c.parts.Now()
	turn := limiter.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	turn.CancelAt(now)
	return &session.RetryError{After: wait, Err: session.ErrCallerRateLimited}
}

// book is one reading of the callers file. Callers are named by their place in it.
type book struct {
	issuers  []Issuer
	verifier Verifier
	callers  []session.Caller
	keys     []keyOwner
	// certificates :: name as the file has it → caller
	certificates map[string]int
	subjects     map[Identity]int
	uids         map[uint32]int
	// limiters :: name of a caller with a rate → what it has left
	limiters map[string]*rate.Limiter
}

// trust gives the book a Verifier for its issuers: the old one's, if they are the same.
func (b *book) trust(old *book, trust func([]Issuer) (Verifier, error)) error {
	switch {
	case len(b.issuers) == 0 || trust == nil:
		return nil
	case old.verifier != nil && sameIssuers(b.issuers, old.issuers):
		b.verifier = old.verifier
		return nil
	}
	var err error
	b.verifier, err = trust(b.issuers)
	return err
}

func (b *book) keepSpent(old *book) {
	for name, limiter := range b.limiters {
		before, ok := old.limiters[name]
		if ok && before.Limit() == limiter.Limit() && before.Burst() == limiter.Burst() {
			b.limiters[name] = before
		}
	}
}

// Package oidc authenticates callers by the signed tokens (JWT) of OpenID Connect issuers, a Kubernetes cluster's own
// for its service accounts among them. The signatures and their encoding are go-jose's; the rules are here.
//
// What holds:
//
//  1. A token is accepted only if a configured issuer signed it, for the audience configured with it, by an algorithm
//     allowed for it, and only from its iat to its exp: both are required.
//  2. The key is the issuer's own, by kid, from where the configured URL leads. What a token says about keys (jwk, jku,
//     x5c, x5u) decides nothing, and a header that wants to be understood (crit) is refused.
//  3. An issuer is asked for its keys at most once in 30 seconds while one is known, whatever callers send. Without any
//     the pause grows from 1 second to 30.
//  4. Keys are replaced only by keys: those known outlive an issuer that is away, or answers with nothing of use.
//  5. A refusal holds no byte of the token.
//
// A token that its issuer has withdrawn before its exp is accepted until then: nobody is asked about a single token.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Parts is what a [Verifier] is made of. Now and Log are required. Without issuers every token is refused.
type Parts struct {
	Issuers []Issuer
	// Now is the time by which tokens are judged.
	Now func() time.Time
	Log *slog.Logger
	// Dial connects to issuers; nil dials as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Identity is who a token stands for: the Name of its issuer, and its sub.
type Identity struct{ Issuer, Subject string }

// Verifier tells whom a token stands for. Its methods may be called at once.
type Verifier struct {
	// issuers: URL → issuer.
	issuers map[string]*issuer
	now     func() time.Time
	stop    context.CancelFunc
	running sync.WaitGroup
}

// New returns a Verifier made of parts, or all mistakes in them. It doesn't wait for an issuer: the keys are fetched in
// the background, from now until [Verifier.Close].
func New(parts Parts) (*Verifier, error) {
	if err := Check(parts.Issuers); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // no caller: it lasts until Close
	v := &Verifier{issuers: map[string]*issuer{}, now: parts.Now, stop: stop}
	for _, settings := range parts.Issuers {
		i := newIssuer(settings, parts)
		v.issuers[settings.URL] = i
		v.running.Go(func() { i.ring.run(ctx) })
	}
	return v, nil
}

// Close ends the fetching of keys. Those known go on to verify.
func (v *Verifier) Close() {
	v.stop()
	v.running.Wait()
}

// Inherit takes over the keys that before knows of issuers which are found as they were, until they are fetched anew:
// that another issuer comes or goes must not cost the keys of one that is away.
func (v *Verifier) Inherit(before *Verifier) {
	for url, heir := range v.issuers {
		if former, ok := before.issuers[url]; ok && former.CAFile == heir.CAFile && former.TokenFile == heir.TokenFile {
			heir.ring.inherit(former.ring.all())
		}
	}
}

// Verify returns whom raw stands for. A key that isn't known is waited for if its issuer may be asked now, for as long
// as ctx and the time-out of a fetch allow. Every error wraps [session.ErrCallerUnauthenticated].
func (v *Verifier) Verify(ctx context.Context, raw string) (Identity, error) {
	identity, err := v.verify(ctx, raw)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", session.ErrCallerUnauthenticated, err)
	}
	return identity, nil
}

// Why a token is refused: for the log. The words are fixed, so that nothing of a token is in them.
var (
	errTooLarge  = errors.New("the token is too large")
	errMalformed = errors.New("the token is not a signed JWT")
	errHeader    = errors.New("the token's header asks for what is not supported")
	errIssuer    = errors.New("the token's issuer is not configured")
	errAlgorithm = errors.New("the token's algorithm is not allowed")
	errAudience  = errors.New("the token is meant for others")
	errSubject   = errors.New("the token names no subject")
	errDates     = errors.New("the token lacks exp or iat, or they make no sense")
	errExpired   = errors.New("the token has expired")
	errTooEarly  = errors.New("the token is not valid yet")
	errNoKeys    = errors.New("no key of the token's issuer is known yet")
	errKey       = errors.New("the token's key is not its issuer's")
	errSignature = errors.New("the token's signature is not its issuer's")
)

// verify looks at the claims first, though nothing proves them yet: a token that is refused anyway costs no fetch.
func (v *Verifier) verify(ctx context.Context, raw string) (Identity, error) {
	token, err := open(raw)
	if err != nil {
		return Identity{}, err
	}
	issuer, ok := v.issuers[token.claims.Issuer]
	if !ok {
		return Identity{}, errIssuer
	}
	if err := issuer.admit(token, v.now()); err != nil {
		return Identity{}, err
	}
	if err := issuer.ring.prove(ctx, token); err != nil {
		return Identity{}, err
	}
	return Identity{Issuer: issuer.Name, Subject: token.claims.Subject}, nil
}

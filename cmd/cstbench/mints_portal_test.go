package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal"
	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
	"github.com/cstproxy/cstproxy/proxy/session"
)

// overHTTP is the simulated Portal of all other tests, asked by the proxy's own client, without a socket.
type overHTTP struct {
	*portal.Client
	portal *portaltest.Portal
}

func newOverHTTP() *overHTTP {
	p := portaltest.New(portaltest.Options{AnyClient: true, RateLimit: perMinute})
	p.Set(func(b *portaltest.Behavior) { b.RetryAfter = portaltest.RetryAfterSeconds })
	key := session.NewSecret(portaltest.DefaultKey)
	return &overHTTP{portal: p, Client: portal.New(portal.Parts{
		BaseURL: "http://portal.test", Paths: portal.V1, Timeout: portalTimeout, Key: func() session.Secret { return key },
		Wrap: func(http.RoundTripper) http.RoundTripper { return &road{p} },
	})}
}

func (o *overHTTP) accepts(secret session.Secret) bool { return o.portal.Accepts(secret.Reveal()) }
func (o *overHTTP) counts() portaltest.Stats           { return o.portal.Stats() }

// road is the way to Portal.
type road struct{ portal *portaltest.Portal }

func (r *road) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := travel(request.Context()); err != nil {
		return nil, err
	}
	answer := httptest.NewRecorder()
	r.portal.ServeHTTP(answer, request)
	return answer.Result(), nil
}

// travel takes the time that a request takes. The answer comes at once: it is the request's way that a token is dated
// before.
func travel(ctx context.Context) error {
	timer := time.NewTimer(roundTrip)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// plain is a Portal by the same rules without HTTP, which would take most of a run's time. Both are held to each other.
type plain struct {
	mu     sync.Mutex
	tokens map[session.TokenID]known
	// admitted :: family of requests -> when those of the last minute came
	admitted map[session.Class][]time.Time
	stats    portaltest.Stats
}

// known is what Portal knows of a token.
type known struct{ minted, active time.Time }

func newPlain() *plain {
	return &plain{tokens: map[session.TokenID]known{}, admitted: map[session.Class][]time.Time{}}
}

// Mint implements [session.Portal].
func (p *plain) Mint(ctx context.Context, client session.ClientID, _ session.Reason) (session.Token, error) {
	if err := travel(ctx); err != nil {
		return session.Token{}, session.ErrPortalTimeout
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if err := p.admit(session.ClassMint, now); err != nil {
		return session.Token{}, err
	}
	p.stats.Mints++
	secret := session.NewSecret(fmt.Sprintf("%s-%d", client, p.stats.Mints))
	token := session.Token{Client: client, ID: session.IdentifyToken(secret), Secret: secret}
	p.tokens[token.ID] = known{now, now}
	return token, nil
}

// Probe implements [session.Portal].
func (p *plain) Probe(ctx context.Context, token session.Token) error {
	if err := travel(ctx); err != nil {
		return session.ErrPortalTimeout
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if err := p.admit(session.ClassProbe, now); err != nil {
		return err
	}
	if !p.live(token.ID, now) {
		p.stats.Unauthorized++
		return session.ErrTokenRejected
	}
	p.stats.Probes++
	p.tokens[token.ID] = known{p.tokens[token.ID].minted, now}
	return nil
}

// Register implements [session.Portal]: nobody does.
func (p *plain) Register(context.Context, session.Registration) (session.Token, error) {
	return session.Token{}, session.ErrPortalBadResponse
}

// admit counts a request in the rolling minute of its family.
func (p *plain) admit(class session.Class, now time.Time) error {
	p.stats.Requests++
	admitted := p.admitted[class]
	for len(admitted) > 0 && now.Sub(admitted[0]) >= time.Minute {
		admitted = admitted[1:]
	}
	if len(admitted) >= perMinute {
		p.stats.RateLimited++
		return &session.RetryError{After: admitted[0].Add(time.Minute).Sub(now), Err: session.ErrPortalRateLimited}
	}
	p.admitted[class] = append(admitted, now)
	return nil
}

// live is Portal's rule: 24 h without a request, 7 days at most.
func (p *plain) live(id session.TokenID, now time.Time) bool {
	t, ok := p.tokens[id]
	return ok && now.Before(t.active.Add(24*time.Hour)) && now.Before(t.minted.Add(7*24*time.Hour))
}

func (p *plain) accepts(secret session.Secret) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live(session.IdentifyToken(secret), time.Now())
}

func (p *plain) counts() portaltest.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

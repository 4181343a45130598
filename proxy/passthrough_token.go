package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// RoundTrip implements [http.RoundTripper]: it sends the request with its credential, and learns from the answer what there
// is to learn of that.
func (p *passing) RoundTrip(out *http.Request) (*http.Response, error) {
	if p.mode == ModeKey {
		return p.sendWithKey(out)
	}
	body, err := p.bodyOf(out)
	if err != nil {
		return nil, err
	}
	answer, err := p.sendWithToken(out, body())
	if err != nil || answer.StatusCode != http.StatusUnauthorized || p.mode == ModeObserve {
		return answer, err
	}
	discard(answer)
	if err := p.renew(out.Context()); err != nil {
		return nil, err
	}
	answer, err = p.sendWithToken(out, body())
	if err == nil && answer.StatusCode == http.StatusUnauthorized {
		discard(answer)
		p.server.parts.Broker.Clear(p.token) // a new token as well: it is not for want of one
		return nil, session.ErrTokenRejected
	}
	return answer, err
}

// renew gets another token for the one that Portal refused, if the request may be sent once more; else that one is forgotten,
// and the error is [session.ErrTokenRejected].
func (p *passing) renew(ctx context.Context) error {
	broker := p.server.parts.Broker
	if !p.whole || !slices.Contains(p.server.parts.Passthrough.Repeats, p.family) {
		broker.Refused(ctx, p.token)
		return session.ErrTokenRejected
	}
	grant, err := broker.Replace(p.server.askedIn(ctx, p.c), p.token)
	if err != nil {
		return err
	}
	p.token, p.repeated = grant.Token, true
	return nil
}

// bodyOf returns what gives the body, as often as it is sent.
func (p *passing) bodyOf(out *http.Request) (body func() io.ReadCloser, err error) {
	if out.Body == nil || out.Body == http.NoBody {
		return func() io.ReadCloser { return http.NoBody }, nil
	}
	if !p.whole {
		return func() io.ReadCloser { return out.Body }, nil
	}
	text, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, err
	}
	return func() io.ReadCloser { return io.NopCloser(bytes.NewReader(text)) }, nil
}

// gateway is where Portal passes JSON-RPC on. Its SDKs send that without a token, so that a 2xx there tells nothing of one.
const gateway = "/rpc/"

// sendWithToken sends the request with the token. A 2xx is a sign of its life, from when the request left. A 401 says that
// it is dead: who came with it is told, and exactly it is forgotten.
func (p *passing) sendWithToken(out *http.Request, body io.ReadCloser) (*http.Response, error) {
	broker, request := p.server.parts.Broker, out.Clone(out.Context())
	request.Body = body
	if p.mode == ModeInject {
		request.Header.Set(headerAuthorization, "Bearer "+p.token.Secret.Reveal())
	}
	sent := broker.Sent()
	answer, err := p.send(request)
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode >= 200 && answer.StatusCode <= 299 && !strings.HasPrefix(out.URL.Path, gateway):
		broker.Used(out.Context(), p.token, sent)
	case answer.StatusCode == http.StatusUnauthorized && p.mode == ModeObserve:
		broker.Refused(out.Context(), p.token)
	}
	return answer, nil
}

// sendWithKey sends the request with the Portal API Key, within the fleet's budget.
func (p *passing) sendWithKey(out *http.Request) (*http.Response, error) {
	through := p.server.parts.Passthrough
	if err := through.Budget.Wait(out.Context(), session.ClassMint, through.Timeout/4); err != nil {
		return nil, err
	}
	request := out.Clone(out.Context())
	request.Header.Set(headerAuthorization, "Bearer "+through.Key().Reveal())
	answer, err := p.send(request)
	if err == nil && answer.StatusCode == http.StatusTooManyRequests {
		through.Budget.Pause(out.Context(), session.ClassMint, 0)
	}
	return answer, err
}

// send sends the request once.
func (p *passing) send(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		// Of these net/http sends anew only what has such a key, and no body or one that can be had again.
		again := request.Header["Idempotency-Key"] != nil || request.Header["X-Idempotency-Key"] != nil
		if empty := request.Body == nil || request.Body == http.NoBody; empty && again {
			request.Body = io.NopCloser(bytes.NewReader(nil))
		}
	}
	answer, err := p.server.parts.Passthrough.Transport.RoundTrip(request)
	if err != nil {
		return nil, p.broken(request.Context(), err)
	}
	if answer.StatusCode == http.StatusSwitchingProtocols { // which nobody asked for, and is no answer
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%w: it is of another protocol", session.ErrPortalBadResponse)
	}
	return answer, nil
}

// broken translates a request that got no answer. Its text may hold a part of one, and is not shown.
func (p *passing) broken(ctx context.Context, err error) error {
	timeout, isNet := errors.AsType[net.Error](err)
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return session.ErrBodyTooLarge
	case errors.Is(p.c.Request().Context().Err(), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil, isNet && timeout.Timeout():
		return p.once(session.ErrPortalTimeout)
	}
	return p.once(session.ErrPortalUnavailable)
}

// discard reads what is left of a short answer, so that its connection can serve again.
func discard(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, answer.Body, maxBody)
	_ = answer.Body.Close()
}

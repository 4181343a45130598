// Package portal speaks Portal's REST API over HTTP: mint, register, probe. It checks what Portal answers, translates
// failures into the errors of package session, and decides on the status alone: Portal does not state its bodies.
//
// What holds:
//
//  1. An answer is used only if it is whole: a 2xx of at most 64 KiB of JSON, for the client that was asked about.
//  2. Portal's permanent clientApiKey is never decoded, and no text of an answer is in an error.
//  3. No redirect is followed, and no proxy taken from the environment unless asked for: the key goes to the configured
//     host only.
//  4. Registering is never repeated, but with another key if Portal refused the one in use; minting and probing once at most ([Retry]). Only a read, which changes nothing, may
//     be sent anew by net/http, when it met a kept connection that was dead.
package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	// maxAnswer is far above any answer that Portal's documentation shows.
	maxAnswer = 64 << 10
	// maxSecret keeps a token within what servers take as a header.
	maxSecret = 8 << 10
)

// Paths are the places of the Custodian API in one of its versions.
type Paths struct {
	// Clients takes registrations.
	Clients string
	// Session follows a client's own place and takes mints.
	Session string
}

// The versions of the Custodian API, as Portal's documentation lists them.
//
//nolint:gochecknoglobals // nobody changes them: constants in all but the keyword
var (
	V1 = Paths{Clients: "/api/v1/custodians/clients", Session: "/session"}
	V3 = Paths{Clients: "/api/v3/custodians/me/clients", Session: "/sessions"}
)

// whoAmI is the cheapest read that a token opens, and the one whose answer has no clientApiKey in it (v1's has).
const whoAmI = "/api/v3/clients/me"

// Parts is what a [Client] is made of. Every field is required but UserAgent, Proxy and Wrap.
type Parts struct {
	// BaseURL has a scheme and a host, and no slash at its end.
	BaseURL string
	Paths   Paths
	// Key returns the Portal API Key of the moment.
	Key func() session.Secret
	// Timeout bounds one request, its answer included.
	Timeout   time.Duration
	UserAgent string
	// Proxy returns the proxy for a request, nil for none. Without it there is none.
	Proxy func(*http.Request) (*url.URL, error)
	// Wrap returns what requests go through on their way to next; [Asked] says there what they are for.
	Wrap func(next http.RoundTripper) http.RoundTripper
}

// Client is a [session.Portal] over HTTP. Each method makes one request and returns, by status: [session.ErrPortalUnauthorized],
// [session.ErrClientNotFound], [session.ErrPortalRateLimited], [session.ErrPortalUnavailable], [session.ErrPortalTimeout] or
// [session.ErrPortalBadResponse].
type Client struct {
	parts     Parts
	transport *http.Transport
	// sends is the transport as it is wrapped. It is used without an [http.Client], which would follow redirects, or fail on
	// one that it can't read.
	sends http.RoundTripper
}

// New returns a Client made of parts.
func New(parts Parts) *Client {
	c := &Client{parts: parts, transport: NewTransport(parts.Proxy)}
	c.sends = c.transport
	if parts.Wrap != nil {
		c.sends = parts.Wrap(c.transport)
	}
	return c
}

// With returns a Client that differs in its key, and shares the connections.
func (c *Client) With(key session.Secret) *Client {
	other := *c
	other.parts.Key = func() session.Secret { return key }
	return &other
}

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Mint implements [session.Portal].
func (c *Client) Mint(ctx context.Context, client session.ClientID, _ session.Reason) (session.Token, error) {
	body, err := c.do(ctx, request{
		operation: mint, method: http.MethodPost, body: []byte("{}"), key: c.parts.Key(),
		path: c.parts.Paths.Clients + "/" + string(client) + c.parts.Paths.Session,
	})
	if err != nil {
		return session.Token{}, fmt.Errorf("mint: %w", err)
	}
	token, err := readToken(body)
	if err == nil && token.Client != client {
		err = badAnswer(session.FailureWrongClient, "it is about another client")
	}
	if err != nil {
		return session.Token{}, fmt.Errorf("mint: %w", err)
	}
	return token, nil
}

// Register implements [session.Portal].
func (c *Client) Register(ctx context.Context, registration session.Registration) (session.Token, error) {
	asked := []byte("{}")
	if registration.AccountAbstracted {
		asked = []byte(`{"isAccountAbstracted":true}`)
	}
	body, err := c.do(ctx, request{
		operation: register, method: http.MethodPost, body: asked, key: c.parts.Key(), path: c.parts.Paths.Clients,
	})
	if err != nil {
		return session.Token{}, fmt.Errorf("register: %w", err)
	}
	token, err := readToken(body)
	if err != nil {
		return session.Token{}, fmt.Errorf("register: %w", err)
	}
	return token, nil
}

// Probe implements [session.Portal]. A token that opens another client is rejected as well: it must not be handed out.
func (c *Client) Probe(ctx context.Context, token session.Token) error {
	body, err := c.do(ctx, request{operation: probe, method: http.MethodGet, key: token.Secret, path: whoAmI})
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	var answer struct {
		ID session.ClientID `json:"id"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.ID == "" {
		return fmt.Errorf("probe: %w", badAnswer(session.FailureNotJSON, "it does not say whose the token is"))
	}
	if answer.ID != token.Client {
		return fmt.Errorf("probe: %w: it opens another client", failed(session.FailureWrongClient, session.ErrTokenRejected))
	}
	return nil
}

// request is one request to Portal.
type request struct {
	operation operation
	method    string
	path      string
	body      []byte
	key       session.Secret
}

// do returns the body of a 2xx.
func (c *Client) do(ctx context.Context, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.asking(ctx, r.operation), c.parts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.parts.BaseURL+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%w: the request could not be built", session.ErrPortalUnavailable)
	}
	req.GetBody = nil // else net/http may send a POST anew that the other side broke off, perhaps after its work
	req.Header.Set("Authorization", "Bearer "+r.key.Reveal())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.parts.UserAgent)
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	sent := time.Now()
	answer, err := c.sends.RoundTrip(req)
	if err != nil {
		return nil, broken(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := readBody(ctx, answer, r.operation)
	if errors.Is(err, session.ErrPortalUnauthorized) {
		err = &keyError{error: err, key: r.key, sent: sent}
	}
	return body, err
}

func readBody(ctx context.Context, answer *http.Response, operation operation) ([]byte, error) {
	if err := refusal(operation, answer); err != nil || operation == check {
		// The status says it all. Read on, so that the connection can serve again; Close ends one that is not done by then.
		_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, broken(ctx, err)
	}
	if len(body) > maxAnswer {
		return nil, badAnswer(session.FailureTooLarge, "it is longer than 64 KiB")
	}
	return body, nil
}

// readToken reads what Portal answers to a mint or a registration.
func readToken(body []byte) (session.Token, error) {
	var answer struct {
		ID                 string `json:"id"`
		ClientSessionToken string `json:"clientSessionToken"`
		AccountAbstracted  bool   `json:"isAccountAbstracted"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return session.Token{}, badAnswer(session.FailureNotJSON, "it is not the JSON that was expected")
	}
	client, err := session.ParseClientID(answer.ID)
	if err != nil {
		return session.Token{}, badAnswer(session.FailureNoToken, "it names no client")
	}
	if !isHeaderText(answer.ClientSessionToken) {
		return session.Token{}, badAnswer(session.FailureNoToken, "it has no token that fits a header")
	}
	secret := session.NewSecret(answer.ClientSessionToken)
	return session.Token{
		Client: client, Secret: secret, ID: session.IdentifyToken(secret), AccountAbstracted: answer.AccountAbstracted,
	}, nil
}

// isHeaderText reports whether text can follow "Bearer " in a header: visible ASCII (RFC 6750 allows no more).
func isHeaderText(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return text != "" && len(text) <= maxSecret
}

package portal

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// anyClient is the cheapest read that the Portal API Key opens, and the one whose answer has no clientApiKey in it (v1's
// has).
const anyClient = "/api/v3/custodians/me/clients?take=1"

// KeyCheck asks whether Portal accepts the Portal API Key: [session.ErrPortalUnauthorized] if it does not. Any other error
// is none of the key's.
type KeyCheck func(ctx context.Context) error

// CheckKey is a [KeyCheck] by one request. It goes by the status, and decodes nothing.
func (c *Client) CheckKey(ctx context.Context) error {
	_, err := c.do(ctx, request{operation: check, method: http.MethodGet, key: c.parts.Key(), path: anyClient})
	if err != nil {
		return fmt.Errorf("check the key: %w", err)
	}
	return nil
}

// KeyVerdict is what Portal last thought of the Portal API Key in use.
type KeyVerdict int8

// The verdicts.
const (
	KeyUntried  KeyVerdict = -1 // nothing was asked with it yet
	KeyRefused  KeyVerdict = 0
	KeyAccepted KeyVerdict = 1
)

// KeyStanding is what is known of the Portal API Key in use. Worked is when Portal last accepted one, the zero Time if
// it never did.
type KeyStanding struct {
	Verdict KeyVerdict
	Worked  time.Time
}

// keyError is [session.ErrPortalUnauthorized] with the key that was refused, and when it was sent.
type keyError struct {
	error
	key  session.Secret
	sent time.Time
}

// Unwrap returns what Portal said.
func (e *keyError) Unwrap() error { return e.error }

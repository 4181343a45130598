package proxy

import (
	"fmt"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// maxIdempotencyKey is the length that the widespread APIs with this header allow.
const maxIdempotencyKey = 255

// registering returns a handler that registers a client at Portal and answers with status and the token that came.
func registering(status int) func(*Server, echo.Context) error {
	return func(s *Server, c echo.Context) error {
		registration, err := parseRegistration(c)
		if err != nil {
			return err
		}
		grant, err := s.parts.Broker.Register(s.asked(c), registration)
		if err != nil {
			return err
		}
		return s.answer(c, status, grant)
	}
}

func parseRegistration(c echo.Context) (session.Registration, error) {
	var body struct {
		IsAccountAbstracted bool `json:"isAccountAbstracted"`
	}
	if err := readJSON(c, &body); err != nil {
		return session.Registration{}, err
	}
	key, err := parseIdempotencyKey(c.Request().Header.Values("Idempotency-Key"))
	if err != nil {
		return session.Registration{}, err
	}
	if key != "" {
		key = callerName(c) + "\n" + key // neither holds a line end: one caller's key must not find another's client
	}
	return session.Registration{AccountAbstracted: body.IsAccountAbstracted, Key: key}, nil
}

// parseIdempotencyKey returns the key, "" if there is none. A key that is there but empty is a mistake: the caller
// means to be safe from a second client, and would not be.
func parseIdempotencyKey(values []string) (string, error) {
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", fmt.Errorf("%w: Idempotency-Key is given %d times, want once", session.ErrInvalidRequest, len(values))
	case values[0] == "" || len(values[0]) > maxIdempotencyKey:
		return "", fmt.Errorf("%w: Idempotency-Key has %d characters, want 1 to %d", session.ErrInvalidRequest, len(values[0]), maxIdempotencyKey)
	}
	return values[0], nil
}

package portal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// operation is what was asked of Portal.
type operation uint8

const (
	mint operation = iota
	register
	probe
	check
)

// Bounds of a Retry-After: less is noise, more would outlast the trouble.
const (
	minRetryAfter = time.Second
	maxRetryAfter = 10 * time.Minute
)

// refusal returns what a status means for the operation, nil for a 2xx.
func refusal(operation operation, answer *http.Response) error {
	status := answer.StatusCode
	if status >= 200 && status <= 299 {
		return nil
	}
	failure, means := meaning(operation, status)
	err := fmt.Errorf("%w (status %d)", failed(failure, means), status)
	if status == http.StatusBadGateway || status == http.StatusGatewayTimeout {
		err = fmt.Errorf("%w: %w", err, session.ErrOutcomeUnknown) // whoever answers does not know what became of it
	}
	if wait := retryAfter(answer.Header.Get("Retry-After"), time.Now()); wait > 0 {
		return &session.RetryError{After: wait, Err: err}
	}
	return err
}

// failed notes what exactly went wrong, for those who count.
func failed(failure session.PortalFailure, err error) error {
	return &session.PortalError{Failure: failure, Err: err}
}

func meaning(operation operation, status int) (session.PortalFailure, error) {
	switch {
	case status == http.StatusTooManyRequests:
		return session.FailureRateLimited, session.ErrPortalRateLimited
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return session.FailureServerError, session.ErrPortalUnavailable
	case operation == probe && status == http.StatusUnauthorized:
		return session.FailureRejected, session.ErrTokenRejected
	case operation != probe && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return session.FailureUnauthorized, session.ErrPortalUnauthorized
	case operation == mint && isUnknownClient(status):
		return session.FailureNotFound, session.ErrClientNotFound
	}
	return session.FailureUnexpectedStatus, session.ErrPortalBadResponse
}

// isUnknownClient: Portal does not say which status an unknown client has. A mint's body is always the same, so these
// can only be about the client; 401 and 403 may as well be about the key.
func isUnknownClient(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusGone
}

// retryAfter reads both forms of the header (RFC 9110 section 10.2.3) within bounds; 0 if there is none to read.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	// Of a number out of range ParseUint returns the largest that is in it.
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil || errors.Is(err, strconv.ErrRange) {
		return bounded(time.Duration(seconds) * time.Second)
	}
	if date, err := http.ParseTime(header); err == nil {
		return bounded(date.Sub(now))
	}
	return 0
}

func bounded(wait time.Duration) time.Duration { return min(max(wait, minRetryAfter), maxRetryAfter) }

func badAnswer(failure session.PortalFailure, why string) error {
	return failed(failure, fmt.Errorf("%w: %s", session.ErrPortalBadResponse, why))
}

// broken translates a request that got no whole answer. The cause is named only where its text can't hold a part of
// the answer.
func broken(ctx context.Context, err error) error {
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return failed(session.FailureTimeout, session.ErrPortalTimeout)
	}
	c := causeOf(err)
	broke := fmt.Errorf("%w: %s", session.ErrPortalUnavailable, c.text)
	if c.sent {
		broke = fmt.Errorf("%w: %w", broke, session.ErrOutcomeUnknown)
	}
	return failed(c.failure, broke)
}

// cause says what broke, and whether the request may have reached Portal before.
type cause struct {
	failure session.PortalFailure
	text    string
	sent    bool
}

func causeOf(err error) cause {
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		return cause{failureOf(operation), operation.Error(), operation.Op != "dial"}
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return cause{session.FailureDNS, lookup.Error(), false}
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return cause{session.FailureTLS, certificate.Error(), false}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return cause{session.FailureTLS, "the other side does not speak TLS", true}
	}
	return cause{session.FailureBroken, "the connection broke", true}
}

func failureOf(operation *net.OpError) session.PortalFailure {
	var (
		lookup *net.DNSError
		alert  tls.AlertError
	)
	switch {
	case errors.As(operation, &lookup):
		return session.FailureDNS
	case errors.As(operation, &alert), operation.Op == "remote error": // that is how crypto/tls calls an alert
		return session.FailureTLS
	case operation.Op == "dial":
		return session.FailureConnect
	}
	return session.FailureBroken
}

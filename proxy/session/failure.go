package session

import "errors"

// PortalFailure says what went wrong with one request to Portal.
type PortalFailure string

// The failures, in the order in which a request meets them.
const (
	FailureDNS              PortalFailure = "dns"               // no address was found
	FailureConnect          PortalFailure = "connect"           // nobody took the connection
	FailureTLS              PortalFailure = "tls"               // the other side could not show who it is
	FailureBroken           PortalFailure = "broken"            // the connection broke
	FailureTimeout          PortalFailure = "timeout"           // no whole answer in time
	FailureServerError      PortalFailure = "server_error"      // a 5xx, or what means as much
	FailureRateLimited      PortalFailure = "rate_limited"      // a 429
	FailureUnauthorized     PortalFailure = "unauthorized"      // the Portal API Key is refused
	FailureNotFound         PortalFailure = "not_found"         // the client is not known
	FailureRejected         PortalFailure = "rejected"          // the Client Session Token is refused
	FailureUnexpectedStatus PortalFailure = "unexpected_status" // any other that is no 2xx
	FailureTooLarge         PortalFailure = "too_large"         // an answer longer than any should be
	FailureNotJSON          PortalFailure = "not_json"          // an answer that can't be read
	FailureNoToken          PortalFailure = "no_token"          // an answer without a client, or a token that fits a header
	FailureWrongClient      PortalFailure = "wrong_client"      // an answer about another client
	FailureOther            PortalFailure = "other"             // none of these
)

// PortalFailures lists every PortalFailure, for those who count by it.
func PortalFailures() []PortalFailure {
	return []PortalFailure{
		FailureDNS, FailureConnect, FailureTLS, FailureBroken, FailureTimeout, FailureServerError, FailureRateLimited,
		FailureUnauthorized, FailureNotFound, FailureRejected, FailureUnexpectedStatus, FailureTooLarge, FailureNotJSON,
		FailureNoToken, FailureWrongClient, FailureOther,
	}
}

// PortalError says what exactly is behind one of the errors that it wraps, for those who count. Callers go by that one.
type PortalError struct {
	Failure PortalFailure
	Err     error
}

// Error returns the wrapped error's text.
func (e *PortalError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *PortalError) Unwrap() error { return e.Err }

// FailureOf returns what went wrong by err, which must not be nil: [FailureOther] if it does not say.
func FailureOf(err error) PortalFailure {
	if failed, ok := errors.AsType[*PortalError](err); ok {
		return failed.Failure
	}
	return FailureOther
}

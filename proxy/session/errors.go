package session

import (
	"errors"
	"fmt"
	"time"
)

// What can go wrong, in the words of a caller. Adapters translate into these at their border, wrapped with %w.
var (
	ErrInvalidClientID       = errors.New("the client id is not valid")
	ErrInvalidRequest        = errors.New("the request is not valid")
	ErrBodyTooLarge          = errors.New("the request body is too large")
	ErrCallerUnauthenticated = errors.New("the caller is not authenticated")
	ErrCallerForbidden       = errors.New("the caller may not do this")
	// ErrCallerRateLimited: the caller asks more often than it may. May be retried after [RetryAfter].
	ErrCallerRateLimited = errors.New("the caller asks too often")

	// ErrClientNotFound: Portal does not know the client, or nothing is cached for it where that is the question.
	ErrClientNotFound = errors.New("the client is not known")
	// ErrTokenMismatch: another token than the one named is cached.
	ErrTokenMismatch = errors.New("another token is cached")

	// ErrPortalRateLimited: Portal's budget is spent. May be retried after [RetryAfter].
	ErrPortalRateLimited = errors.New("the request budget at Portal is spent")
	// ErrPortalUnavailable: Portal failed or can't be reached. May be retried.
	ErrPortalUnavailable = errors.New("the Portal API is unavailable")
	// ErrPortalTimeout: Portal did not answer in time; what it did is not known. May be retried, except registration.
	ErrPortalTimeout = errors.New("the Portal API did not answer in time")
	// ErrOutcomeUnknown comes with one of the others: Portal may have done what it was asked, or may do it yet.
	ErrOutcomeUnknown = errors.New("it is not known what became of the request")
	// ErrPortalUnauthorized: Portal refuses the Portal API Key. Somebody must look at the key.
	ErrPortalUnauthorized = errors.New("the Portal API refuses the Portal API Key")
	// ErrPortalBadResponse: Portal's answer can't be used, so nothing of it was.
	ErrPortalBadResponse = errors.New("the Portal API gave an answer that can't be used")
	// ErrTokenRejected: Portal refuses the Client Session Token, of a probe or of a request passed through, which was not
	// carried out. May be retried: there will be another token.
	ErrTokenRejected = errors.New("the Portal API refuses the Client Session Token")

	// ErrTokenUnknown: a request came with a token of its own that is not kept for any client.
	ErrTokenUnknown = errors.New("the token is none that is known here")

	// ErrRegistrationBusy: another registration with the same key is under way. May be retried.
	ErrRegistrationBusy = errors.New("another registration with this Idempotency-Key is under way")

	// ErrStoreUnavailable: the token store can't be reached, and the answer depends on it. May be retried.
	ErrStoreUnavailable = errors.New("the token store is unavailable")
	// ErrLeaseBusy: another replica holds the lease.
	ErrLeaseBusy = errors.New("another replica holds the lease")
	// ErrLeaseLost: the lease ran out or is somebody else's.
	ErrLeaseLost = errors.New("the lease is lost")
	// ErrLeaseDoubt: a mint without this lease may be carried out yet.
	ErrLeaseDoubt = errors.New("another mint may be carried out yet")
	// ErrRecordUnreadable: the store holds something under the client's key, but no token. It counts as a miss.
	ErrRecordUnreadable = errors.New("the stored record is unreadable")
	// ErrOverloaded: this replica has as much under way as it may. Nothing was done. May be retried.
	ErrOverloaded = errors.New("this replica has too much to do")
	// ErrShuttingDown: this replica is about to end. May be retried, at another.
	ErrShuttingDown = errors.New("this replica is shutting down")
)

// RetryError says when trying again may help. It wraps one of the errors above.
type RetryError struct {
	After time.Duration
	Err   error
}

// Error returns the wrapped error's text: the wait is the answer's to show.
func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *RetryError) Unwrap() error { return e.Err }

// RetryAfter returns the wait that err carries, or 0 if it carries none.
func RetryAfter(err error) time.Duration {
	if retry, ok := errors.AsType[*RetryError](err); ok {
		return retry.After
	}
	return 0
}

// storeError tells a caller that the answer would have to come from a store that failed.
func storeError(err error) error {
	return &RetryError{After: storeRetryAfter, Err: fmt.Errorf("%w: %w", ErrStoreUnavailable, err)}
}

// storeRetryAfter is about how long a Redis failover takes.
const storeRetryAfter = 2 * time.Second

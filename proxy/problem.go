package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// What only this package can find wrong.
var (
	errRouteNotFound    = errors.New("there is no such route")
	errMethodNotAllowed = errors.New("the route does not take this method")
	errInternal         = errors.New("something went wrong inside the proxy")
)

// statusClientGone stands in metrics for a caller who left before the answer. On the wire it is seen only by one who
// closed no more than the sending side.
const statusClientGone = 499

// codeClientGone is its code, which nobody is answered with.
const codeClientGone = "client_gone"

// codeOverloaded is that of the one problem which is not logged line by line.
const codeOverloaded = "overloaded"

// problem is what a caller learns of an error.
type problem struct {
	err    error
	status int
	code   string
	title  string
	// retry is the Retry-After of an error that carries none of its own; 0 if trying again can't help.
	retry time.Duration
	// only are the routes on which it can be met; nil is all of them, and where there is none.
	only []session.Route
	// told: the error's whole text is the caller's, about the caller's own request. Others show what err says.
	told bool
}

// atPortal are the routes on which Portal is asked.
var atPortal = []session.Route{session.RouteToken, session.RouteRegister}

// problems is THE table: which error becomes which answer. The first row that matches counts.
var problems = []problem{
	{err: session.ErrInvalidClientID, status: http.StatusBadRequest, code: "invalid_client_id", title: "Invalid client id", told: true, only: session.Routes()},
	{err: session.ErrInvalidRequest, status: http.StatusBadRequest, code: "invalid_request", title: "Invalid request", told: true, only: session.Routes()},
	{err: session.ErrCallerUnauthenticated, status: http.StatusUnauthorized, code: "caller_unauthenticated", title: "Caller not authenticated"},
	{err: session.ErrCallerForbidden, status: http.StatusForbidden, code: "caller_forbidden", title: "Caller not allowed", told: true},
	{err: session.ErrCallerRateLimited, status: http.StatusTooManyRequests, code: "caller_rate_limited", title: "The caller asks too often", retry: time.Second},
	{err: session.ErrClientNotFound, status: http.StatusNotFound, code: "client_not_found", title: "Client not found", only: []session.Route{session.RouteToken, session.RouteActivity}},
	{err: errStranger, status: http.StatusForbidden, code: "caller_unauthenticated", title: "Caller not authenticated", only: session.Families()},
	{err: session.ErrTokenUnknown, status: http.StatusForbidden, code: "token_unknown", title: "The token is not known", told: true, only: session.Families()},
	{err: session.ErrTokenRejected, status: http.StatusBadGateway, code: "token_rejected", title: "Portal refuses the token", retry: time.Second, only: session.Families()},
	{err: errUpgrade, status: http.StatusNotImplemented, code: "upgrade_unsupported", title: "No upgrade of the connection", only: session.Families()},
	{err: session.ErrTokenMismatch, status: http.StatusPreconditionFailed, code: "token_mismatch", title: "Another token is cached", only: []session.Route{session.RouteForget, session.RouteActivity}},
	{err: session.ErrBodyTooLarge, status: http.StatusRequestEntityTooLarge, code: "body_too_large", title: "Body too large"},
	{err: session.ErrPortalRateLimited, status: http.StatusServiceUnavailable, code: "portal_rate_limited", title: "Portal's request budget is spent", retry: time.Second, only: atPortal},
	{err: session.ErrRegistrationBusy, status: http.StatusGatewayTimeout, code: "portal_timeout", title: "Portal did not answer in time", retry: time.Second, only: []session.Route{session.RouteRegister}},
	{err: session.ErrPortalTimeout, status: http.StatusGatewayTimeout, code: "portal_timeout", title: "Portal did not answer in time", retry: time.Second, only: atPortal},
	{err: session.ErrPortalUnauthorized, status: http.StatusBadGateway, code: "portal_unauthorized", title: "Portal refuses the Portal API Key", only: atPortal},
	{err: session.ErrPortalBadResponse, status: http.StatusBadGateway, code: "portal_bad_response", title: "Portal's answer can't be used", only: atPortal},
	{err: session.ErrPortalUnavailable, status: http.StatusServiceUnavailable, code: "portal_unavailable", title: "Portal is unavailable", retry: time.Second, only: atPortal},
	{err: session.ErrStoreUnavailable, status: http.StatusServiceUnavailable, code: "store_unavailable", title: "The token store is unavailable", retry: 2 * time.Second},
	{err: session.ErrOverloaded, status: http.StatusServiceUnavailable, code: codeOverloaded, title: "Too much to do", retry: time.Second},
	{err: errAuditUnavailable, status: http.StatusServiceUnavailable, code: "audit_unavailable", title: "The audit can't be written", retry: time.Second},
	{err: session.ErrShuttingDown, status: http.StatusServiceUnavailable, code: "shutting_down", title: "Shutting down", retry: time.Second},
	{err: errRouteNotFound, status: http.StatusNotFound, code: "route_not_found", title: "No such route", only: []session.Route{noRoute}},
	{err: errMethodNotAllowed, status: http.StatusMethodNotAllowed, code: "method_not_allowed", title: "Method not allowed", only: []session.Route{noRoute}},
	{err: errInternal, status: http.StatusInternalServerError, code: "internal", title: "Internal error"},
}

// Codes lists the code of every error that a caller can meet, for those who count by it.
func Codes() []string {
	codes := make([]string, 0, len(problems))
	seen := map[string]bool{}
	for _, p := range problems {
		if !seen[p.code] {
			codes = append(codes, p.code)
			seen[p.code] = true
		}
	}
	return codes
}

// explain returns the row for err; the last one, which says nothing, for an error that the table does not know.
func explain(err error) problem {
	for _, p := range problems {
		if errors.Is(err, p.err) {
			return p
		}
	}
	return problems[len(problems)-1]
}

func known(err error) bool {
	return slices.ContainsFunc(problems, func(p problem) bool { return errors.Is(err, p.err) })
}

// problemDocument is an RFC 9457 problem document. Error repeats Detail, since Portal's clients read that field.
type problemDocument struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Retryable bool   `json:"retryable"`
	RequestID string `json:"requestId"`
	Error     string `json:"error"`
}

func (p problem) document(err error, requestID string) problemDocument {
	detail := p.err.Error()
	if p.told {
		detail = err.Error()
	}
	return problemDocument{
		Type: "urn:cstproxy:problem:" + p.code, Title: p.title, Status: p.status, Detail: detail,
		Code: p.code, Retryable: p.retry > 0, RequestID: requestID, Error: detail,
	}
}

// wait returns the Retry-After in whole seconds, rounded up; 0 for none.
func (p problem) wait(err error) int {
	if p.retry == 0 {
		return 0
	}
	wait := p.retry
	if own := session.RetryAfter(err); own > 0 {
		wait = own
	}
	return int((wait + time.Second - 1) / time.Second)
}

// fail is the one place where an error becomes an answer.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	if errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil {
		callOf(c).problem = codeClientGone
		s.recordRefusal(c, statusClientGone, codeClientGone)
		c.Response().WriteHeader(statusClientGone) // or net/http would say 200
		return
	}
	err = s.gentle(c, domestic(err))
	p := explain(err)
	if _, once := errors.AsType[*onceError](err); once {
		p.retry = 0
	}
	s.parts.Meter.Refused(p.code)
	callOf(c).problem = p.code
	s.log(c, p, err)
	s.recordRefusal(c, p.status, p.code)
	if wait := p.wait(err); wait > 0 {
		c.Response().Header().Set("Retry-After", strconv.Itoa(wait))
	}
	if p.status == http.StatusUnauthorized {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, challenge)
	}
	c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
	if err := c.JSON(p.status, p.document(err, requestID(c))); err != nil {
		s.parts.Log.DebugContext(c.Request().Context(), "answer not written", "error", err)
	}
}

// domestic translates what Echo and net/http return into errors that the table knows.
func domestic(err error) error {
	if known(err) {
		return err // also if it wraps one of those, as a store's time-out does
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return session.ErrBodyTooLarge
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return session.ErrPortalTimeout
	}
	echoed, ok := errors.AsType[*echo.HTTPError](err)
	if !ok {
		return err
	}
	switch echoed.Code {
	case http.StatusNotFound:
		return errRouteNotFound
	case http.StatusMethodNotAllowed:
		return errMethodNotAllowed
	}
	return err
}

// log writes one line for what somebody must look at: at warn what passes by itself, at error what does not.
func (s *Server) log(c echo.Context, p problem, err error) {
	ctx, args := c.Request().Context(), []any{"code", p.code, "route", s.route(c), "request_id", requestID(c), "error", err}
	level := slog.LevelError
	switch {
	case p.code == codeOverloaded:
		s.shed(c, err)
		return
	case p.status < http.StatusInternalServerError:
		s.parts.Log.DebugContext(ctx, "refused", args...)
		return
	case p.retry > 0:
		level = slog.LevelWarn
	}
	skipped, ok := s.lines.causes.take(time.Now())
	if !ok {
		s.parts.Meter.Skipped()
		return
	}
	if skipped > 0 {
		args = append(args, "skipped", skipped)
	}
	s.parts.Log.Log(ctx, level, "failed", args...)
}

// Package proxy is the HTTP side of cstproxy: the data API that backends call, and the admin port that a kubelet and a
// scraper call. Handlers parse, call one method of [session.Broker], and answer; every error goes through the table in
// problem.go.
package proxy

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// maxBody is far above any body that the API takes.
const maxBody = 64 << 10

// Meter is what the data API reports to.
type Meter interface {
	// Began counts a request in; the function it returns counts it out, by closed sets of routes and methods.
	Began() (ended func(route, method string, status int))
	// Granted counts a token handed out with that much of its life left.
	Granted(grant session.Grant, left time.Duration)
	// Refused counts an error answer by its code.
	Refused(code string)
	// Shed counts a request turned away for want of room, by what it was for: one of [Sheds].
	Shed(work string)
}

// Parts is what a [Server] is made of. Every field is required but the last three.
type Parts struct {
	Callers  Callers
	Broker   *session.Broker
	Lifetime session.Lifetime
	Meter    Meter
	// Now is the Broker's clock.
	Now func() time.Time
	Log *slog.Logger
	// MaxInFlight is the most requests at once; 0 is no limit.
	MaxInFlight int
	// Audit has a line for every request; nil keeps none.
	Audit Auditor
	// Version is the build's, for the specification.
	Version string
}

// Server is the data API, an [http.Handler].
type Server struct {
	parts Parts
	echo  *echo.Echo
	// document is the specification, as it is served.
	document yaml
	// routes :: path as registered -> known
	routes map[string]bool

	inFlight atomic.Int64
	shedding seldom
	// mute: the last line of the audit could not be written.
	mute atomic.Bool
}

// New returns a Server made of parts.
func New(parts Parts) *Server {
	s := &Server{parts: parts, echo: echo.New(), document: specificationOf(parts.Version), routes: map[string]bool{}}
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(s.observe, recoverer(parts.Log), identify, neverStore, s.admit, s.audible, s.authenticate, limitBody)
	s.route()
	for _, r := range s.echo.Routes() {
		s.routes[r.Path] = true
	}
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

func (s *Server) route() {
	const v1, v3 = "/api/v1/custodians/clients", "/api/v3/custodians/me/clients"
	s.handle(session.RouteToken, "GET /v1/clients/:clientId/token", s.token)
	s.handle(session.RouteForget, "DELETE /v1/clients/:clientId/token", s.forget)
	s.handle(session.RouteActivity, "POST /v1/clients/:clientId/activity", s.activity)
	s.handle(session.RouteInspect, "GET /v1/clients/:clientId", s.inspect)
	s.handle(session.RouteRegister, "POST /v1/clients", s.registering(http.StatusCreated))
	// Portal's own paths, so that a backend adopts the proxy by its base URL alone.
	s.handle(session.RouteToken, "POST "+v1+"/:clientId/session", s.token)
	s.handle(session.RouteToken, "POST "+v3+"/:clientId/sessions", s.token)
	s.handle(session.RouteRegister, "POST "+v1, s.registering(http.StatusCreated))
	s.handle(session.RouteRegister, "POST "+v3, s.registering(http.StatusOK))
	// Whoever is a caller may know what there is to ask for.
	s.echo.GET(specificationPath, s.specification)
}

// handle is the one way to add a route that does something, so that none is without a name that a caller must be allowed.
func (s *Server) handle(route session.Route, pattern string, handler echo.HandlerFunc) {
	method, path, _ := strings.Cut(pattern, " ")
	s.echo.Add(method, path, handler, authorize(route))
}

// observe times every request. It answers errors itself, so that it sees their status.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		ended := s.parts.Meter.Began()
		defer func() { ended(s.label(c.Path()), c.Request().Method, c.Response().Status) }()
		if err := next(c); err != nil {
			c.Error(err)
		}
		return nil
	}
}

// label returns a route as a label: what a stranger asked for must not become one.
func (s *Server) label(route string) string {
	if s.routes[route] {
		return route
	}
	return "unmatched"
}

// recoverer turns a panic into an answer. What was panicked with is not logged, for it may hold anything; the runtime's
// own errors hold no data of ours.
func recoverer(log *slog.Logger) echo.MiddlewareFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableStackAll: true,
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			text := "not shown"
			if fault, ok := errors.AsType[runtime.Error](err); ok {
				text = fault.Error()
			}
			log.ErrorContext(c.Request().Context(), "panic in a handler", "cause", text, "stack", string(stack))
			return errInternal
		},
	})
}

// identify gives every request an id: the caller's own if it is fit to be logged, else a new one.
func identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !isRequestID(id) {
			id = rand.Text()
		}
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

func requestID(c echo.Context) string { return c.Response().Header().Get(echo.HeaderXRequestID) }

// isRequestID accepts what ids look like (UUIDs, ULIDs, trace ids) and nothing that could break a log or a page.
func isRequestID(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return id != "" && len(id) <= 128
}

// neverStore keeps every answer, errors too, out of caches on the way (RFC 9111 section 5.2.2.5).
func neverStore(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set("Cache-Control", "no-store")
		return next(c)
	}
}

func limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.ContentLength > maxBody {
			c.Response().Header().Set("Connection", "close") // or net/http would read the body before it answers
			return session.ErrBodyTooLarge
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, maxBody)
		return next(c)
	}
}

// Package proxy is the HTTP side of cstproxy: the data API that backends call, and the admin port that a kubelet and a
// scraper call. Handlers parse, call one method of [session.Broker], and answer; every error goes through the table in
// problem.go.
package proxy

import (
	"context"
	"errors"
	"io"
	"log" //nolint:depguard // httputil takes no other
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
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
	// Began counts a request in; the function it returns counts it out, by how it was answered: one of [Answers], or one
	// that nobody foresaw. trace is the id of the sampled trace that the request is part of, "" for none.
	Began() (ended func(route, method string, status int, trace string))
	// Handed takes how long an answer with a token took, by where the token came from; trace is as for Began.
	Handed(source session.Source, took time.Duration, trace string)
	// Granted counts a token handed out with that much of its life left.
	Granted(grant session.Grant, left time.Duration)
	// Hit counts in one what Began, Handed and Granted do for a GET of the route that was answered with a token from the cache,
	// in so little time that it never was in flight.
	Hit(route string, left, took time.Duration)
	// Refused counts an error answer by its code.
	Refused(code string)
	// Shed counts a request turned away for want of room, by what it was for: one of [Sheds].
	Shed(work string)
	// Skipped counts a line that was left out of the log.
	Skipped()
}

// Parts is what a [Server] is made of. Every field is required but the last five.
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
	// Passthrough passes requests on to Portal; nil passes none.
	Passthrough *Passthrough
	// Trace returns the id of the sampled trace that ctx is part of, "" for none; nil knows of none.
	Trace func(ctx context.Context) string
}

// Server is the data API, an [http.Handler].
type Server struct {
	parts Parts
	echo  *echo.Echo
	// chain is what every request goes through, to the handler of its route.
	chain echo.HandlerFunc
	// document is the specification, as it is served.
	document yaml
	// routes :: path as registered -> known, methods :: method and path -> known
	routes  map[string]bool
	methods map[place]bool
	lines   lines
	// texts are for documents that are written by hand, to be used again.
	texts sync.Pool
	// buffers and silent are for what is passed on: net/http's own words of it may hold a part of it.
	buffers buffers
	silent  *log.Logger

	inFlight atomic.Int64
	shedding seldom
	// mute: the last line of the audit could not be written.
	mute atomic.Bool
}

// New returns a Server made of parts.
func New(parts Parts) *Server {
	s := newServer(parts)
	s.document = specificationOf(parts.Version)
	s.addRoutes()
	return s
}

// newServer returns a Server without routes.
func newServer(parts Parts) *Server {
	if parts.Trace == nil {
		parts.Trace = func(context.Context) string { return "" }
	}
	s := &Server{parts: parts, echo: echo.New(), routes: map[string]bool{}, methods: map[place]bool{}, silent: log.New(io.Discard, "", 0)}
	s.echo.HTTPErrorHandler = s.fail
	s.chain = chained(routed, s.observe, recoverer(parts.Log), identify, neverStore, s.admit, s.audible, s.divert, s.authenticate, limitBody)
	enter := s.enter
	s.echo.Use(func(echo.HandlerFunc) echo.HandlerFunc { return enter })
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// observe times every request, and has a line of it logged. It answers errors itself, so that it sees their status.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began, ended := time.Now(), s.parts.Meter.Began()
		defer func() {
			at, trace := s.place(c), s.parts.Trace(c.Request().Context())
			route := s.route(c)
			c.Request().Pattern = route // for what wraps this handler
			ended(at.path, at.method, c.Response().Status, trace)
			now := time.Now()
			if source := callOf(c).source; source != "" {
				s.parts.Meter.Handed(source, now.Sub(began), trace)
			}
			s.say(c, line{route, began, now, trace})
		}()
		if err := next(c); err != nil {
			c.Error(err)
		}
		return nil
	}
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
		own := callOf(c)
		own.id = c.Request().Header.Get(echo.HeaderXRequestID)
		if !isRequestID(own.id) {
			own.id = newRequestID()
		}
		own.header(echo.HeaderXRequestID, valueRequestID, own.id)
		return next(own)
	}
}

func requestID(c echo.Context) string { return callOf(c).id }

func newRequestID() string {
	var id [26]byte
	return string(appendRequestID(id[:0]))
}

// appendRequestID appends 26 letters and digits that no other request has. It is no secret, so the generator is the fast one.
func appendRequestID(to []byte) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // of RFC 4648's base 32
	high, low := rand.Uint64(), rand.Uint64()          //nolint:gosec // not a secret
	for range 26 {
		to = append(to, letters[low&31])
		low = low>>5 | high<<59
		high >>= 5
	}
	return to
}

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
		c.Response().Header()["Cache-Control"] = neverStored
		return next(c)
	}
}

func limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.Body == http.NoBody {
			return next(c)
		}
		if r.ContentLength > maxBody {
			c.Response().Header().Set("Connection", "close") // or net/http would read the body before it answers
			return session.ErrBodyTooLarge
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, maxBody)
		return next(c)
	}
}

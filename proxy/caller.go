package proxy

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Callers knows who may ask.
type Callers interface {
	// Identify returns who sent the request. It must not read the body. [session.ErrCallerUnauthenticated]: nobody
	// known. [session.ErrCallerForbidden]: the request is one that nobody may send.
	Identify(r *http.Request) (session.Caller, error)
	// Admit counts a request against the caller's rate: [session.ErrCallerRateLimited] once it is spent.
	Admit(caller session.Caller) error
}

// challenge goes with every 401 (RFC 9110 section 11.6.1). It says nothing of why, which would help to guess.
const challenge = `Bearer realm="cstproxy"`

// authenticate lets a request pass that comes from a known caller within its rate, whatever it asks for: who is nobody
// learns not even which routes there are.
func (s *Server) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		caller, err := s.parts.Callers.Identify(c.Request())
		if err != nil {
			return err
		}
		callOf(c).caller = caller
		if err := s.parts.Callers.Admit(caller); err != nil {
			return err
		}
		return next(c)
	}
}

// authorize lets a request pass whose caller may use the route, and may ask about the client that the path names.
func authorize(route session.Route) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			caller := callerOf(c)
			if !caller.MayUse(route) {
				return fmt.Errorf("%w: it is not allowed the route %q", session.ErrCallerForbidden, route)
			}
			if route == session.RouteRegister {
				return next(c) // there is no client yet
			}
			client, err := session.ParseClientID(c.Param("clientId"))
			if err != nil {
				return err
			}
			if !caller.MayServe(client) {
				return fmt.Errorf("%w: it is not allowed this client", session.ErrCallerForbidden)
			}
			return next(c)
		}
	}
}

// callerOf returns who sent the request; the zero Caller, who may nothing, until that is known.
func callerOf(c echo.Context) session.Caller {
	return callOf(c).caller
}

// callerName returns who sent the request, for logs; "" until that is known.
func callerName(c echo.Context) string { return callerOf(c).Name }

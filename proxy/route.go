package proxy

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Where Portal has its own paths, so that a backend adopts the proxy by its base URL alone.
const (
	portalV1 = "/api/v1/custodians/clients"
	portalV3 = "/api/v3/custodians/me/clients"
)

// endpoint is one place of the data API: what a caller must be allowed there, where it is, and the status of success.
type endpoint struct {
	route   session.Route
	at      place
	success int
	handler func(*Server, echo.Context) error
}

// place is a method and a path, as registered.
type place struct{ method, path string }

// Where there is no place: what a stranger asked for must not become a label.
const (
	unmatched   = "unmatched"
	otherMethod = "other"
	// noRoute is what nobody needs to be allowed there.
	noRoute session.Route = ""
)

// anyRoute is what a caller must be allowed where any caller may ask, whatever it is for.
const anyRoute session.Route = "any"

// endpoints is every place of the data API.
var endpoints = []endpoint{
	{session.RouteToken, place{http.MethodGet, "/v1/clients/:clientId/token"}, http.StatusOK, (*Server).token},
	{session.RouteForget, place{http.MethodDelete, "/v1/clients/:clientId/token"}, http.StatusNoContent, (*Server).forget},
	{session.RouteActivity, place{http.MethodPost, "/v1/clients/:clientId/activity"}, http.StatusNoContent, (*Server).activity},
	{session.RouteInspect, place{http.MethodGet, "/v1/clients/:clientId"}, http.StatusOK, (*Server).inspect},
	{session.RouteRegister, place{http.MethodPost, "/v1/clients"}, http.StatusCreated, registering(http.StatusCreated)},
	{session.RouteToken, place{http.MethodPost, portalV1 + "/:clientId/session"}, http.StatusOK, (*Server).token},
	{session.RouteToken, place{http.MethodPost, portalV3 + "/:clientId/sessions"}, http.StatusOK, (*Server).token},
	{session.RouteRegister, place{http.MethodPost, portalV1}, http.StatusCreated, registering(http.StatusCreated)},
	{session.RouteRegister, place{http.MethodPost, portalV3}, http.StatusOK, registering(http.StatusOK)},
	{anyRoute, place{http.MethodGet, specificationPath}, http.StatusOK, (*Server).specification},
}

func (s *Server) addRoutes() {
	for _, e := range endpoints {
		s.handle(e)
	}
}

// handle is the one way to add a route, so that none is without a name that a caller must be allowed, or that says anyRoute.
func (s *Server) handle(e endpoint) {
	s.routes[e.at.path], s.methods[e.at] = true, true
	handler := func(c echo.Context) error { return e.handler(s, c) }
	if e.route != anyRoute {
		handler = authorize(e.route)(handler)
	}
	s.echo.Add(e.at.method, e.at.path, handler)
}

// route returns where a request came in, as a label.
func (s *Server) route(c echo.Context) string {
	if p := passed(c); p != nil {
		return routeOf(p.family)
	}
	if path := c.Path(); s.routes[path] {
		return path
	}
	return unmatched
}

// place returns where a request came in.
func (s *Server) place(c echo.Context) place {
	at := place{c.Request().Method, c.Path()}
	if passed(c) != nil {
		return place{} // which is counted by itself
	}
	if s.methods[at] {
		return at
	}
	return place{otherMethod, unmatched}
}

// Answer is how a request may be answered: on which route, to which method, with which status.
type Answer struct {
	Route, Method string
	Status        int
}

// Answers lists every Answer, for those who count by it.
func Answers() []Answer {
	answers := answersAt(endpoint{noRoute, place{otherMethod, unmatched}, http.StatusNoContent, nil}) // OPTIONS, by Echo
	for _, e := range endpoints {
		answers = append(answers, answersAt(e)...)
	}
	return answers
}

func answersAt(e endpoint) []Answer {
	statuses := []int{e.success, statusClientGone}
	for _, p := range problems {
		if p.only == nil || slices.Contains(p.only, e.route) {
			statuses = append(statuses, p.status)
		}
	}
	slices.Sort(statuses)
	var answers []Answer
	for _, status := range slices.Compact(statuses) {
		answers = append(answers, Answer{e.at.path, e.at.method, status})
	}
	return answers
}

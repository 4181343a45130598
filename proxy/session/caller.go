package session

import (
	"slices"
	"strings"
)

// Route is one thing that a caller asks the proxy for, by whichever path.
type Route string

// The routes.
const (
	RouteToken    Route = "token"
	RouteForget   Route = "forget"
	RouteActivity Route = "activity"
	RouteInspect  Route = "inspect"
	RouteRegister Route = "register"

	// The families of Portal's routes that may be passed through.
	RouteClient    Route = "client"
	RouteEnclave   Route = "enclave"
	RouteCustodian Route = "custodian"
)

// Everything allows, in the place of a route, every route, and in the place of a beginning, every client.
const Everything = "*"

// Families lists the routes that are families of Portal's.
func Families() []Route { return []Route{RouteClient, RouteEnclave, RouteCustodian} }

// Routes lists every route.
func Routes() []Route {
	return append([]Route{RouteToken, RouteForget, RouteActivity, RouteInspect, RouteRegister}, Families()...)
}

// Caller is who asks, and what they may. The zero Caller may nothing.
type Caller struct {
	// Name is fit to be logged.
	Name string
	// Routes are the routes that they may use, or [Everything].
	Routes []Route
	// Clients are the beginnings of the ids of the clients that they may ask about, or [Everything].
	Clients []string
}

// MayUse reports whether the caller may use the route at all.
func (c Caller) MayUse(route Route) bool {
	return slices.Contains(c.Routes, route) || slices.Contains(c.Routes, Everything)
}

// MayServe reports whether the caller may ask about the client. Beginnings are compared byte by byte.
func (c Caller) MayServe(client ClientID) bool {
	return slices.ContainsFunc(c.Clients, func(beginning string) bool {
		return beginning == Everything || beginning != "" && strings.HasPrefix(string(client), beginning)
	})
}

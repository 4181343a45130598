package proxy

import (
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// call is a request on its way through the handlers: Echo's context, and what one of them found out for those after it. It
// is one piece of memory for all that a request needs, headers included.
type call struct {
	echo.Context
	server *Server
	// id is the request's, caller who sent it.
	id     string
	caller session.Caller
	// passing is what is passed on of it; nil if nothing is.
	passing *passing
	// rejected names a token that the caller saw Portal refuse, source is where the token came from that was handed out,
	// problem the code of the problem that it was answered with.
	rejected session.TokenID
	source   session.Source
	problem  string
	// values are the texts of headers that are set by [call.header]. net/http reads them after the handler returned, so they
	// are never used again.
	values [2]string
}

// The headers that [call.header] sets.
const (
	valueRequestID = iota
	valueCacheStatus
)

// enter is where all requests come in.
func (s *Server) enter(c echo.Context) error { return s.chain(&call{Context: c, server: s}) }

// routed is the end of the chain: the handler that Echo's router found.
func routed(c echo.Context) error { return c.Handler()(c) }

// chained returns the handlers around last, the first outermost. Echo would do so again for each request.
func chained(last echo.HandlerFunc, around ...echo.MiddlewareFunc) echo.HandlerFunc {
	for _, middleware := range slices.Backward(around) {
		last = middleware(last)
	}
	return last
}

// callOf returns the call that c is.
func callOf(c echo.Context) *call {
	if own, ok := c.(*call); ok {
		return own
	}
	return &call{Context: c} // Echo's own, of which nothing is known yet
}

// Error answers with err. Echo's own knows of no call.
func (c *call) Error(err error) { c.server.fail(err, c) }

// header sets a header of the answer, by its canonical name, without memory of its own for it.
func (c *call) header(name string, value int, text string) {
	c.values[value] = text
	c.Response().Header()[name] = c.values[value : value+1 : value+1]
}

// Headers that are the same in many answers. They are never changed in place: net/http and Echo replace what they set.
var (
	neverStored = []string{"no-store"}
	jsonType    = []string{echo.MIMEApplicationJSON}
)

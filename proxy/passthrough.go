package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

const (
	// headerClient names the client whose token is to go with a request.
	headerClient        = "X-Portal-Client-Id"
	headerAuthorization = "Authorization"

	// maxPassed is far above the largest body that Portal's documentation speaks of, a backup's.
	maxPassed = 16 << 20
)

// What only pass-through can find wrong.
var (
	// errUpgrade: Portal Connect speaks WebSocket, which is not passed on.
	errUpgrade = errors.New("the connection can't be upgraded to another protocol here")
	// errStranger is [session.ErrCallerUnauthenticated] where a 401 would be taken for the end of a session.
	errStranger = errors.New("the caller is not authenticated")
)

// Passthrough is what it takes to pass requests on to Portal. Every field is required.
type Passthrough struct {
	// Families are those that are passed on.
	Families []session.Route
	// APIURL and MPCURL are where Portal's API and its MPC service are.
	APIURL, MPCURL *url.URL
	// Key returns the Portal API Key of the moment.
	Key func() session.Secret
	// Budget is what calls with that key leave within.
	Budget session.Budget
	// Transport sends a request, and never a second time one that may have come.
	Transport http.RoundTripper
	// Repeats are the families of which a request that Portal answered by a 401 is sent once more.
	Repeats []session.Route
	// Timeout bounds a whole exchange.
	Timeout time.Duration
	// Done is told of each.
	Done func(Passed)
}

// passing is one request on its way.
type passing struct {
	server *Server
	family session.Route
	mode   Mode
	// client is whose request it is, "" where none is named.
	client session.ClientID
	// token goes with the request; it is replaced by the one that a repetition goes with.
	token    session.Token
	repeated bool
	// whole: the body is at hand, so that it can be sent once more.
	whole bool
	c     echo.Context
	err   error
}

// divert passes on what is for one of Portal's families, unless it is for a route of our own.
func (s *Server) divert(next echo.HandlerFunc) echo.HandlerFunc {
	through := s.parts.Passthrough
	if through == nil {
		return next
	}
	return func(c echo.Context) error {
		r := c.Request()
		family := familyOf(r.RequestURI)
		if family == "" || !slices.Contains(through.Families, family) || s.methods[place{r.Method, c.Path()}] {
			return next(c)
		}
		p := &passing{server: s, family: family, c: c}
		callOf(c).passing = p
		return p.account(time.Now())
	}
}

// account passes the request on, and tells what became of it.
func (p *passing) account(began time.Time) error {
	err := errBroken // unless pass says otherwise: an answer that breaks off is a panic
	defer func() {
		p.server.parts.Passthrough.Done(Passed{
			Pass: Pass{p.family, cmp.Or(p.mode, ModeNone), p.outcome(err)}, Took: time.Since(began), Repeated: p.repeated,
			Trace: p.server.parts.Trace(p.c.Request().Context()),
		})
	}()
	err = p.pass()
	return err
}

// errBroken: an answer broke off after it had begun.
var errBroken = errors.New("the answer broke off")

// passed returns what is passed on of the request; nil if nothing is.
func passed(c echo.Context) *passing {
	return callOf(c).passing
}

// pass checks the request, finds its credential, and has it forwarded.
func (p *passing) pass() error {
	r := p.c.Request()
	if err := p.room(); err != nil {
		return err
	}
	for _, err := range []error{checkTarget(r.RequestURI), checkMethod(p.family, r.Method), checkHeader(r.Header)} {
		if err != nil {
			return err
		}
	}
	if r.ContentLength > maxPassed {
		p.c.Response().Header().Set("Connection", "close") // or net/http would read the body before it answers
		return session.ErrBodyTooLarge
	}
	if err := p.authorize(); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(p.c.Response(), r.Body, maxPassed)
	return p.forward()
}

// room lets requests of one's own come before what is passed on: that has no more than half of the places.
func (p *passing) room() error {
	if most := p.server.parts.MaxInFlight; most > 0 && p.server.inFlight.Load() > int64(max(most/2, 1)) {
		return &session.OverloadError{Work: WorkPass}
	}
	return nil
}

// WorkPass is what a request to be passed on is counted as that is turned away.
const WorkPass session.Work = "passthrough"

// authorize finds out whose request it is, and by which credential it goes on.
func (p *passing) authorize() error {
	header := p.c.Request().Header
	switch {
	case p.family == session.RouteCustodian:
		p.mode = ModeKey
		return p.authorizeKey()
	case header[headerClient] != nil:
		p.mode = ModeInject
		return p.authorizeCaller()
	}
	p.mode = ModeObserve
	return p.recognize()
}

// authorizeKey wants a caller who may have the call made.
func (p *passing) authorizeKey() error {
	r := p.c.Request()
	path, _, _ := strings.Cut(r.RequestURI, "?")
	client, err := custodianClient(r.Method, path)
	if err != nil {
		return err
	}
	p.client = client
	who, err := p.identify()
	if err != nil {
		return err
	}
	if client == "" && !slices.Contains(who.Clients, session.Everything) || client != "" && !who.MayServe(client) {
		return fmt.Errorf("%w: it is not allowed all clients that this call is about", session.ErrCallerForbidden)
	}
	return nil
}

// authorizeCaller wants a caller who may ask for the client, and gets the client's token.
func (p *passing) authorizeCaller() error {
	who, err := p.identify()
	if err != nil {
		return err
	}
	client, err := session.ParseClientID(p.c.Request().Header.Get(headerClient))
	if err != nil {
		return err
	}
	if !who.MayServe(client) {
		return fmt.Errorf("%w: it is not allowed this client", session.ErrCallerForbidden)
	}
	p.client = client
	grant, err := p.server.parts.Broker.Grant(p.server.asked(p.c), session.Ask{Client: client})
	p.token = grant.Token
	return err
}

// identify returns who sent the request, if they may use the family.
func (p *passing) identify() (session.Caller, error) {
	callers := p.server.parts.Callers
	who, err := callers.Identify(p.c.Request())
	if errors.Is(err, session.ErrCallerUnauthenticated) {
		return session.Caller{}, errStranger
	}
	if err != nil {
		return session.Caller{}, err
	}
	callOf(p.c).caller = who
	if err := callers.Admit(who); err != nil {
		return session.Caller{}, err
	}
	if !who.MayUse(p.family) {
		return session.Caller{}, fmt.Errorf("%w: it is not allowed the route %q", session.ErrCallerForbidden, p.family)
	}
	return who, nil
}

// recognize wants a request that comes with a token which is kept here: who has that needs no other credential.
func (p *passing) recognize() error {
	text, ok := strings.CutPrefix(p.c.Request().Header.Get(headerAuthorization), "Bearer ")
	if !ok || text == "" {
		return fmt.Errorf("%w: the request has neither %s nor a Client Session Token", session.ErrTokenUnknown, headerClient)
	}
	token, err := p.server.parts.Broker.Find(p.c.Request().Context(), session.NewSecret(text))
	p.token, p.client = token, token.Client
	return err
}

// routeOf names a family in logs, where a route's path stands for others.
func routeOf(family session.Route) string { return "passthrough " + string(family) }

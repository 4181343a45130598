package proxy

import (
	"context"
	"errors"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Event is what a line of the audit is about.
type Event string

// The events. Each request is one of the first seven; the others tell what Portal did, for whichever callers waited.
const (
	EventGranted    Event = "granted"    // a token was handed out
	EventRefused    Event = "refused"    // the request was, for whatever reason
	EventForgotten  Event = "forgotten"  // a client's token was dropped
	EventNoted      Event = "noted"      // activity was reported
	EventInspected  Event = "inspected"  // what is known of a token was told
	EventDescribed  Event = "described"  // the specification was handed out
	EventPassed     Event = "passed"     // it was passed on to Portal, which answered
	EventMinted     Event = "minted"     // Portal made a token for a client it knew
	EventRegistered Event = "registered" // Portal made a client, and a token for it
	EventRejected   Event = "rejected"   // Portal refused a token
)

// Entry is one line of the audit. It names tokens, and never holds one. What is not known is empty.
type Entry struct {
	Event  Event
	Caller string
	Client session.ClientID
	// TokenID names the token that the event is about, Rejected one that the caller saw Portal refuse.
	TokenID, Rejected session.TokenID
	// Decision is the source of a token handed out, or the code of a refusal.
	Decision  string
	Reason    session.Reason
	Method    string
	Route     string
	Status    int
	RequestID string
}

// Auditor writes the audit.
type Auditor interface {
	// Record writes a line. It comes before the answer that the line is about; an error forbids that answer.
	Record(ctx context.Context, entry Entry) error
}

// errAuditUnavailable: there can be no line, so there is no answer.
var errAuditUnavailable = errors.New("the audit can't be written")

// outcome is what a request came to. A nil body is no content.
type outcome struct {
	event    Event
	status   int
	body     any
	client   session.ClientID
	token    session.TokenID
	decision string
	reason   session.Reason
}

// reply answers with the outcome, once its line is written. All answers but errors leave here.
func (s *Server) reply(c echo.Context, o outcome) error {
	if err := s.record(c, o); err != nil {
		return err
	}
	return send(c, o)
}

func send(c echo.Context, o outcome) error {
	switch body := o.body.(type) {
	case nil:
		return c.NoContent(o.status)
	case yaml:
		return c.Blob(o.status, "application/yaml", body)
	default:
		return c.JSON(o.status, body)
	}
}

// record writes the line of a request. Each has one: whoever answers records first, and answers once.
func (s *Server) record(c echo.Context, o outcome) error {
	if s.parts.Audit == nil {
		return nil
	}
	err := s.parts.Audit.Record(c.Request().Context(), Entry{
		Event: o.event, Caller: callerName(c), Client: o.client, TokenID: o.token, Rejected: callOf(c).rejected,
		Decision: o.decision, Reason: o.reason,
		Method: c.Request().Method, Route: s.route(c), Status: o.status, RequestID: requestID(c),
	})
	s.mute.Store(err != nil)
	if err != nil {
		return errAuditUnavailable
	}
	return nil
}

// recordRefusal writes the line of a request that ends with an error. That holds no token, so it is given whether or not
// there is a line.
func (s *Server) recordRefusal(c echo.Context, status int, code string) {
	client, _ := session.ParseClientID(c.Param("clientId")) // what is none may be anything, and is left out
	if p := passed(c); p != nil {
		client = p.client
	}
	_ = s.record(c, outcome{event: EventRefused, status: status, client: client, decision: code})
}

// audible lets nothing be done whose line could not be written: after one that failed, requests are refused until the
// line of such a refusal was written.
func (s *Server) audible(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.mute.Load() {
			return errAuditUnavailable
		}
		return next(c)
	}
}

type asking struct{}

// asker is who began what callers share.
type asker struct{ caller, requestID string }

// asked returns the request's context, which knows who asks.
func (s *Server) asked(c echo.Context) context.Context { return s.askedIn(c.Request().Context(), c) }

// askedIn returns ctx, of what the request began, which knows who asks.
func (s *Server) askedIn(ctx context.Context, c echo.Context) context.Context {
	if s.parts.Audit == nil {
		return ctx
	}
	return context.WithValue(ctx, asking{}, asker{callerName(c), requestID(c)})
}

// AskedBy returns the caller and the id of the request for which Portal is asked; empty if no audit is kept.
func AskedBy(ctx context.Context) (caller, request string) {
	by, _ := ctx.Value(asking{}).(asker)
	return by.caller, by.requestID
}

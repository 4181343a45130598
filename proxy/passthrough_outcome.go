package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Mode says whose credential goes with a request that is passed on.
type Mode string

// The modes.
const (
	ModeInject  Mode = "inject"  // the token of the client that a caller names
	ModeObserve Mode = "observe" // the token that it came with
	ModeKey     Mode = "key"     // the Portal API Key
	ModeNone    Mode = "none"    // nobody's: it was refused before that was found out
)

// Pass is what requests are told apart by that are passed on, or were to be.
type Pass struct {
	Family  session.Route
	Mode    Mode
	Outcome Outcome
}

// Passes lists every Pass, for those who count by it.
func Passes() (all []Pass) {
	for _, family := range session.Families() {
		for _, outcome := range Outcomes() {
			all = append(all, passesTo(family, outcome)...)
		}
	}
	return all
}

func passesTo(family session.Route, outcome Outcome) []Pass {
	if family == session.RouteCustodian {
		return []Pass{{family, ModeKey, outcome}, {family, ModeNone, outcome}}
	}
	return []Pass{{family, ModeInject, outcome}, {family, ModeObserve, outcome}, {family, ModeNone, outcome}}
}

// Passed is a request that was passed on, or was to be.
type Passed struct {
	Pass
	Took time.Duration
	// Repeated: it was sent once more, with another token.
	Repeated bool
	// Trace is the id of the sampled trace that it is part of, "" for none.
	Trace string
}

// onceError is an error of a request that may have been carried out, and must not be repeated unseen.
type onceError struct{ error }

// Unwrap returns the error.
func (e *onceError) Unwrap() error { return e.error }

// once marks err, unless to carry the request out twice is as good as once (RFC 9110 section 9.2.2: of what Portal takes, to
// read).
func (p *passing) once(err error) error {
	if method := p.c.Request().Method; method == http.MethodGet || method == http.MethodHead {
		return err
	}
	return &onceError{err}
}

// gentle has a stranger who asks for no route of ours told so by a 403, where requests are passed on: who sends them takes a 401
// for the end of a session.
func (s *Server) gentle(c echo.Context, err error) error {
	if s.parts.Passthrough != nil && errors.Is(err, session.ErrCallerUnauthenticated) && !s.methods[place{c.Request().Method, c.Path()}] {
		return errStranger
	}
	return err
}

// Outcome is what became of a request to be passed on.
type Outcome string

// The outcomes. The first three are Portal's own answers.
const (
	OutcomeOK            Outcome = "ok"                 // below 400
	OutcomeClientError   Outcome = "client_error"       // 4xx
	OutcomeServerError   Outcome = "server_error"       // 5xx
	OutcomeTokenRejected Outcome = "token_rejected"     // a 401, which could not be made good
	OutcomeRefused       Outcome = "refused"            // by this proxy: the request may not be passed on
	OutcomeUnavailable   Outcome = "portal_unavailable" // there was no answer, or none in time, or it broke off
	OutcomeFailed        Outcome = "failed"             // by this proxy, for another reason
	OutcomeGone          Outcome = "gone"               // the caller left
)

// Outcomes lists every Outcome.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeOK, OutcomeClientError, OutcomeServerError, OutcomeTokenRejected, OutcomeRefused, OutcomeUnavailable, OutcomeFailed, OutcomeGone,
	}
}

func (p *passing) outcome(err error) Outcome {
	switch {
	case err == nil:
		return outcomeOf(p.c.Response().Status)
	case errors.Is(err, errBroken):
		return p.broke()
	case errors.Is(err, context.Canceled):
		return OutcomeGone
	case errors.Is(err, session.ErrTokenRejected):
		return OutcomeTokenRejected
	case errors.Is(err, session.ErrPortalUnavailable), errors.Is(err, session.ErrPortalTimeout):
		return OutcomeUnavailable
	case explain(domestic(err)).status < http.StatusInternalServerError, errors.Is(err, errUpgrade):
		return OutcomeRefused
	}
	return OutcomeFailed
}

// broke returns whose doing it is that an answer broke off.
func (p *passing) broke() Outcome {
	switch {
	case p.c.Request().Context().Err() != nil:
		return OutcomeGone
	case p.c.Response().Committed:
		return OutcomeUnavailable
	}
	return OutcomeFailed
}

func outcomeOf(status int) Outcome {
	switch {
	case status >= http.StatusInternalServerError:
		return OutcomeServerError
	case status >= http.StatusBadRequest:
		return OutcomeClientError
	}
	return OutcomeOK
}

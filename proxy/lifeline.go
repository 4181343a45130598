package proxy

import (
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// lifelinePath takes the client id in its body, never in a URL: those end up in histories and logs.
const lifelinePath = "/lifeline"

// maxLifelineBody is far above the longest client id.
const maxLifelineBody = 1 << 10

// NewLifeline returns what the status page asks for the life of a client's token. It goes the data API's way: who asks,
// the audit and the table of problems are the same. What it answers is not counted, for it hands nothing out.
func NewLifeline(parts Parts) http.Handler {
	parts.Meter = uncounted{}
	s := newServer(parts)
	s.routes[lifelinePath], s.methods[place{http.MethodPost, lifelinePath}] = true, true
	s.echo.POST(lifelinePath, s.lifeline)
	return s
}

// uncounted is a [Meter] that counts nothing.
type uncounted struct{}

func (uncounted) Began() func(route, method string, status int, trace string) {
	return func(string, string, int, string) {}
}
func (uncounted) Handed(session.Source, time.Duration, string) {}
func (uncounted) Granted(session.Grant, time.Duration)         {}
func (uncounted) Hit(string, time.Duration, time.Duration)     {}
func (uncounted) Refused(string)                               {}
func (uncounted) Shed(string)                                  {}
func (uncounted) Skipped()                                     {}

// lifelineDocument is what is known about a client's token, and nothing by which it or the client could be told. Dates are
// those of the record, if there is one.
type lifelineDocument struct {
	// State is live; ended, if there is a record that is not served any more; or absent.
	State            string     `json:"state"`
	MintedAt         *time.Time `json:"mintedAt,omitempty"`
	ActiveAt         *time.Time `json:"activeAt,omitempty"`
	IdleDeadline     *time.Time `json:"idleDeadline,omitempty"`
	RefreshableUntil *time.Time `json:"refreshableUntil,omitempty"`
	ExpiresAt        *time.Time `json:"expiresAt,omitempty"`
	// SafetyMargin is in seconds, which end a life before its expiry.
	SafetyMargin float64      `json:"safetyMargin"`
	Now          time.Time    `json:"now"`
	Next         nextDocument `json:"next"`
}

func (s *Server) lifelineDocument(status session.Status) lifelineDocument {
	token, life := status.Token, s.parts.Lifetime
	document := lifelineDocument{
		State: "absent", SafetyMargin: life.SafetyMargin.Seconds(), Now: status.At, Next: next(status.Next),
	}
	if token.IsZero() {
		return document
	}
	idle, refreshable, expires := token.ActiveAt.Add(life.IdleTTL), life.RefreshableUntil(token), life.ExpiresAt(token)
	document.MintedAt, document.ActiveAt = &token.MintedAt, &token.ActiveAt
	document.IdleDeadline, document.RefreshableUntil, document.ExpiresAt = &idle, &refreshable, &expires
	document.State = "ended"
	if status.Live {
		document.State = "live"
	}
	return document
}

// lifeline answers with the life of a client's token. To look changes nothing: it extends no token and asks Portal nothing.
func (s *Server) lifeline(c echo.Context) error {
	client, err := askedLifeline(c)
	if err != nil {
		return err
	}
	if who := callerOf(c); !who.MayUse(session.RouteInspect) || !who.MayServe(client) {
		return session.ErrCallerForbidden
	}
	status, err := s.parts.Broker.Inspect(c.Request().Context(), client)
	if err != nil {
		return err
	}
	return s.reply(c, outcome{
		event: EventInspected, status: http.StatusOK, body: s.lifelineDocument(status), client: client, token: status.Token.ID,
	})
}

func askedLifeline(c echo.Context) (session.ClientID, error) {
	if kind, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType)); err != nil || kind != echo.MIMEApplicationJSON {
		return "", fmt.Errorf("%w: the Content-Type must be %s", session.ErrInvalidRequest, echo.MIMEApplicationJSON)
	}
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, maxLifelineBody)
	var body struct {
		ClientID string `json:"clientId"`
	}
	if err := readJSON(c, &body); err != nil {
		return "", err
	}
	return session.ParseClientID(body.ClientID)
}

package proxy

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// tokenDocument is what every route that returns a token answers with. Fields are Portal's where Portal has them.
type tokenDocument struct {
	ID                  session.ClientID `json:"id"`
	ClientSessionToken  string           `json:"clientSessionToken"`
	IsAccountAbstracted bool             `json:"isAccountAbstracted"`
	ExpiresAt           time.Time        `json:"expiresAt"`
	ExpiresIn           int64            `json:"expiresIn"`
	RefreshableUntil    time.Time        `json:"refreshableUntil"`
	MintedAt            time.Time        `json:"mintedAt"`
	ActiveAt            time.Time        `json:"activeAt"`
	TokenID             session.TokenID  `json:"tokenId"`
	Source              session.Source   `json:"source"`
}

// appendTo appends what encoding/json makes of the document, which takes it most of the time that a hit takes otherwise.
func (d tokenDocument) appendTo(to []byte) []byte {
	to = appendText(append(to, `{"id":`...), string(d.ID))
	to = appendText(append(to, `,"clientSessionToken":`...), d.ClientSessionToken)
	to = strconv.AppendBool(append(to, `,"isAccountAbstracted":`...), d.IsAccountAbstracted)
	to = appendDate(append(to, `,"expiresAt":`...), d.ExpiresAt)
	to = strconv.AppendInt(append(to, `,"expiresIn":`...), d.ExpiresIn, 10)
	to = appendDate(append(to, `,"refreshableUntil":`...), d.RefreshableUntil)
	to = appendDate(append(to, `,"mintedAt":`...), d.MintedAt)
	to = appendDate(append(to, `,"activeAt":`...), d.ActiveAt)
	to = append(hex.AppendEncode(append(to, `,"tokenId":"`...), d.TokenID[:]), '"')
	return append(appendText(append(to, `,"source":`...), string(d.Source)), '}')
}

// appendText quotes text. Only one that needs no escapes is copied as it is.
func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(text) // a string never fails
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

// appendDate quotes a date as encoding/json does. Those of tokens are UTC, of these centuries, and whole milliseconds.
func appendDate(to []byte, date time.Time) []byte {
	year, month, day := date.Date()
	ms := date.Nanosecond() / int(time.Millisecond)
	if date.Location() != time.UTC || year < 1000 || year > 9999 || ms*int(time.Millisecond) != date.Nanosecond() {
		return append(date.AppendFormat(append(to, '"'), time.RFC3339Nano), '"')
	}
	hour, minute, second := date.Clock()
	to = appendTwo(append(to, '"'), year/100)
	to = appendTwo(to, year%100)
	to = appendTwo(append(to, '-'), int(month))
	to = appendTwo(append(to, '-'), day)
	to = appendTwo(append(to, 'T'), hour)
	to = appendTwo(append(to, ':'), minute)
	to = appendTwo(append(to, ':'), second)
	if ms > 0 {
		to = appendTwo(append(to, '.'), ms/10)
		to = bytes.TrimRight(append(to, byte('0'+ms%10)), "0")
	}
	return append(to, `Z"`...)
}

func appendTwo(to []byte, n int) []byte {
	return append(to, byte('0'+n/10), byte('0'+n%10)) //nolint:gosec // less than 100
}

func (s *Server) tokenDocument(grant session.Grant, now time.Time) tokenDocument {
	token, life := grant.Token, s.parts.Lifetime
	return tokenDocument{
		ID:                  token.Client,
		ClientSessionToken:  token.Secret.Reveal(),
		IsAccountAbstracted: token.AccountAbstracted,
		ExpiresAt:           life.ExpiresAt(token),
		ExpiresIn:           secondsLeft(life.ExpiresAt(token), now),
		RefreshableUntil:    life.RefreshableUntil(token),
		MintedAt:            token.MintedAt,
		ActiveAt:            token.ActiveAt,
		TokenID:             token.ID,
		Source:              grant.Source,
	}
}

// statusDocument is what is known about a client's token. The dates are those of the record, if there is one.
type statusDocument struct {
	ID               session.ClientID `json:"id"`
	State            string           `json:"state"`
	TokenID          string           `json:"tokenId,omitempty"`
	MintedAt         *time.Time       `json:"mintedAt,omitempty"`
	ActiveAt         *time.Time       `json:"activeAt,omitempty"`
	ExpiresAt        *time.Time       `json:"expiresAt,omitempty"`
	ExpiresIn        int64            `json:"expiresIn"`
	RefreshableUntil *time.Time       `json:"refreshableUntil,omitempty"`
	Next             nextDocument     `json:"next"`
}

// nextDocument says what a fetch would do now, and why.
type nextDocument struct {
	Action string `json:"action"`
	Reason string `json:"reason"`
}

func (s *Server) statusDocument(client session.ClientID, status session.Status) statusDocument {
	document := statusDocument{ID: client, State: "absent", Next: next(status.Next)}
	token, life := status.Token, s.parts.Lifetime
	if !status.Live {
		return document
	}
	expires, refreshable := life.ExpiresAt(token), life.RefreshableUntil(token)
	document.State = "live"
	document.TokenID = token.ID.String()
	document.MintedAt, document.ActiveAt = &token.MintedAt, &token.ActiveAt
	document.ExpiresAt, document.RefreshableUntil = &expires, &refreshable
	document.ExpiresIn = secondsLeft(expires, status.At)
	return document
}

func next(decision session.Decision) nextDocument {
	reason := map[session.Action]string{
		session.Mint:           string(decision.Reason),
		session.Refresh:        "short",
		session.ServeAndExtend: "due",
		session.Slide:          "due",
		session.Serve:          "live",
	}[decision.Action]
	if decision.Action != session.Mint && decision.Reason != "" {
		reason = string(decision.Reason) // what it has minted besides
	}
	return nextDocument{Action: decision.Action.String(), Reason: reason}
}

// secondsLeft rounds down, and never below 0.
func secondsLeft(until, now time.Time) int64 { return max(int64(until.Sub(now)/time.Second), 0) }

// readJSON reads a body that may be missing: one JSON object, and no field that the API does not know.
func readJSON(c echo.Context, into any) error {
	decoder := json.NewDecoder(c.Request().Body)
	decoder.DisallowUnknownFields()
	switch err := decoder.Decode(into); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return badBody(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badBody(err)
	}
	return nil
}

// badBody keeps a body that is too large apart. The decoder's text is about the caller's own body.
func badBody(err error) error {
	if tooLarge := domestic(err); errors.Is(tooLarge, session.ErrBodyTooLarge) {
		return tooLarge
	}
	return fmt.Errorf("%w: the body is not the JSON object that was expected", session.ErrInvalidRequest)
}

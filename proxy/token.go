package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// token answers with the client's live token.
func (s *Server) token(c echo.Context) error {
	ask, err := parseAsk(c.Param("clientId"), c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	callOf(c).rejected = ask.Need.Rejected
	grant, err := s.parts.Broker.Grant(s.asked(c), ask)
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, grant)
}

// forget drops the client's token (logout), with If-Match only a token named there.
func (s *Server) forget(c echo.Context) error {
	client, err := session.ParseClientID(c.Param("clientId"))
	if err != nil {
		return err
	}
	ids, err := parseIfMatch(c.Request().Header.Values("If-Match"))
	if err != nil {
		return err
	}
	if err := s.parts.Broker.Forget(c.Request().Context(), client, ids...); err != nil {
		return err
	}
	o := outcome{event: EventForgotten, status: http.StatusNoContent, client: client}
	if len(ids) == 1 {
		o.token = ids[0]
	}
	return s.reply(c, o)
}

// activity records that the backend saw the client use its token.
func (s *Server) activity(c echo.Context) error {
	client, err := session.ParseClientID(c.Param("clientId"))
	if err != nil {
		return err
	}
	var body struct {
		TokenID *string `json:"tokenId"`
	}
	if err := readJSON(c, &body); err != nil {
		return err
	}
	var id session.TokenID
	if body.TokenID != nil {
		if id, err = session.ParseTokenID(*body.TokenID); err != nil {
			return err
		}
	}
	if err := s.parts.Broker.NoteActivity(c.Request().Context(), client, id); err != nil {
		return err
	}
	return s.reply(c, outcome{event: EventNoted, status: http.StatusNoContent, client: client, token: id})
}

// inspect answers with what is known about the client's token, without the token.
func (s *Server) inspect(c echo.Context) error {
	client, err := session.ParseClientID(c.Param("clientId"))
	if err != nil {
		return err
	}
	status, err := s.parts.Broker.Inspect(c.Request().Context(), client)
	if err != nil {
		return err
	}
	o := outcome{event: EventInspected, status: http.StatusOK, body: s.statusDocument(client, status), client: client}
	if status.Live {
		o.token = status.Token.ID
	}
	return s.reply(c, o)
}

// answer hands a granted token out. The life left is computed here, at the moment of serving.
func (s *Server) answer(c echo.Context, status int, grant session.Grant) error {
	now, own := s.parts.Now(), callOf(c)
	document := s.tokenDocument(grant, now)
	o := outcome{
		event: EventGranted, status: status, client: grant.Token.Client, token: grant.Token.ID,
		decision: string(grant.Source), reason: grant.Reason,
	}
	if err := s.record(own, o); err != nil {
		return err
	}
	own.header("Cache-Status", valueCacheStatus, cacheStatus(grant, document.ExpiresIn))
	if status == http.StatusCreated {
		c.Response().Header().Set(echo.HeaderLocation, "/v1/clients/"+string(grant.Token.Client))
	}
	if err := s.sendToken(own, status, document); err != nil {
		return err
	}
	own.source = grant.Source
	s.parts.Meter.Granted(grant, s.parts.Lifetime.ExpiresAt(grant.Token).Sub(now))
	return nil
}

// sendToken answers with the document of a token.
func (s *Server) sendToken(c *call, status int, document tokenDocument) error {
	text, _ := s.texts.Get().(*[]byte)
	if text == nil {
		text = new(make([]byte, 0, 512))
	}
	defer s.texts.Put(text)
	*text = append(document.appendTo((*text)[:0]), '\n')
	c.Response().Header()[echo.HeaderContentType] = jsonType
	c.Response().WriteHeader(status)
	_, err := c.Response().Write(*text)
	return err
}

// cacheStatus is the value of RFC 9211's header.
func cacheStatus(grant session.Grant, ttl int64) string {
	if grant.Source == session.SourceCache {
		const hit = "cstproxy; hit; ttl="
		return string(strconv.AppendInt(append(make([]byte, 0, len(hit)+20), hit...), ttl, 10))
	}
	status := "cstproxy; fwd=stale"
	if grant.Source == session.SourceMint && (grant.Reason == session.Absent || grant.Reason == "") {
		status = "cstproxy; fwd=miss"
	}
	if grant.Shared != "" {
		status += "; collapsed"
	}
	return status
}

// parseAsk reads a fetch: the client from the path, minTtl and rejected from the query. Nothing else may be there, so
// that a parameter spelt wrong is not a wish ignored.
func parseAsk(client, query string) (session.Ask, error) {
	id, err := session.ParseClientID(client)
	if err != nil {
		return session.Ask{}, err
	}
	ask := session.Ask{Client: id}
	if query == "" {
		return ask, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return session.Ask{}, fmt.Errorf("%w: the query can't be parsed", session.ErrInvalidRequest)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := parseWish(&ask.Need, name, values[name]); err != nil {
			return session.Ask{}, err
		}
	}
	return ask, nil
}

func parseWish(need *session.Need, name string, given []string) (err error) {
	if len(given) > 1 {
		return fmt.Errorf("%w: %s is given %d times, want once", session.ErrInvalidRequest, shown(name), len(given))
	}
	switch name {
	case "minTtl":
		need.Explicit = true
		need.Life, err = parseLife(given[0])
	case "rejected":
		need.Rejected, err = session.ParseTokenID(given[0])
	default:
		err = fmt.Errorf("%w: query parameter %s is not known, want minTtl or rejected", session.ErrInvalidRequest, shown(name))
	}
	return err
}

// maxSeconds is more than any life, and less than overflows a duration.
const maxSeconds = 1 << 32

// parseLife reads a Go duration or whole seconds.
func parseLife(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds >= 0 && seconds < maxSeconds {
		return time.Duration(seconds) * time.Second, nil
	}
	life, err := time.ParseDuration(text)
	if err != nil || life < 0 {
		return 0, fmt.Errorf("%w: minTtl is %s, want a duration such as 2h or 90m, or whole seconds", session.ErrInvalidRequest, shown(text))
	}
	return life, nil
}

// shown quotes what a caller sent, if it is short: a longer text may be a token in the wrong place.
func shown(text string) string {
	const most = 12
	if len(text) > most {
		return fmt.Sprintf("a text of %d characters", len(text))
	}
	return strconv.QuoteToASCII(text)
}

// maxTags is more than anybody can have of one client: each costs a look into the store.
const maxTags = 16

// parseIfMatch reads a list of entity tags (RFC 9110 section 13.1.1), each a token id in quotes; "*" is the zero id,
// which is any. No header is no id.
func parseIfMatch(lines []string) ([]session.TokenID, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	list := strings.TrimSpace(strings.Join(lines, ","))
	if list == "*" {
		return []session.TokenID{{}}, nil
	}
	if strings.Count(list, ",") >= maxTags {
		return nil, fmt.Errorf("%w: If-Match names more than %d tokens", session.ErrInvalidRequest, maxTags)
	}
	var ids []session.TokenID
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		text, quoted := strings.CutPrefix(strings.TrimSuffix(tag, `"`), `"`)
		if !quoted || len(text)+2 != len(tag) {
			return nil, fmt.Errorf("%w: If-Match wants token ids in double quotes", session.ErrInvalidRequest)
		}
		id, err := session.ParseTokenID(text)
		if err != nil {
			return nil, fmt.Errorf("If-Match: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

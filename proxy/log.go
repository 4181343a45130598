package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Of each kind of line so many are logged in a second, and from then on one of so many.
const (
	linesFirst = 100
	linesEvery = 100
)

// sampler lets the first lines of each second through, and then one of so many. It is safe for concurrent use: at the turn
// of a second it may let one more through, or one less.
type sampler struct{ second, lines, skipped atomic.Int64 }

// take reports whether a line at now is to be logged, and for how many it stands that were left out before it.
func (s *sampler) take(now time.Time) (skipped int64, ok bool) {
	if was, second := s.second.Load(), now.Unix(); was != second && s.second.CompareAndSwap(was, second) {
		s.lines.Store(0)
	}
	if n := s.lines.Add(1); n > linesFirst && (n-linesFirst)%linesEvery != 0 {
		s.skipped.Add(1)
		return 0, false
	}
	return s.skipped.Swap(0), true
}

// lines samples the lines of requests, each kind by itself: however many succeed, the first failures of a second are there, and
// the causes of the first.
type lines struct{ succeeded, refused, failed, causes sampler }

func (l *lines) of(status int) *sampler {
	switch {
	case status >= http.StatusInternalServerError:
		return &l.failed
	case status >= http.StatusBadRequest:
		return &l.refused
	}
	return &l.succeeded
}

// line is what a line says that the request's context does not.
type line struct {
	route        string
	began, ended time.Time
	trace        string
}

// say has the line of a request logged, unless there are too many.
func (s *Server) say(c echo.Context, l line) {
	ctx := c.Request().Context()
	skipped, ok := s.sampled(ctx, s.lines.of(c.Response().Status), l.ended)
	if !ok {
		return
	}
	s.parts.Log.LogAttrs(ctx, slog.LevelInfo, "answered", l.attributes(c, skipped)...)
}

// sampled reports whether a line of this kind is to be logged, and for how many it stands. One that is not is counted.
func (s *Server) sampled(ctx context.Context, kind *sampler, at time.Time) (skipped int64, ok bool) {
	if !s.parts.Log.Enabled(ctx, slog.LevelInfo) {
		return 0, false
	}
	if skipped, ok = kind.take(at); !ok {
		s.parts.Meter.Skipped()
	}
	return skipped, ok
}

// hitLine is what a line says of a hit.
type hitLine struct {
	ended time.Time
	took  time.Duration
	id    []byte
}

// sayHit is say for a hit that net/http did not see.
func (s *Server) sayHit(ctx context.Context, l hitLine) {
	skipped, ok := s.sampled(ctx, &s.lines.succeeded, l.ended)
	if !ok {
		return
	}
	all := append(request(fetchPlace, http.StatusOK), slog.Float64("latency", l.took.Seconds()), slog.String("request_id", string(l.id)),
		slog.String("token_source", string(session.SourceCache)))
	if skipped > 0 {
		all = append(all, slog.Int64("skipped", skipped))
	}
	s.parts.Log.LogAttrs(ctx, slog.LevelInfo, "answered", all...)
}

// request are the attributes that say what was asked, and how it was answered.
func request(at place, status int) []slog.Attr {
	return []slog.Attr{slog.String("method", knownMethod(at.method)), slog.String("route", at.path), slog.Int("code", status)}
}

// attributes names no client and no token: the audit does.
func (l line) attributes(c echo.Context, skipped int64) []slog.Attr {
	all := append(request(place{c.Request().Method, l.route}, c.Response().Status),
		slog.Float64("latency", l.ended.Sub(l.began).Seconds()), slog.String("request_id", requestID(c)))
	own := callOf(c)
	if own.problem != "" {
		all = append(all, slog.String("problem", own.problem))
	}
	if own.source != "" {
		all = append(all, slog.String("token_source", string(own.source)))
	}
	if l.trace != "" {
		all = append(all, slog.String("trace_id", l.trace))
	}
	if skipped > 0 {
		all = append(all, slog.Int64("skipped", skipped))
	}
	return all
}

// knownMethod returns a method that HTTP defines; any other may be any text, and is "other".
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return otherMethod
}

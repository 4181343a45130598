package proxy

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// anyRequest stands, among the kinds of work that are shed, for a request of which it was not found out what it takes.
const anyRequest = "request"

// Sheds lists what a request that is turned away can be counted as, for those who count by it.
func Sheds() []string {
	sheds := []string{anyRequest, string(WorkPass)}
	for _, work := range session.Works() {
		sheds = append(sheds, string(work))
	}
	return sheds
}

func shedOf(err error) string {
	if over, ok := errors.AsType[*session.OverloadError](err); ok {
		return string(over.Work)
	}
	return anyRequest
}

// admit turns away what is more than the process can work at. Who waits for Portal has fewer places than there are here
// (session.Limits), so that there is always room for a token that is served at once.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		defer s.inFlight.Add(-1)
		if s.crowded(s.inFlight.Add(1)) {
			return session.ErrOverloaded
		}
		return next(c)
	}
}

// crowded reports whether so many requests at once are too many.
func (s *Server) crowded(requests int64) bool {
	return s.parts.MaxInFlight > 0 && requests > int64(s.parts.MaxInFlight)
}

// shed counts a request that was turned away, and has a line logged of that now and then: one for each would be a load
// of its own.
func (s *Server) shed(c echo.Context, err error) {
	work := shedOf(err)
	s.parts.Meter.Shed(work)
	if s.shedding.due(time.Now()) {
		s.parts.Log.WarnContext(c.Request().Context(), "overloaded, requests are turned away", "work", work, "route", s.route(c), "request_id", requestID(c))
	}
}

// betweenLines is how often a state that lasts is worth a line.
const betweenLines = 10 * time.Second

// seldom says when to speak again. The zero seldom speaks at once.
type seldom struct{ spoke atomic.Int64 }

func (s *seldom) due(now time.Time) bool {
	spoke := s.spoke.Load()
	return now.UnixNano()-spoke >= int64(betweenLines) && s.spoke.CompareAndSwap(spoke, now.UnixNano())
}

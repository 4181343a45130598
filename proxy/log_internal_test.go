package proxy

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cstproxy/cstproxy/proxy/session"
)

func TestFirstLinesOfASecondAreLoggedAndThenOneInAHundred(t *testing.T) {
	t.Parallel()
	var s sampler
	now := time.Date(2026, 11, 22, 5, 19, 55, 0, time.UTC)
	// want takes n lines within the second of now, and wants so many logged, which stand for so many that were left out.
	want := func(name string, n, logged int, skipped int64) {
		t.Helper()
		var got int
		var stands int64
		for i := range n {
			left, ok := s.take(now.Add(time.Duration(i) * time.Second / time.Duration(n)))
			if ok {
				got++
			}
			stands += left
		}
		if got != logged || stands != skipped {
			t.Errorf("%s: of %d lines %d are logged and stand for %d others, want %d and %d", name, n, got, stands, logged, skipped)
		}
	}
	want("a quiet second", linesFirst-1, linesFirst-1, 0)
	now = now.Add(time.Second)
	want("a second as busy as can be", linesFirst, linesFirst, 0)
	now = now.Add(time.Second)
	want("one line too many", linesFirst+1, linesFirst, 0)
	now = now.Add(time.Second)
	want("the line that says so", 1, 1, 1)
	now = now.Add(time.Second)
	want("a hundred lines too many", linesFirst+linesEvery, linesFirst+1, linesEvery-1)
	now = now.Add(time.Second)
	want("a busy second", 10_000, linesFirst+(10_000-linesFirst)/linesEvery, 10_000-linesFirst-(10_000-linesFirst)/linesEvery)
	now = now.Add(-time.Hour)
	want("a clock that was set back", 1, 1, 0)
}

func TestEachKindOfLineIsSampledByItself(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 5, 19, 55, 0, time.UTC)
	var l lines
	for range 100_000 {
		l.of(http.StatusOK).take(now)
		l.of(http.StatusNotFound).take(now)
	}
	for i := range linesFirst {
		if _, ok := l.of(http.StatusServiceUnavailable).take(now); !ok {
			t.Fatalf("failure %d of the second is left out", i)
		}
	}
	for name, statuses := range map[string][2]int{"successes": {200, 204}, "refusals": {400, 499}, "failures": {500, 504}} {
		if l.of(statuses[0]) != l.of(statuses[1]) {
			t.Errorf("%s are of two kinds", name)
		}
	}
}

// nothing is a Meter that counts no more than lines left out.
type nothing struct{ skipped int }

func (*nothing) Began() func(string, string, int, string) {
	return func(string, string, int, string) {}
}
func (*nothing) Handed(session.Source, time.Duration, string) {}
func (*nothing) Granted(session.Grant, time.Duration)         {}
func (*nothing) Hit(string, time.Duration, time.Duration)     {}
func (*nothing) Refused(string)                               {}
func (*nothing) Shed(string)                                  {}
func (n *nothing) Skipped()                                   { n.skipped++ }

func TestLineThatIsLeftOutAllocatesNothing(t *testing.T) {
	meter := &nothing{}
	s := &Server{parts: Parts{Log: slog.New(slog.NewJSONHandler(nowhere{}, nil)), Meter: meter}}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	c := &call{Context: echo.New().NewContext(request, httptest.NewRecorder()), source: session.SourceCache}
	now := time.Now()
	l := line{route: "/v1/clients/:clientId/token", began: now, ended: now, trace: "4bf92f3577b34da6a3ce929d0e0e4736"}
	for range linesFirst {
		s.say(c, l)
	}
	if got := testing.AllocsPerRun(linesEvery-2, func() { s.say(c, l) }); got != 0 || meter.skipped != linesEvery-1 {
		t.Errorf("%d lines were left out, and allocate %g times each; want %d, and 0", meter.skipped, got, linesEvery-1)
	}
}

type nowhere struct{}

func (nowhere) Write(text []byte) (int, error) { return len(text), nil }

package cache

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// stepping is a clock that is read, and how far it was set off from the bubble's.
type stepping struct {
	*Clock
	off  time.Duration
	said bytes.Buffer
}

func newStepping() *stepping {
	s := &stepping{}
	s.Clock = NewClock(ClockParts{
		Local: time.Now, Log: slog.New(slog.NewTextHandler(&s.said, nil)),
		Lifetime: session.Lifetime{IdleTTL: 24 * time.Hour, RefreshWindow: 7 * 24 * time.Hour},
	})
	return s
}

// runs lets time pass, with a reading each minute.
func (s *stepping) runs(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		s.read(reading{local: time.Now(), said: time.Now().Add(s.off)})
		time.Sleep(time.Minute)
	}
}

// wantBounds wants the time between these two, as they are off from the bubble's.
func (s *stepping) wantBounds(t *testing.T, earliest, latest time.Duration) {
	t.Helper()
	if got, want := s.Sent(), time.Now().Add(earliest); !got.Equal(want) {
		t.Errorf("the earliest that it may be is %s, want %s", got, want)
	}
	if got, want := s.Now(), time.Now().Add(latest); !got.Equal(want) {
		t.Errorf("the latest that it may be is %s, want %s", got, want)
	}
}

func TestClockThatSteppedIsRightBeforeOrNow(t *testing.T) {
	t.Parallel()
	const hour, day = time.Hour, 24 * time.Hour
	for name, c := range map[string]struct {
		step             time.Duration
		earliest, latest time.Duration
		warnings         int
	}{
		"two hours on":                       {2 * hour, 0, 2 * hour, 1},
		"three hours back":                   {-3 * hour, -3 * hour, 0, 1},
		"as much as readings differ":         {sameTime, sameTime, sameTime, 0},
		"a moment more":                      {sameTime + time.Millisecond, 0, sameTime + time.Millisecond, 1},
		"a quarter of the idle time":         {-6 * hour, -6 * hour, 0, 1},
		"further than there is a safe side":  {-6*hour - time.Millisecond, -6*hour - time.Millisecond, -6*hour - time.Millisecond, 0},
		"by days, as a machine without date": {900 * day, 900 * day, 900 * day, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStepping()
				s.runs(hour)
				s.wantBounds(t, 0, 0)
				s.off = c.step
				s.runs(6 * day)
				s.wantBounds(t, c.earliest, c.latest)
				if got := strings.Count(s.said.String(), "level=WARN"); got != c.warnings {
					t.Errorf("%d warnings, want %d:\n%s", got, c.warnings, &s.said)
				}
				// What was dated before is over: the clock that is read counts.
				s.runs(2 * day)
				s.wantBounds(t, c.step, c.step)
			})
		})
	}
}

func TestClockThatIsSetRightAgainIsBelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStepping()
		s.runs(time.Hour)
		s.off = 2 * time.Hour
		s.runs(time.Hour)
		s.off = -time.Hour
		s.runs(time.Hour)
		s.wantBounds(t, -time.Hour, 0)
		s.off = 0
		s.runs(time.Minute)
		s.wantBounds(t, 0, 0)
		s.off = time.Hour
		s.runs(time.Minute)
		s.wantBounds(t, 0, time.Hour)
		if got := strings.Count(s.said.String(), "level=WARN"); got != 2 {
			t.Errorf("%d warnings, want one for each doubt:\n%s", got, &s.said)
		}
	})
}

func TestClockThatDriftsIsFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStepping()
		for range 600 {
			s.off += 500 * time.Millisecond
			s.runs(time.Minute)
		}
		s.wantBounds(t, s.off, s.off)
	})
}

// A reading that took long says nothing: this machine may have stood still after the clock was read.
func TestReadingThatTookLongIsNotTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStepping()
		s.runs(time.Minute)
		m := NewMonitor(MonitorParts{Log: slog.New(slog.DiscardHandler), Clock: s.Clock})
		asked, said := time.Now(), time.Now()
		time.Sleep(2 * time.Minute)
		m.read(asked, said)
		s.wantBounds(t, 0, 0)
	})
}

func TestLocalClockThatStepsIsRightBeforeOrNow(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, c := range map[string]struct{ step, earliest, latest time.Duration }{
		"not at all":      {0, 0, 0},
		"two hours on":    {2 * hour, 0, 2 * hour},
		"two hours back":  {-2 * hour, -2 * hour, 0},
		"years on":        {20000 * hour, 20000 * hour, 20000 * hour},
		"a moment, as is": {-sameTime, -sameTime, -sameTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				clock := NewLocalClock(ClockParts{Local: time.Now, Lifetime: session.Lifetime{IdleTTL: 24 * hour}})
				time.Sleep(hour)
				if now, sent := clock.Now(), clock.Sent(); !now.Equal(time.Now()) || !sent.Equal(time.Now()) {
					t.Errorf("it is %s to %s, want %s", sent, now, time.Now())
				}
				earliest, latest := clock.between(time.Now().Add(c.step), time.Now())
				if want := time.Now().Add(c.earliest); !earliest.Equal(want) {
					t.Errorf("the earliest that it may be is %s, want %s", earliest, want)
				}
				if want := time.Now().Add(c.latest); !latest.Equal(want) {
					t.Errorf("the latest that it may be is %s, want %s", latest, want)
				}
			})
		})
	}
}

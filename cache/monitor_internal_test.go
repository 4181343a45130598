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

func TestMonitorGoesByRedisTimeHoweverFarTheLocalClockIsOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ahead    time.Duration // the local clock, of Redis's
		warnings int
	}{
		"ten minutes ahead":   {10 * time.Minute, 1},
		"ten minutes behind":  {-10 * time.Minute, 1},
		"as much as is usual": {skewWarning, 0},
		"a little more":       {skewWarning + time.Millisecond, 1},
		"together":            {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				var heard time.Duration
				log := slog.New(slog.NewTextHandler(&said, nil))
				clock := NewClock(ClockParts{Local: time.Now, Lifetime: session.Lifetime{IdleTTL: 24 * time.Hour}, Log: log})
				m := NewMonitor(MonitorParts{Log: log, Clock: clock})
				if got := clock.Now(); !got.Equal(time.Now()) {
					t.Errorf("before the first look the shared clock says %s, want the local %s", got, time.Now())
				}
				for range 3 {
					heard = m.read(time.Now(), time.Now().Add(-c.ahead))
					time.Sleep(time.Hour)
					if got, want := clock.Now(), time.Now().Add(-c.ahead); !got.Equal(want) || !clock.Sent().Equal(want) {
						t.Errorf("the shared clock says %s, want %s", got, want)
					}
				}
				if heard != c.ahead {
					t.Errorf("the skew told is %s, want %s", heard, c.ahead)
				}
				if got := strings.Count(said.String(), "level=WARN"); got != c.warnings {
					t.Errorf("%d warnings, want %d:\n%s", got, c.warnings, &said)
				}
			})
		})
	}
}

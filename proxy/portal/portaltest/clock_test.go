package portaltest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

func TestClockRunsAtItsSpeed(t *testing.T) {
	for name, tc := range map[string]struct {
		speed   float64
		passing time.Duration
		want    time.Duration
	}{
		"at the start":               {3600, 0, 0},
		"an hour a second":           {3600, time.Second, time.Hour},
		"a window in under 3 min":    {3600, 168 * time.Second, 168 * time.Hour},
		"in real time":               {1, time.Minute, time.Minute},
		"at half the speed":          {0.5, time.Minute, 30 * time.Second},
		"standing still":             {0, time.Minute, 0},
		"between two of its seconds": {2, 250 * time.Millisecond, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := portaltest.Clock(epoch, tc.speed)
				<-time.After(tc.passing)
				if got := clock().Sub(epoch); got != tc.want {
					t.Errorf("after %s it has moved %s, want %s", tc.passing, got, tc.want)
				}
			})
		})
	}
}

func TestTokensAgeOnAFastClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := portaltest.New(portaltest.Options{AnyClient: true, Now: portaltest.Clock(epoch, 3600)})
		cst := mint(t, portal, alice)
		<-time.After(24*time.Second - time.Nanosecond)
		if !portal.Accepts(cst) {
			t.Error("dead just before 24 h have passed")
		}
		<-time.After(time.Nanosecond)
		if portal.Accepts(cst) {
			t.Error("alive after 24 h")
		}
	})
}

package portaltest

import "time"

// Clock returns a clock that reads start now and from then on runs speed times
// as fast as the process's own: at 3600 an hour passes in a second. It is safe
// for concurrent use.
func Clock(start time.Time, speed float64) func() time.Time {
	began := time.Now()
	return func() time.Time {
		return start.Add(time.Duration(float64(time.Since(began)) * speed))
	}
}

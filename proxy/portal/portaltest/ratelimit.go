package portaltest

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// family is a part of Portal's API that has a budget of its own.
type family string

const (
	custodianAPI family = "custodian"
	clientsAPI   family = "clients"
	enclaveAPI   family = "enclave" // not limited here
)

// rollingMinute remembers when it admitted a request during the last minute.
type rollingMinute struct {
	admitted []time.Time // oldest first
}

// wait returns how long it takes until a request is within the limit; 0 admits
// it. A refused request does not count.
func (m *rollingMinute) wait(now time.Time, limit int) time.Duration {
	for len(m.admitted) > 0 && !m.admitted[0].Add(time.Minute).After(now) {
		m.admitted = m.admitted[1:]
	}
	if excess := len(m.admitted) - limit; excess >= 0 {
		return m.admitted[excess].Add(time.Minute).Sub(now)
	}
	m.admitted = append(m.admitted, now)
	return 0
}

// overLimit returns the fault of being over the rate limit, if operation is.
func (p *Portal) overLimit(operation Operation, now time.Time) (f Fault, over bool) {
	minute, limited := p.minutes[families[operation]]
	if !limited || p.behavior.RateLimit == 0 {
		return Fault{}, false
	}
	wait := minute.wait(now, p.behavior.RateLimit)
	if wait == 0 {
		return Fault{}, false
	}
	p.stats.RateLimited++
	return Fault{
		Kind:       Status,
		Status:     http.StatusTooManyRequests,
		RetryAfter: p.behavior.RetryAfter.header(now, wait),
	}, true
}

// header rounds up: whoever heeds it is not refused again.
func (form RetryAfter) header(now time.Time, wait time.Duration) string {
	switch form {
	case RetryAfterSeconds:
		return strconv.Itoa(int(math.Ceil(wait.Seconds())))
	case RetryAfterDate:
		return now.Add(wait + time.Second - time.Nanosecond).UTC().Format(http.TimeFormat)
	}
	return ""
}

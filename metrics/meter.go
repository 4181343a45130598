package metrics

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cstproxy/cstproxy/proxy/session"
)

// Began counts a request as in flight until ended is called, once, with how it was answered. The route comes from a
// closed set; a method that HTTP does not define is "other".
func (m *Metrics) Began() (ended func(route, method string, status int)) {
	began := time.Now()
	m.inFlight.Inc()
	return func(route, method string, status int) {
		m.inFlight.Dec()
		m.requests.child(answer{route, closedMethod(method), status}).Observe(time.Since(began).Seconds())
	}
}

// Granted counts a token handed out with that much life left.
func (m *Metrics) Granted(grant session.Grant, left time.Duration) {
	m.served.inc(grant.Source)
	m.remaining.Observe(left.Seconds())
	if left <= 0 {
		m.expired.Inc()
	}
	if grant.Shared != "" {
		m.collapsed.inc(grant.Shared)
	}
}

// Refused counts a request answered with a problem. A code that [Parts] does not list counts as "internal".
func (m *Metrics) Refused(code string) {
	if _, listed := m.refused[code]; listed {
		m.refused.inc(code)
		return
	}
	m.refused.inc(internal)
}

// maxAnswers bounds the children of the duration of requests, should a route ever not come from a closed set. It is
// far more than all routes, methods and codes make.
const maxAnswers = 1024

// answer is what the duration of requests is told apart by.
type answer struct {
	route, method string
	status        int
}

// requests keeps the children of a histogram by answer. Reading takes no lock: a child is made once and read for ever.
type requests struct {
	duration *prometheus.HistogramVec

	making sync.Mutex
	// made :: answer -> child; never changed, always replaced
	made atomic.Pointer[map[answer]prometheus.Observer]
}

func newRequests(duration *prometheus.HistogramVec) *requests {
	r := &requests{duration: duration}
	r.made.Store(&map[answer]prometheus.Observer{})
	return r
}

func (r *requests) child(a answer) prometheus.Observer {
	if child, ok := (*r.made.Load())[a]; ok {
		return child
	}
	return r.make(a)
}

func (r *requests) make(a answer) prometheus.Observer {
	r.making.Lock()
	defer r.making.Unlock()
	old := *r.made.Load()
	if child, ok := old[a]; ok {
		return child
	}
	if len(old) >= maxAnswers {
		return r.duration.WithLabelValues(other, other, other)
	}
	made := maps.Clone(old)
	made[a] = r.duration.WithLabelValues(a.route, a.method, strconv.Itoa(a.status))
	r.made.Store(&made)
	return made[a]
}

func closedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return other
}

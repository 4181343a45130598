package main

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// report is what the proxy did between two readings, and since it began.
type report struct {
	Time          time.Time              `json:"time"`
	Interval      number                 `json:"intervalSeconds"`
	Version       string                 `json:"version"`
	Uptime        number                 `json:"uptimeSeconds"`
	Replicas      number                 `json:"replicas"`
	Tokens        handedOut              `json:"tokens"`
	Requests      handled                `json:"requests"`
	Mints         map[string]counted     `json:"mints"`
	Errors        map[string]counted     `json:"errors"`
	Budget        map[string]budgetState `json:"budget"`
	Portal        portalHealth           `json:"portal"`
	Redis         redisHealth            `json:"redis"`
	ExpiredServed number                 `json:"expiredTokensServed"`
}

// count is a counter: since the start, and by the second over the interval.
type counted struct {
	Total     number `json:"total"`
	PerSecond number `json:"perSecond"`
}

type handedOut struct {
	// HitRatio is the share of tokens handed out without a mint, over the interval; HitRatioTotal that since the start.
	HitRatio      number             `json:"hitRatio"`
	HitRatioTotal number             `json:"hitRatioTotal"`
	All           counted            `json:"served"`
	Sources       map[string]counted `json:"bySource"`
}

type handled struct {
	InFlight number  `json:"inFlight"`
	Latency  latency `json:"latency"`
}

// latency is in seconds.
type latency struct {
	P50      number `json:"p50"`
	P99      number `json:"p99"`
	P50Total number `json:"p50Total"`
	P99Total number `json:"p99Total"`
}

type budgetState struct {
	Left     number  `json:"left"`
	Limit    number  `json:"limit"`
	Waiting  number  `json:"waiting"`
	Paused   number  `json:"pausedSeconds"`
	Refusals counted `json:"refusals"`
}

type portalHealth struct {
	// KeyValid is 1 if Portal accepted the key in use, 0 if it refused it, -1 if that is not known yet.
	KeyValid       number             `json:"keyValid"`
	KeyLastSuccess number             `json:"keyLastSuccessSecondsAgo"`
	Requests       map[string]counted `json:"requests"`
	Failures       map[string]counted `json:"failures"`
	Latency        map[string]latency `json:"latency"`
}

type redisHealth struct {
	Up number `json:"up"`
	// Breaker is the state of the breaker: closed, half_open or open, none without Redis, and empty if nobody tells.
	Breaker string `json:"breaker"`
}

// interval is the two readings of a report.
type readings struct{ before, now reading }

func compareReadings(before, now reading) report {
	i := readings{before, now}
	return report{
		Time:          now.at.UTC(),
		Interval:      some(now.at.Sub(before.at).Seconds()),
		Version:       strings.Join(now.values("cstproxy_build_info", "version"), ""),
		Uptime:        i.ago("process_start_time_seconds"),
		Replicas:      now.sum("cstproxy_fleet_replicas"),
		Tokens:        i.tokens(),
		Requests:      handled{InFlight: now.sum("cstproxy_http_requests_in_flight"), Latency: i.latency("cstproxy_http_request_duration_seconds")},
		Mints:         i.counts("cstproxy_mints_total", "reason"),
		Errors:        i.counts("cstproxy_token_errors_total", "code"),
		Budget:        i.budgets(),
		Portal:        i.portal(),
		Redis:         redisHealth{Up: now.sum("cstproxy_redis_up"), Breaker: now.breaker()},
		ExpiredServed: now.sum("cstproxy_expired_tokens_served_total"),
	}
}

// count is that of the counters of that name which have the labels.
func (i readings) count(name string, labels ...string) counted {
	total := i.now.sum(name, labels...)
	grown := total.since(i.before.sum(name, labels...))
	return counted{Total: total, PerSecond: grown.over(some(i.now.at.Sub(i.before.at).Seconds()))}
}

// counts returns the counters of that name (:: value of the label → count).
func (i readings) counts(name, label string) map[string]counted {
	counts := map[string]counted{}
	for _, value := range i.now.values(name, label) {
		counts[value] = i.count(name, label, value)
	}
	return counts
}

func (i readings) tokens() handedOut {
	const served = "cstproxy_tokens_served_total"
	t := handedOut{All: i.count(served), Sources: i.counts(served, "source")}
	minted := t.Sources["mint"]
	t.HitRatio = rest(minted.PerSecond.over(t.All.PerSecond))
	t.HitRatioTotal = rest(minted.Total.over(t.All.Total))
	return t
}

// rest is what is missing to one.
func rest(share number) number {
	if !share.known {
		return share
	}
	return some(1 - share.value)
}

func (i readings) budgets() map[string]budgetState {
	budgets := map[string]budgetState{}
	for _, class := range []string{"mint", "probe"} {
		of := func(name string) number { return i.now.sum("cstproxy_budget_"+name, "class", class) }
		budgets[class] = budgetState{
			Left: of("left"), Limit: of("limit"), Waiting: of("waiting"), Paused: of("paused_seconds"),
			Refusals: i.count("cstproxy_budget_refusals_total", "class", class),
		}
	}
	return budgets
}

func (i readings) portal() portalHealth {
	const took = "cstproxy_portal_request_duration_seconds"
	health := portalHealth{
		KeyValid:       i.now.sum("cstproxy_portal_key_valid"),
		KeyLastSuccess: i.ago("cstproxy_portal_key_last_success_timestamp_seconds"),
		Requests:       i.counts("cstproxy_portal_requests_total", "operation"),
		Failures:       i.counts("cstproxy_portal_failures_total", "kind"),
		Latency:        map[string]latency{},
	}
	for _, operation := range i.now.values(took+"_count", "operation") {
		health.Latency[operation] = i.latency(took, "operation", operation)
	}
	return health
}

// ago returns for how many seconds the moment is over that the series names. 0 is no moment.
func (i readings) ago(name string) number {
	moment := i.now.sum(name)
	if !moment.known || moment.value == 0 {
		return number{}
	}
	return some(math.Max(float64(i.now.at.UnixMilli())/1000-moment.value, 0))
}

// breaker returns the state of the breaker before Redis.
func (r reading) breaker() string {
	const name = "cstproxy_redis_breaker"
	for _, state := range r.values(name, "state") {
		if r.sum(name, "state", state).value == 1 {
			return state
		}
	}
	if r.has(name) {
		return "none"
	}
	return ""
}

func (i readings) latency(name string, labels ...string) latency {
	total, before := i.now.buckets(name, labels...), i.before.buckets(name, labels...)
	grown := map[float64]float64{}
	for bound, n := range total {
		grown[bound] = some(n).since(some(before[bound])).value
	}
	return latency{P50: quantile(0.5, grown), P99: quantile(0.99, grown), P50Total: quantile(0.5, total), P99Total: quantile(0.99, total)}
}

// quantile is Prometheus's estimate from buckets (:: upper bound → count up to there), which are even within.
func quantile(q float64, buckets map[float64]float64) number {
	bounds := slices.Sorted(maps.Keys(buckets))
	if len(bounds) < 2 || buckets[bounds[len(bounds)-1]] == 0 {
		return number{}
	}
	rank := q * buckets[bounds[len(bounds)-1]]
	at, _ := slices.BinarySearchFunc(bounds, rank, func(bound, rank float64) int {
		if buckets[bound] < rank {
			return -1
		}
		return 1
	})
	if math.IsInf(bounds[at], 1) {
		return some(bounds[at-1])
	}
	from, below := 0.0, 0.0
	if at > 0 {
		from, below = bounds[at-1], buckets[bounds[at-1]]
	}
	if buckets[bounds[at]] == below {
		return some(from)
	}
	return some(from + (bounds[at]-from)*(rank-below)/(buckets[bounds[at]]-below))
}

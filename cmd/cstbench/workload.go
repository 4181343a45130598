package main

import (
	"fmt"
	"time"
)

// mostConnections is the most that any workload has.
const mostConnections = 64

// workload is how contenders are asked: as fast as they answer, or at a Rate.
type workload struct {
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate,omitempty"` // requests a second; 0: each connection asks again when it is answered
}

func (w workload) String() string {
	if w.Rate > 0 {
		return fmt.Sprintf("%d connections at %.0f/s", w.Connections, w.Rate)
	}
	if w.Connections == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", w.Connections)
}

// sample is what was seen of one contender in one slice. Durations are in ns.
type sample struct {
	PerSecond      float64 // answers
	P50, P99, P999 float64
	// Own is the contender's processor time for a request, Redis that of redis-server.
	Own, Redis float64
	// Generator is how many cores whoever asked used, which is one at most.
	Generator float64
	// Requests are all that were answered, Commands what Redis counted meanwhile: name -> number.
	Requests, Unanswered int
	Commands             map[string]int
	Lasted               time.Duration // of the time in which Redis counted
	// Other is how many cores whoever else used.
	Other float64
}

// machineTimes is how much processor time was used by then.
type machineTimes struct {
	at                     time.Time
	own, redis, self, busy time.Duration
}

func sampleOf(t traffic, result outcome, before, after machineTimes) sample {
	quantile := func(q float64) float64 { return float64(result.Latency.ValueAtQuantile(q)) }
	each := func(used time.Duration) float64 { return float64(used) / float64(max(result.Timed, 1)) }
	own, redis, self := after.own-before.own, after.redis-before.redis, after.self-before.self
	other := after.busy - before.busy - own - redis - self
	cores := func(used time.Duration) float64 { return float64(used) / float64(max(after.at.Sub(before.at), 1)) }
	return sample{
		PerSecond: float64(result.Within) / t.Length.Seconds(),
		P50:       quantile(50), P99: quantile(99), P999: quantile(99.9),
		Own: each(own), Redis: each(redis), Generator: cores(self),
		Requests: result.Requests, Unanswered: result.Unanswered,
		Other: max(0, cores(other)),
	}
}

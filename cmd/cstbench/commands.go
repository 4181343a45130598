package main

import (
	"errors"
	"fmt"
	"math"
)

// hitCommand is what a hit costs Redis, once.
const hitCommand = "get"

// getsPerHit are how many of them a request must cost. The proxy's callers who ask for the same client at the same moment may
// share one, so that it is exact for one connection, and the most for several.
var getsPerHit = map[string]int{
	nameGet: 1, nameGet + overUnix: 1, nameProxyRedis: 1, nameProxyRedis + overUnix: 1,
	nameGet + many: 1, nameProxyRedis + many: 1,
	nameEcho: 0, nameEcho + again: 0, nameEcho + overUnix: 0,
}

// fromMemory look into Redis only when what they remember is too old: then all who ask at that moment may, once.
var fromMemory = map[string]bool{nameProxy: true, nameProxy + again: true, nameCallers: true, nameProxy + overUnix: true}

// shares are those in which callers share what they ask Redis.
var shares = map[string]bool{nameProxyRedis: true, nameProxyRedis + overUnix: true, nameProxyRedis + many: true}

var errTooMany = errors.New("another number of commands at Redis")

// checkCommands holds every slice to the number of commands that it must cost. Contenders also tell Redis of themselves, by
// other commands: those must come no more often than when nobody asks.
func (r *rounds) checkCommands() error {
	if n := r.Idle[hitCommand]; n != 0 {
		return fmt.Errorf("%w: %d %s while nobody asked", errTooMany, n, hitCommand)
	}
	return r.each(func(name string, w workload, samples []sample) error {
		if err := r.checkSlices(name, w, samples); err != nil {
			return fmt.Errorf("%s, %s: %w", name, w, err)
		}
		return nil
	})
}

func (r *rounds) checkSlices(name string, w workload, samples []sample) error {
	wanted, known := getsPerHit[name]
	if !known && !fromMemory[name] {
		return nil // of others it is reported, not held
	}
	others, requests := r.others(samples), 0
	for _, s := range samples {
		most := s.Requests * wanted
		if fromMemory[name] {
			most = w.Connections
		}
		got := s.Commands[hitCommand]
		if got > most || got < most && exact(name, w) {
			return fmt.Errorf("%w: %d %s for %d requests", errTooMany, got, hitCommand, s.Requests)
		}
		requests += s.Requests
	}
	// What comes in the background does not come evenly, and each of several proxies has its own, so that a few requests say nothing.
	const chance, enough = 0.03, 10_000
	if requests >= enough && others > float64(requests)*chance {
		return fmt.Errorf("%w: %.0f others for %d requests, such as %v", errTooMany, others, requests, samples[0].Commands)
	}
	return nil
}

// exact reports whether not even fewer commands may come.
func exact(name string, w workload) bool {
	_, known := getsPerHit[name]
	return known && (!shares[name] || w.Connections == 1)
}

// beyond is how many commands came in a slice, those left out that come when nobody asks.
func (r *rounds) beyond(s sample) (sum float64) {
	for name, n := range s.Commands {
		expected := 0.0
		if name != hitCommand && r.IdleLasted > 0 {
			expected = float64(r.Idle[name]) * float64(s.Lasted) / float64(r.IdleLasted)
		}
		sum += float64(n) - expected
	}
	return sum
}

// others is how many of them were no reads, in all slices.
func (r *rounds) others(samples []sample) (sum float64) {
	for _, s := range samples {
		sum += r.beyond(s) - float64(s.Commands[hitCommand])
	}
	return sum
}

// perHit is what a request cost Redis in commands: contender -> number, to four digits.
func (r *rounds) perHit() map[string]float64 {
	commands, requests := map[string]float64{}, map[string]int{}
	_ = r.each(func(name string, _ workload, samples []sample) error {
		for _, s := range samples {
			commands[name] += r.beyond(s)
			requests[name] += s.Requests
		}
		return nil
	})
	for name := range commands {
		commands[name] = max(0, digits(commands[name]/float64(max(requests[name], 1))))
	}
	return commands
}

// background is what came each second while nobody asked: command -> number.
func (r *rounds) background() map[string]float64 {
	all := map[string]float64{}
	for name, n := range r.Idle {
		all[name] = math.Round(10*float64(n)/r.IdleLasted.Seconds()) / 10
	}
	return all
}

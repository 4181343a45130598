package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCommandsAreReadAsRedisWritesThem(t *testing.T) {
	got, err := parseCommands("# Commandstats\r\ncmdstat_get:calls=12,usec=3,usec_per_call=0.2\r\ncmdstat_config|get:calls=1,usec=1\r\n")
	if diff := cmp.Diff(map[string]int{"get": 12, "config|get": 1}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := parseCommands("cmdstat_get:calls=x,usec=3"); !errors.Is(err, errCommands) {
		t.Errorf("got %v", err)
	}
}

func TestRunWithAnotherNumberOfCommandsIsAnError(t *testing.T) {
	of := func(requests, gets, others int) sample {
		return sample{Requests: requests, Commands: map[string]int{"get": gets, "evalsha": others}, Lasted: time.Second}
	}
	for name, c := range map[string]struct {
		contender   string
		connections int
		sample      sample
		wrong       bool
	}{
		"one each":                            {nameProxyRedis, 1, of(100, 100, 0), false},
		"one too few":                         {nameProxyRedis, 1, of(100, 99, 0), true},
		"one too many":                        {nameProxyRedis, 1, of(100, 101, 0), true},
		"shared by callers at once":           {nameProxyRedis, 16, of(100, 10, 0), false},
		"one too many of several":             {nameProxyRedis, 16, of(100, 101, 0), true},
		"shared where nothing is":             {nameGet, 16, of(100, 99, 0), true},
		"memory that is read anew":            {nameProxy, 16, of(100, 16, 0), false},
		"memory that is not used":             {nameProxy, 16, of(100, 17, 0), true},
		"a floor that reads":                  {nameEcho, 1, of(100, 1, 0), true},
		"others as when nobody asks":          {nameProxyRedis, 1, of(20000, 20000, 50), false},
		"others that come with requests":      {nameProxyRedis, 1, of(20000, 20000, 700), true},
		"others that come with a few of them": {nameProxyRedis, 1, of(100, 100, 100), false},
		"a rival, which is not held":          {"nginx", 1, of(100, 7, 7), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := &rounds{
				Idle: map[string]int{"evalsha": 50}, IdleLasted: time.Second,
				Samples: map[workload]map[string][]sample{{Connections: c.connections}: {c.contender: {c.sample}}},
			}
			if err := r.checkCommands(); errors.Is(err, errTooMany) != c.wrong {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := (&rounds{Idle: map[string]int{"get": 1}}).checkCommands(); !errors.Is(err, errTooMany) {
		t.Errorf("reads while nobody asks: got %v", err)
	}
}

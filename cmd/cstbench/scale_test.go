package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestScaleInItsShortestFormCountsRight measures everything, too short for its times to say anything.
func TestScaleInItsShortestFormCountsRight(t *testing.T) {
	proxy := builtProxy(t)
	folder, out, size := t.TempDir(), new(bytes.Buffer), quickScale()
	if err := root(out).Run(t.Context(), []string{"cstbench", "--results", folder, areaScale, "--quick", "--cstproxy", proxy}); err != nil {
		t.Fatalf("%v\n%s", err, out) // a count that is wrong, too
	}
	var figures scaleFigures
	if err := load(folder, areaScale, &figures); err != nil || !figures.Quick || figures.Machine.Cores == 0 || figures.Rounds != size.Rounds {
		t.Fatalf("%+v, %v", figures, err)
	}
	for i, fleet := range figures.Replicas {
		if want := size.Replicas[i] * size.Fetches; fleet.RedisHits.Fetches != want || fleet.MemoryHits.Fetches != want {
			t.Errorf("%d replicas: %d and %d fetches, want %d", fleet.Replicas, fleet.RedisHits.Fetches, fleet.MemoryHits.Fetches, want)
		}
		if fleet.IdlePerReplicaMinute == nil || fleet.Mints.total() == 0 {
			t.Errorf("%d replicas: nothing was heard of heartbeats or mints: %+v", fleet.Replicas, fleet)
		}
	}
	// Bytes are exact but for the tables, which are less full with few clients.
	if b := figures.Bytes; b.Redis < 150 || b.Redis > 2*mostRedisBytes || b.Memory < 100 || len(b.ByLength) == 0 {
		t.Errorf("bytes a token: %+v", b)
	}
	if figures.Memory.Idle < 1 || figures.Memory.LoadedMost < figures.Memory.Idle {
		t.Errorf("resident memory: %+v", figures.Memory)
	}
	if got, want := len(figures.Features), 5; got != want {
		t.Errorf("%d features, want %d", got, want)
	}
	for _, f := range figures.Features {
		if f.Ratio.Median <= 0 || f.Base == "" {
			t.Errorf("%s: %+v", f.Name, f.Ratio)
		}
	}
	if text := scaleSection(figures).Text; strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error(text)
	}
}

func TestFleetThatSaysTooMuchHasNoFigures(t *testing.T) {
	hits := func(commands map[string]int) counted { return counted{Fetches: 10, Commands: commands} }
	for name, c := range map[string]struct {
		memory, redis map[string]int
		right         bool
	}{
		"none and one each":               {nil, map[string]int{"get token": 10}, true},
		"one for a memory hit":            {map[string]int{"get token": 1}, map[string]int{"get token": 10}, false},
		"one less for Redis hits":         {nil, map[string]int{"get token": 9}, false},
		"another one with the Redis hits": {nil, map[string]int{"get token": 10, "ttl token": 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleetFigures{MemoryHits: hits(c.memory), RedisHits: hits(c.redis), Mints: hits(map[string]int{"evalsha token": 1})}
			if err := f.check(); (err == nil) != c.right {
				t.Errorf("%v, want right: %t", err, c.right)
			}
		})
	}
}

func TestCommandsAreReadAsRedisShowsThem(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"of a client":           {`+1764320000.123456 [0 127.0.0.1:41234] "get" "cstproxy:{abc}:token"`, "get token"},
		"of a script":           {`+1764320000.123456 [0 lua] "GET" "cstproxy:{abc}:token"`, ""},
		"a script":              {`+1764320000.123456 [0 unix:/s] "EVALSHA" "0123456789" "1" "cstproxy:{abc}:lease" "x"`, "evalsha 012345 lease"},
		"by a unix socket":      {`+1764320000.123456 [0 unix:/tmp/a b/s] "get" "p:token"`, "get token"},
		"an introduction":       {`+1764320000.123456 [0 127.0.0.1:41234] "hello" "3"`, ""},
		"without a key":         {`+1764320000.123456 [0 127.0.0.1:41234] "ping"`, "ping"},
		"nothing of that kind":  {`+OK`, ""},
		"with a bracket inside": {`+1764320000.123456 [0 127.0.0.1:1] "get" "p:a]b:token"`, "get token"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := commandOf(c.line); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// enough are figures at every limit.
func enough() scaleFigures {
	one := httpFigures{Processor: ratio{Median: 1}, Wait: ratio{Median: 1}}
	all := scaleFigures{
		Bytes:  bytesFigures{Clients: fullScale().Clients, Redis: mostRedisBytes, Memory: mostMemoryBytes},
		Starts: []startFigures{{Name: "with Redis", MaxMS: mostStartMS}, {Name: "in memory alone", MaxMS: 1}},
		Memory: memoryFigures{Idle: mostIdleMiB, IdleAlone: 1},
	}
	for _, n := range fullScale().Working {
		all.Clients = append(all.Clients, clientsFigures{Clients: n, Memory: one, Redis: one})
	}
	all.Clients[2].Memory.Processor.Median = 1.24 // 15 % more than their mean
	for _, n := range fullScale().Replicas {
		hit := counted{Fetches: 1, Commands: map[string]int{"get token": 1}}
		all.Replicas = append(all.Replicas, fleetFigures{Replicas: n, MemoryHits: counted{Fetches: 1}, RedisHits: hit})
	}
	return all
}

func TestWhatMustHoldOfScaleHoldsUpToItsLimit(t *testing.T) {
	const redisBytes, memoryBytes = "Redis, bytes a token, sealed, 1,000,000 clients", "memory tier, bytes a token, 1,000,000 clients"
	const memoryHit, redisHit = "cost of a memory hit over HTTP, 1,000 to 1,000,000 clients", "cost of a Redis hit over HTTP, 1,000 to 1,000,000 clients"
	const memoryWait, redisWait = "median wait for a memory hit over HTTP, 1,000 to 1,000,000 clients", "median wait for a Redis hit over HTTP, 1,000 to 1,000,000 clients"
	for name, c := range map[string]struct {
		change func(*scaleFigures)
		want   []string // what does not hold
	}{
		"at every limit":    {func(*scaleFigures) {}, nil},
		"a byte in Redis":   {func(f *scaleFigures) { f.Bytes.Redis += 0.6 }, []string{redisBytes}},
		"a byte in memory":  {func(f *scaleFigures) { f.Bytes.Memory++ }, []string{memoryBytes}},
		"of fewer clients":  {func(f *scaleFigures) { f.Bytes.Clients-- }, []string{redisBytes, memoryBytes}},
		"dearer with more":  {func(f *scaleFigures) { f.Clients[2].Memory.Processor.Median = 1.25 }, []string{memoryHit}},
		"slower with more":  {func(f *scaleFigures) { f.Clients[1].Redis.Wait.Median = 0.79 }, []string{redisWait}},
		"a crowd missing":   {func(f *scaleFigures) { f.Clients = f.Clients[:2] }, []string{memoryHit, redisHit, memoryWait, redisWait}},
		"a slow start":      {func(f *scaleFigures) { f.Starts[1].MaxMS = 301 }, []string{"start-up to ready in memory alone, the slowest, ms"}},
		"a start missing":   {func(f *scaleFigures) { f.Starts = f.Starts[:1] }, []string{"start-up to ready in memory alone, the slowest, ms"}},
		"a large process":   {func(f *scaleFigures) { f.Memory.Idle++ }, []string{"idle resident memory with Redis, MiB"}},
		"a replica missing": {func(f *scaleFigures) { f.Replicas = f.Replicas[:3] }, []string{"commands at Redis for a memory hit, 8 replicas", "commands at Redis for a Redis hit, 8 replicas"}},
		"a command": {func(f *scaleFigures) { f.Replicas[0].MemoryHits.Commands = map[string]int{"x": 1} },
			[]string{"commands at Redis for a memory hit, 1 replica"}},
	} {
		t.Run(name, func(t *testing.T) {
			figures := enough()
			c.change(&figures)
			var broken []string
			for _, w := range scaleWants(figures) {
				if !w.Holds {
					broken = append(broken, w.What)
				}
			}
			if diff := cmp.Diff(c.want, broken); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScaleFiguresComeBackAsTheyWere(t *testing.T) {
	figures := scaleFigures{
		Clients: []clientsFigures{{Clients: 3, Memory: httpFigures{Processor: ratio{1, 2, 3}, Mean: 4}}}, Features: []featureFigures{{Name: "x", Inside: true}},
		Memory: memoryFigures{Idle: 5}, Replicas: []fleetFigures{{Replicas: 1, Mints: counted{Fetches: 1, Commands: map[string]int{"a": 2}}}},
	}
	text, err := json.Marshal(figures)
	if err != nil {
		t.Fatal(err)
	}
	var back scaleFigures
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(figures, back); diff != "" {
		t.Error(diff)
	}
}

func TestBaselineHasWhatTheReportNeeds(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(".", baselineFile))
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseMicro(string(text))
	if err != nil {
		t.Fatal(err)
	}
	const counts = 5
	for _, name := range []string{"Decide/serve", "Record/seal", "Record/open", "Record/decode", "TierLoad", grantFetch, wholeFetch, "Fetch/redis-grant", "Fetch/redis-handler"} {
		if runs := f.of[name]; runs == nil || len(runs.nanos) < counts {
			t.Errorf("%s: fewer than %d counts", name, counts)
		}
	}
	for _, w := range microWants(f) {
		if !w.Holds {
			t.Errorf("%s: %s, want %s", w.What, w.Seen, w.Wanted)
		}
	}
}

func TestWhatIsNoBenchmarkIsNoBaseline(t *testing.T) {
	if _, err := parseMicro("ok  \tpackage\t0.1s\n"); err == nil {
		t.Error("want an error")
	}
	f, err := parseMicro("BenchmarkA/b-2  \t 10\t 1.5 ns/op\t 8 B/op\t 3 allocs/op\nBenchmarkA/b-2  \t 10\t 2.5 ns/op\t 8 B/op\t 3 allocs/op\n")
	if err != nil || median(f.of["A/b"].nanos) != 2 || median(f.of["A/b"].allocations) != 3 {
		t.Errorf("%+v, %v", f, err)
	}
	for _, w := range microWants(f) {
		if w.Holds {
			t.Errorf("%s holds, though it was not measured", w.What)
		}
	}
}

package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var statsBegan = time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)

// readingAt is /metrics so many seconds after 05:00.
func readingAt(t *testing.T, seconds int, text string) reading {
	t.Helper()
	r, err := readMetrics([]byte(text), statsBegan.Add(time.Duration(seconds)*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const metricsBefore = `# HELP cstproxy_build_info What this was built from.
cstproxy_build_info{goversion="go1.26",revision="abc",version="1.2.3"} 1
process_start_time_seconds 1.7953128e+09
cstproxy_tokens_served_total{source="cache"} 90
cstproxy_tokens_served_total{source="mint"} 10
cstproxy_mints_total{reason="absent"} 10
cstproxy_token_errors_total{code="portal_timeout"} 5
`

const metricsAfter = `cstproxy_build_info{goversion="go1.26",revision="abc",version="1.2.3"} 1
process_start_time_seconds 1.7953128e+09
cstproxy_tokens_served_total{source="cache"} 186
cstproxy_tokens_served_total{source="mint"} 14
cstproxy_mints_total{reason="absent"} 14
cstproxy_token_errors_total{code="portal_timeout"} 2
cstproxy_budget_limit{class="mint"} 200
cstproxy_budget_left{class="mint"} 0.4
cstproxy_budget_waiting{class="mint"} 3
cstproxy_budget_paused_seconds{class="mint"} 30
cstproxy_budget_refusals_total{class="mint"} 1
cstproxy_budget_limit{class="probe"} +Inf
cstproxy_budget_left{class="probe"} +Inf
cstproxy_redis_up 1
cstproxy_redis_breaker{state="closed"} 0
cstproxy_redis_breaker{state="half_open"} 1
cstproxy_redis_breaker{state="open"} 0
cstproxy_portal_key_valid 0
cstproxy_portal_key_last_success_timestamp_seconds 0
cstproxy_fleet_replicas 3
cstproxy_portal_failures_total{kind="dns"} 0
cstproxy_portal_failures_total{kind="timeout"} 2
`

func TestStatsAreOfTheIntervalAndSinceTheStart(t *testing.T) {
	t.Parallel()
	r := compareReadings(readingAt(t, 0, metricsBefore), readingAt(t, 10, metricsAfter))
	for name, tt := range map[string]struct{ got, want number }{
		"hit ratio":                    {r.Tokens.HitRatio, some(0.96)},
		"hit ratio since the start":    {r.Tokens.HitRatioTotal, some(0.93)},
		"tokens a second":              {r.Tokens.All.PerSecond, some(10)},
		"mints a second":               {r.Mints["absent"].PerSecond, some(0.4)},
		"a counter that began anew":    {r.Errors["portal_timeout"].PerSecond, some(0.2)},
		"uptime":                       {r.Uptime, some(10810)},
		"what nobody tells":            {r.Requests.InFlight, number{}},
		"a latency that nobody tells":  {r.Requests.Latency.P99Total, number{}},
		"a key that never was good":    {r.Portal.KeyLastSuccess, number{}},
		"the budget of who has none":   {r.Budget["probe"].Left, some(math.Inf(1))},
		"who waits where nobody tells": {r.Budget["probe"].Waiting, number{}},
	} {
		if math.Abs(tt.got.value-tt.want.value) > 1e-9 || tt.got.known != tt.want.known {
			t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
		}
	}
	if r.Redis.Breaker != "half_open" || r.Version != "1.2.3" {
		t.Errorf("breaker %q, version %q", r.Redis.Breaker, r.Version)
	}
}

// TestStatsReadAsText shows what people see, and that of what is absent there is no 0.
func TestStatsReadAsText(t *testing.T) {
	t.Parallel()
	const want = `proxy         cstproxy 1.2.3, up 3h0m, replicas 3, 05:00:10
hit ratio     96.00 % now, 93.00 % since the start
tokens        10.0/s now, 200 since the start (cache 186, mint 14)
requests      - in flight, p50 -, p99 - (now -, -)
mints         absent 14 (0.4/s)
errors      ! portal_timeout 2 (0.2/s)
mints left  ! 0 left of 200 a minute, 3 waiting, paused 30s, 1 refused
probes left   no limit left of no limit a minute, - waiting, paused -, - refused
key         ! REFUSED, last accepted -
portal      ! failures: timeout 2 (0.2/s)
redis         up, breaker half_open
`
	var got strings.Builder
	for _, r := range compareReadings(readingAt(t, 0, metricsBefore), readingAt(t, 10, metricsAfter)).rows() {
		mark := " "
		if r.bad {
			mark = "!"
		}
		got.WriteString(plain(r)[:nameWidth-1] + mark + " " + r.text + "\n")
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNumbersOfStatsInJSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal([]number{some(1.5), {}, some(math.Inf(1)), some(math.NaN())})
	if err != nil || string(got) != `[1.5,null,"unlimited",null]` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestRedisThatIsNotUsedIsNotDown(t *testing.T) {
	t.Parallel()
	unused := readingAt(t, 1, "cstproxy_redis_up 0\ncstproxy_redis_breaker{state=\"closed\"} 0\ncstproxy_redis_breaker{state=\"open\"} 0\n")
	if got := compareReadings(unused, unused).redisRow(); got.bad || got.text != "not used, breaker none" {
		t.Errorf("without: %+v", got)
	}
	down := readingAt(t, 1, "cstproxy_redis_up 0\n")
	if got := compareReadings(down, down).redisRow(); !got.bad || got.text != "DOWN, breaker -" {
		t.Errorf("down: %+v", got)
	}
}

func TestMetricsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	r := readingAt(t, 0, "a 1\nb{} 2\nc{x=\"1\"} 3e2\nc{x=\"\\\"},\\\\\\n\",y=\"z\"} +Inf\n\n# TYPE d counter\n")
	want := []sample{
		{"a", map[string]string{}, 1}, {"b", map[string]string{}, 2}, {"c", map[string]string{"x": "1"}, 300},
		{"c", map[string]string{"x": "\"},\\\n", "y": "z"}, math.Inf(1)},
	}
	if diff := cmp.Diff(want, r.series, cmp.AllowUnexported(sample{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []string{"a", "{", " 1", "a{", "a{x", "a{x=", "a{x=\"1", "a{x=\"1\"", "a x", "<html>", "a{x=1} 2"} {
		if _, err := readMetrics([]byte(text), statsBegan); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzNoMetricsBreakTheReading(f *testing.F) {
	for _, seed := range []string{metricsBefore, metricsAfter, "a{x=\"\\", "a{,} 1", "a{x=\"1\"}", "\xff{"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readMetrics([]byte(text), statsBegan)
		if err != nil {
			return
		}
		if _, err := json.Marshal(compareReadings(r, r)); err != nil {
			t.Error(err)
		}
	})
}

func TestQuantilesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	buckets := map[float64]float64{0.1: 50, 0.2: 90, 0.4: 100, inf: 100}
	for name, tt := range map[string]struct {
		q       float64
		buckets map[float64]float64
		want    number
	}{
		"at a bound":                 {0.5, buckets, some(0.1)},
		"within the first":           {0.25, buckets, some(0.05)},
		"within a later one":         {0.7, buckets, some(0.15)},
		"of the last":                {1, buckets, some(0.4)},
		"beyond the last bound":      {0.99, map[float64]float64{0.1: 1, inf: 100}, some(0.1)},
		"of nothing":                 {0.5, map[float64]float64{0.1: 0, inf: 0}, number{}},
		"of no buckets":              {0.5, nil, number{}},
		"of one bucket without ends": {0.5, map[float64]float64{inf: 3}, number{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := quantile(tt.q, tt.buckets); math.Abs(got.value-tt.want.value) > 1e-9 || got.known != tt.want.known {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestALineIsCutToTheScreen(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{-nameWidth: "währung", 7: "währung", 6: "währu…", 1: "…", 0: "", -1: ""} {
		if got := cut("währung", width); got != want {
			t.Errorf("%d: got %q, want %q", width, got, want)
		}
	}
}

func TestColorsAreLeftOutIfSomebodyWantsNone(t *testing.T) {
	t.Parallel()
	for want, environ := range map[string][]string{
		inBold: {}, "mints": {"NO_COLOR=1"}, inBold + "mints": {"NO_COLOR="},
	} {
		if got := (process{environ: environ}).paint()(row{name: "mints"}); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %q", environ, got)
		}
	}
	if got := (process{}).paint()(row{name: "mints", bad: true}); !strings.HasPrefix(got, inRed) {
		t.Errorf("what is bad is %q", got)
	}
	if !(process{environ: []string{"TERM=dumb"}}).isDumb() {
		t.Error("a dumb terminal is taken for another")
	}
}

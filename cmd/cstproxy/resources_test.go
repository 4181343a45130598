package main

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/cstproxy/cstproxy/proxy/portal/portaltest"
)

// TestTheCollectorKeepsToTheMemoryThatThereIs changes the limit of this very process, and puts it back.
func TestTheCollectorKeepsToTheMemoryThatThereIs(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	const gib = 1 << 30
	for name, tt := range map[string]struct {
		limit memlimit.Provider
		want  int64
		said  string
	}{
		"a limit":                {memlimit.Limit(8 * gib), gib / 10 * 72, "memory limited"},
		"a limit that is tiny":   {memlimit.Limit(1 << 20), leastMemory, "memory limited"},
		"no limit":               {func() (uint64, error) { return 0, memlimit.ErrNoLimit }, math.MaxInt64, ""},
		"no telling":             {func() (uint64, error) { return 0, errors.New("no cgroup") }, math.MaxInt64, "no memory limit found"},
		"more than there can be": {memlimit.Limit(math.MaxUint64), math.MaxInt64, ""},
	} {
		t.Run(name, func(t *testing.T) {
			debug.SetMemoryLimit(math.MaxInt64)
			var said bytes.Buffer
			limitMemory(t.Context(), tt.limit, slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})))
			got := debug.SetMemoryLimit(before)
			if math.Abs(float64(got-tt.want)) > 100 {
				t.Errorf("the limit is %d, want %d", got, tt.want)
			}
			if tt.said == "" && said.Len() > 0 || !strings.Contains(said.String(), tt.said) {
				t.Errorf("logged %q, want %q", said.String(), tt.said)
			}
		})
	}
}

func TestALimitOfMemoryThatIsSetStays(t *testing.T) {
	t.Parallel()
	_, environ := simulated(t, portaltest.Options{AnyClient: true})
	c := serve(t, append(environ, "GOMEMLIMIT=300MiB")...)
	if got := c.series()["go_gc_gomemlimit_bytes"]; got != 300<<20 {
		t.Errorf("the limit is %v, want what was set", got)
	}
}

func TestGarbageIsCollectedSoonerWhereThereIsLittleMemory(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ []string
		want    float64
	}{
		"no limit":              {[]string{"GOMEMLIMIT=off"}, 100},
		"much":                  {[]string{"GOMEMLIMIT=134217729"}, 100},
		"little":                {[]string{"GOMEMLIMIT=134217728"}, 50},
		"little, but it is set": {[]string{"GOMEMLIMIT=57MiB", "GOGC=100"}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, environ := simulated(t, portaltest.Options{})
			c := serve(t, append(environ, tt.environ...)...)
			if got := c.series()["go_gc_gogc_percent"]; got != tt.want {
				t.Errorf("the collector waits for %v%% of garbage, want %v%%", got, tt.want)
			}
		})
	}
}

func TestThereAreNoMoreTokensInMemoryThanThereIsMemory(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		most  int
		limit int64
		want  int
	}{
		"no limit":                   {100_000, math.MaxInt64, 100_000},
		"just enough":                {100_000, 100_000 * 2048, 100_000},
		"one too few":                {100_000, 100_000*2048 - 1, 99_999},
		"nine tenths of 64 MiB":      {100_000, 57 << 20, 29_184},
		"fewer than fit":             {1000, 57 << 20, 1000},
		"less than for a single one": {100_000, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said strings.Builder
			got := entries(t.Context(), tt.most, tt.limit, slog.New(slog.NewTextHandler(&said, nil)))
			if got != tt.want {
				t.Errorf("%d entries, want %d", got, tt.want)
			}
			if told := strings.Contains(said.String(), "for want of memory"); told != (got < tt.most) {
				t.Errorf("of %d entries where %d were set the log says %q", got, tt.most, said.String())
			}
		})
	}
}

func TestThereAreNoMoreConnectionsThanFiles(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ most, files, want int }{
		"plenty":           {10_000, 1_048_576, 10_000},
		"just enough":      {1000, 1512, 1000},
		"one too few":      {1000, 1511, 999},
		"what is common":   {10_000, 1024, 512},
		"next to none":     {10_000, 100, 50},
		"there is no word": {10_000, 0, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := fitting(tt.most, tt.files); got != tt.want {
				t.Errorf("%d connections, want %d", got, tt.want)
			}
		})
	}
}

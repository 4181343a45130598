package session_test

import (
	"testing"
	"time"

	"github.com/cstproxy/cstproxy/proxy/session"
	"github.com/cstproxy/cstproxy/proxy/session/sessiontest"
)

// verdicts are the decisions that a fetch may meet, by how old the token is.
var verdicts = map[string]struct {
	age  time.Duration
	none bool
	need session.Need
	want session.Action
}{
	"serve":            {age: 10 * time.Minute, want: session.Serve},
	"serve-and-extend": {age: 13 * hour, want: session.ServeAndExtend},
	"refresh":          {age: hour, need: explicit(day - time.Minute), want: session.Refresh},
	"mint-idle":        {age: 2 * day, want: session.Mint},
	"mint-absent":      {none: true, want: session.Mint},
}

// verdict returns what decides a case again and again, and fails the test for another decision than the case is about.
func verdict(tb testing.TB, name string) func() {
	tb.Helper()
	c, life := verdicts[name], portal()
	token, now := sessiontest.NewToken("cm0r6nkek00ej10dwwx8wdjmf", monday), monday.Add(c.age)
	if c.none {
		token = session.Token{}
	}
	return func() {
		if got := life.Decide(token, now, c.need).Action; got != c.want {
			tb.Fatalf("%v, want %v", got, c.want)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, name := range []string{"serve", "serve-and-extend", "refresh", "mint-idle", "mint-absent"} {
		b.Run(name, func(b *testing.B) {
			decide := verdict(b, name)
			b.ReportAllocs()
			for b.Loop() {
				decide()
			}
		})
	}
}

func TestDecisionAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("SKIPPED: the race detector allocates too")
	}
	for name := range verdicts {
		t.Run(name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, verdict(t, name)); got != 0 {
				t.Errorf("%g allocations, want none", got)
			}
		})
	}
}

package cache

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// wantRolling wants no window of per with more than requests moments in it.
func wantRolling(t fataler, left []time.Time, requests int, per time.Duration) {
	t.Helper()
	slices.SortFunc(left, time.Time.Compare)
	for i := range max(len(left)-requests, 0) {
		if span := left[i+requests].Sub(left[i]); span < per {
			t.Errorf("%d requests left within %s, want %d in %s at most", requests+1, span, requests, per)
		}
	}
}

func TestTurnsBoundEveryWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		requests := rapid.IntRange(1, 20).Draw(t, "requests")
		turns, now := newTurns(requests, time.Minute), monday
		var left []time.Time
		for i := range rapid.IntRange(1, 200).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "passed")) * time.Millisecond)
			if rapid.IntRange(0, 30).Draw(t, "paused") == 0 {
				turns.pause(now, pause{wait: time.Duration(rapid.IntRange(0, 3).Draw(t, "wait")) * time.Second})
			}
			patience := time.Duration(rapid.IntRange(0, 90).Draw(t, "patience")) * time.Second
			wait := turns.reserve(now, wish{strconv.Itoa(i), patience, requests})
			if wait < 0 {
				t.Fatalf("a wait of %s", wait)
			}
			if wait <= patience {
				left = append(left, now.Add(wait))
			}
		}
		if !slices.IsSortedFunc(left, time.Time.Compare) {
			t.Error("the turns are not first come, first served")
		}
		wantRolling(t, left, requests, time.Minute)
	})
}

func TestPausesGrowAndARepeatOfTheSameAnswerDoesNotCount(t *testing.T) {
	t.Parallel()
	turns, now := newTurns(1, time.Minute), monday
	for _, seconds := range []int{1, 2, 4, 4, 4} {
		want := time.Duration(seconds) * time.Second
		if got := turns.pause(now, pause{}); got != want {
			t.Errorf("a pause of %s, want %s", got, want)
		}
		if got := turns.pause(now, pause{}); got != 0 {
			t.Errorf("a pause of %s while paused, want none", got)
		}
		now = now.Add(want)
		if got := turns.pausedFor(now); got != 0 {
			t.Errorf("paused for %s after the pause", got)
		}
	}
	if got := turns.pause(now.Add(time.Hour), pause{}); got != firstPause {
		t.Errorf("a pause of %s an hour later, want the first again", got)
	}
}

package main

import (
	"math/rand/v2"
	"testing"
)

func TestMedianRankIsThatOfTheTables(t *testing.T) {
	// The tables of the sign test at 5 %, two-sided: the largest number of signs of one kind that is still significant.
	for n, want := range map[int]int{6: 0, 8: 0, 9: 1, 12: 2, 17: 4, 20: 5, 25: 7, 60: 21, 100: 39} {
		if got := medianRank(n); got != want {
			t.Errorf("of %d values %d are left off, want %d", n, got, want)
		}
	}
	for _, n := range []int{1, 2, 5} {
		if got := medianRank(n); got != 0 {
			t.Errorf("of %d values %d are left off, and that is too few to leave any off", n, got)
		}
	}
}

func TestIntervalHoldsTheTrueMedianNineteenTimesOfTwenty(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const trials, pairs = 2000, 60
	held := 0
	for range trials {
		a, b := make([]float64, pairs), make([]float64, pairs)
		for i := range a {
			drift := 1 + random.Float64() // of the machine: the same for both
			a[i], b[i] = drift*(1+0.2*random.ExpFloat64()), drift*(1+0.2*random.ExpFloat64())
		}
		if r := ratioOf(a, b); r.Low <= 1 && 1 <= r.High {
			held++
		}
	}
	if part := float64(held) / trials; part < 0.94 || part > 0.98 {
		t.Errorf("it held the true median in %.3f of the trials", part)
	}
}

func TestRatioIsOfPairsAndNotOfMedians(t *testing.T) {
	// Each pair has the ratio 2, though the machine was ten times slower in the second half.
	got := ratioOf([]float64{20, 20, 20, 2, 2, 2, 2}, []float64{10, 10, 10, 1, 1, 1, 1})
	if want := (ratio{Median: 2, Low: 2, High: 2}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMedianOfAnEvenNumberIsBetweenTheMiddleTwo(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   float64
	}{
		"nothing": {nil, 0}, "one": {[]float64{3}, 3}, "two": {[]float64{1, 2}, 1.5}, "unsorted": {[]float64{9, 1, 5}, 5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

package main

import (
	"math"
	"slices"
)

// ratio is the median of ratios, and an interval that holds the true one with 95 % confidence. It makes no assumption on how
// they are distributed.
type ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// ratioOf compares pairs, each measured within one round: a[i] to b[i].
func ratioOf(a, b []float64) ratio {
	ratios := make([]float64, 0, len(a))
	for i := range a {
		if b[i] > 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	slices.Sort(ratios)
	if len(ratios) == 0 {
		return ratio{}
	}
	rank := medianRank(len(ratios))
	return ratio{Median: digits(sortedMedian(ratios)), Low: digits(ratios[rank]), High: digits(ratios[len(ratios)-1-rank])}
}

// digits rounds to what is worth keeping.
func digits(v float64) float64 {
	const unit = 10_000
	return math.Round(v*unit) / unit
}

// medianRank returns how many of n sorted values may be left off at either end, so that the true median is between the rest
// with 95 % confidence: each value is above it or below as a coin falls. Below 6 values nothing may.
func medianRank(n int) (rank int) {
	const tail = 0.025
	for below := binomialHalf(n, 0); below <= tail; below += binomialHalf(n, rank) {
		rank++
	}
	return max(0, rank-1)
}

// binomialHalf is the chance of k heads in n tosses.
func binomialHalf(n, k int) float64 {
	all, _ := math.Lgamma(float64(n + 1))
	heads, _ := math.Lgamma(float64(k + 1))
	tails, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(all - heads - tails - float64(n)*math.Ln2)
}

// median returns 0 of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return sortedMedian(slices.Sorted(slices.Values(values)))
}

func sortedMedian(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// medianOf returns the median of values, and the interval that a [ratio] has.
func medianOf(values []float64) ratio {
	ones := slices.Repeat([]float64{1}, len(values))
	return ratioOf(values, ones)
}

// between shows a ratio as the report has it.
func between(r ratio) string {
	return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Median, r.Low, r.High)
}

// shuffle puts all in random order.
func shuffle[T any](all []T) {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // no secret
}

func sum(values []float64) (total float64) {
	for _, value := range values {
		total += value
	}
	return total
}

package main

import (
	"fmt"
	"math"
	"slices"
)

// ratioFigures is the median of the ratios of slices that were taken in the same rounds, and between what it is in 95 of 100
// runs by the order of the ratios.
type ratioFigures struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// ratioOf compares slices of one thing to those of another.
func ratioOf(of, to []float64) ratioFigures {
	ratios := make([]float64, min(len(of), len(to)))
	for i := range ratios {
		ratios[i] = of[i] / to[i]
	}
	return middleOf(ratios)
}

// middleOf returns the median of values, and an interval of it by their order.
func middleOf(values []float64) ratioFigures {
	if len(values) == 0 {
		return ratioFigures{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := float64(len(sorted))
	aside := 0.98 * math.Sqrt(n) // 1.96 standard deviations of the rank of the median
	low := max(0, int(math.Floor(n/2-aside)))
	high := min(len(sorted)-1, int(math.Ceil(n/2+aside)))
	return ratioFigures{Median: middle(sorted), Low: sorted[low], High: sorted[high]}
}

// String is as the report has it.
func (r ratioFigures) String() string {
	return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Median, r.Low, r.High)
}

func sum(values []float64) (total float64) {
	for _, value := range values {
		total += value
	}
	return total
}

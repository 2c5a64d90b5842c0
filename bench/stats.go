package main

import (
	"math"
	"slices"
)

// median of the values; NaN for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	m := len(v) / 2
	if len(v)%2 == 1 {
		return v[m]
	}
	return (v[m-1] + v[m]) / 2
}

// quartiles are the values between which the middle half lies (the nearest ranks); false for fewer than three values.
func quartiles(values []float64) (low, high float64, ok bool) {
	if len(values) < 3 {
		return 0, 0, false
	}
	v := slices.Sorted(slices.Values(values))
	k := (len(v) - 1) / 4
	return v[k], v[len(v)-1-k], true
}

// p90 is the value that nine of ten don't exceed (the nearest rank); NaN for none.
func p90(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return v[(len(v)*9+9)/10-1]
}

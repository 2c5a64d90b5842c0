package main

import (
	"math"
	"testing"
)

func TestMedianAndP90(t *testing.T) {
	t.Parallel()
	ten := []float64{10, 1, 9, 2, 8, 3, 7, 4, 6, 5}
	cases := []struct {
		values      []float64
		median, p90 float64
	}{
		{[]float64{3}, 3, 3},
		{[]float64{3, 1}, 2, 3},
		{[]float64{5, 1, 3}, 3, 5},
		{ten, 5.5, 9},
		{append([]float64{11}, ten...), 6, 10},
	}
	for _, c := range cases {
		if m, p := median(c.values), p90(c.values); m != c.median || p != c.p90 {
			t.Errorf("%v: median %v, p90 %v, want %v, %v", c.values, m, p, c.median, c.p90)
		}
	}
	if !math.IsNaN(median(nil)) || !math.IsNaN(p90(nil)) {
		t.Error("no values have a median")
	}
	for _, c := range []struct {
		values    []float64
		low, high float64
		ok        bool
	}{
		{nil, 0, 0, false},
		{[]float64{2, 1}, 0, 0, false},
		{[]float64{3, 1, 2}, 1, 3, true},
		{[]float64{5, 1, 4, 2, 3}, 2, 4, true},
		{ten, 3, 8, true},
	} {
		if low, high, ok := quartiles(c.values); low != c.low || high != c.high || ok != c.ok {
			t.Errorf("%v: %v–%v %v", c.values, low, high, ok)
		}
	}
	if ten[0] != 10 {
		t.Error("the values were sorted in place")
	}
}

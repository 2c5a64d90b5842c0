package cluster

import (
	"math"
	"slices"
)

// Balance by weights. Connections come between two looks, and the kernel chooses for
// each by chance, with weights that come from the last look. Water is poured into
// vessels of different heights: who has few connections gets what comes next until
// all are level, then everybody gets the same.

const (
	sumOfWeights = 1024
	// A difference of this part of all connections isn't worth sending all of the next
	// ones to one place: should they be a thousand at once, that place had them all.
	gentle = 1.0 / 20
)

// weights says how likely each of the slots should get the next connection. counts
// are the established connections of each, queues those that wait to be accepted,
// arrivals how many are expected until the next look. The sum is at most 1,024 (or
// one for each slot, if they are more), and never are all of them zero.
func weights(counts, queues []int, arrivals float64) []int {
	levels := make([]float64, len(counts))
	total, lowest := 0.0, math.Inf(1)
	for i := range counts {
		levels[i] = float64(counts[i] + queues[i])
		total += levels[i]
		lowest = min(lowest, levels[i])
	}
	// Connections are whole, so slots that differ by one are as level as they can be.
	// Counted as half a difference it still makes up for itself soon, but should there
	// be a sudden rush, the one that lacks one doesn't get all of it.
	for i := range levels {
		levels[i] = max(levels[i], lowest+0.5)
	}
	return scale(pour(levels, max(arrivals, total*gentle, 1)))
}

// trickle leaves nobody without connections, but gives each about a quarter of an equal
// share at least. A program that got stuck with many of them would get no others, and so
// nobody would wait in its queue and nobody see that it stands.
func trickle(weights []int) []int {
	const part = 4
	sum := 0
	for _, w := range weights {
		sum += w
	}
	more := make([]int, len(weights))
	for i, w := range weights {
		more[i] = max(part*len(weights)*w, sum)
	}
	return more
}

// pour is how much of the water each vessel takes.
func pour(levels []float64, water float64) []float64 {
	// The surface rises over one vessel after the other, the lowest first, until it
	// doesn't reach the next: more of them would only lower it no further.
	surface, under := math.Inf(1), 0.0
	for i, l := range slices.Sorted(slices.Values(levels)) {
		under += l
		surface = min(surface, (under+water)/float64(i+1))
	}
	shares := make([]float64, len(levels))
	for i, l := range levels {
		shares[i] = max(0, surface-l)
	}
	return shares
}

// scale makes whole numbers of shares.
func scale(shares []float64) []int {
	sum := 0.0
	for _, s := range shares {
		sum += s
	}
	whole := make([]int, len(shares))
	common := 0
	for i, s := range shares {
		if sum > 0 {
			whole[i] = int(s / sum * sumOfWeights)
		}
		common = divisor(common, whole[i])
	}
	for i := range whole {
		if common > 0 {
			whole[i] /= common // so that equal weights are equal whatever they came from
		} else {
			whole[i] = 1
		}
	}
	return whole
}

// expect is how many connections to expect until the next look, from what was expected
// of the last period and what came in it. More is believed at once, less by and by.
func expect(expected, came float64) float64 {
	return max(came, (3*expected+came)/4)
}

func divisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

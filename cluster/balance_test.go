package cluster

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestWeights(t *testing.T) {
	for _, test := range []struct {
		name           string
		counts, queues []int
		arrivals       float64
		want           []int
	}{
		{"nothing yet", []int{0, 0, 0}, []int{0, 0, 0}, 0, []int{1, 1, 1}},
		{"all the same", []int{9, 9}, []int{0, 0}, 3, []int{1, 1}},
		{"one connection is half a difference", []int{3, 4}, []int{0, 0}, 1, []int{3, 1}},
		{"the fuller one waits", []int{0, 5}, []int{0, 0}, 2, []int{1, 0}},
		{"level first, then the same", []int{0, 6, 6}, []int{0, 0, 0}, 17.5, []int{185, 78, 78}},
		{"queues count", []int{5, 0}, []int{0, 5}, 2, []int{1, 1}},
		{"a queue alone", []int{0, 0}, []int{9, 0}, 1, []int{0, 1}},
		{"a small part of many", []int{490, 510}, []int{0, 0}, 0, []int{237, 104}},
		{"one slot", []int{7}, []int{1}, 1, []int{1}},
		{"no slot", nil, nil, 5, []int{}},
	} {
		got := weights(test.counts, test.queues, test.arrivals)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: weights(%v, %v, %v) = %v, not %v", test.name, test.counts, test.queues, test.arrivals, got, test.want)
		}
	}
}

func TestTrickle(t *testing.T) {
	for _, test := range []struct{ weights, want []int }{
		{[]int{1, 0}, []int{8, 1}},
		{[]int{1, 1, 1}, []int{12, 12, 12}},
		{[]int{1000, 24, 0, 0}, []int{16000, 1024, 1024, 1024}},
		{[]int{7}, []int{28}},
		{nil, []int{}},
	} {
		if got := trickle(test.weights); !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, not %v", test.weights, got, test.want)
		}
	}
}

func TestWeightsAreNeverAllZeroNorLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		n := 1 + rng.IntN(8)
		if rng.IntN(50) == 0 {
			n = 1 + rng.IntN(3000)
		}
		counts, queues := make([]int, n), make([]int, n)
		for i := range counts {
			counts[i], queues[i] = rng.IntN(1<<rng.IntN(20)), rng.IntN(1<<rng.IntN(10))
		}
		got, sum := weights(counts, queues, rng.Float64()*float64(rng.IntN(5000))), 0
		for i, w := range got {
			sum += w
			for j, other := range got {
				if n <= 8 && w > other && counts[i]+queues[i] > counts[j]+queues[j] {
					t.Fatalf("%v and %v: the fuller one of %d and %d is preferred: %v", counts, queues, i, j, got)
				}
			}
		}
		if len(got) != n || sum <= 0 || sum > max(sumOfWeights, n) || slices.Min(got) < 0 {
			t.Fatalf("weights of %d slots: %v, sum %d", n, got, sum)
		}
	}
}

// pick is the kernel's choice.
func pick(rng *rand.Rand, weights []int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	at := rng.IntN(sum)
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	return -1
}

// spread opens connections that stay, so many in each period, with a look between
// the periods, and gives how many each slot has then.
func spread(rng *rand.Rand, start []int, periods []int) []int {
	counts, idle := slices.Clone(start), make([]int, len(start))
	expected := 0.0
	for _, arrivals := range periods {
		w := weights(counts, idle, expected)
		for range arrivals {
			counts[pick(rng, w)]++
		}
		expected = expect(expected, float64(arrivals))
	}
	return counts
}

func difference(counts []int) int { return slices.Max(counts) - slices.Min(counts) }

func TestFewConnectionsThatStayAreEven(t *testing.T) {
	const runs = 10000
	paced := func(_ *rand.Rand, k, looks int) int { return k * looks / 32 }
	anyTime := func(rng *rand.Rand, _, looks int) int { return rng.IntN(looks) }
	for _, test := range []struct {
		name  string
		looks int                                        // in two seconds
		when  func(rng *rand.Rand, k, looks int) (i int) // connection k comes before look i
	}{
		{"one every 62.5 ms, a look every 100 ms", 20, paced},
		{"one every 62.5 ms, a look every 50 ms", 40, paced},
		{"at any time, a look every 50 ms", 40, anyTime},
	} {
		for _, slots := range []int{2, 4} {
			rng := rand.New(rand.NewPCG(uint64(slots), 99))
			worst, uneven := 0, 0
			for range runs {
				periods := make([]int, test.looks)
				for k := range 32 {
					periods[test.when(rng, k, test.looks)]++
				}
				d := difference(spread(rng, make([]int, slots), periods))
				worst = max(worst, d)
				if d > 3 {
					uneven++
				}
			}
			t.Logf("%d slots, %s: %d of %d runs end with a difference above 3, the worst is %d", slots, test.name, uneven, runs, worst)
			if uneven > runs/100 {
				t.Errorf("%d slots, %s: %d of %d runs end with a difference above 3", slots, test.name, uneven, runs)
			}
		}
	}
}

// A rush between two looks finds weights that knew nothing of it. Where the slots were
// level it spreads as chance does, and where they were nearly so nobody gets it all.
func TestARushIsNoHerd(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, test := range []struct {
		start       []int
		least, most float64 // parts of the rush
	}{
		{[]int{0, 0, 0, 0}, 0.25, 0.25},
		{[]int{9, 9, 9, 9}, 0.25, 0.25},
		{[]int{0, 1, 1, 1}, 0.12, 0.63},
		{[]int{7, 8, 8, 7}, 0.10, 0.40},
		{[]int{500, 503, 498, 505}, 0.22, 0.28},
	} {
		for range 200 {
			counts := spread(rng, test.start, []int{1000})
			for i := range counts {
				got := counts[i] - test.start[i]
				if !within(max(got, int(1000*test.most)), 1000, test.most) || !within(min(got, int(1000*test.least)), 1000, test.least) {
					t.Fatalf("a rush of 1000 on %v ended as %v", test.start, counts)
				}
			}
		}
	}
}

// What comes after a rush makes up for how it fell.
func TestWhatComesLaterCorrects(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 200 {
		after := spread(rng, make([]int, 4), []int{200})
		periods := slices.Repeat([]int{4}, 100)
		if d := difference(spread(rng, after, periods)); d > 60 {
			t.Fatalf("%v is still %d apart after 400 more", after, d)
		}
	}
}

func TestANewSlotFillsUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for range 200 {
		counts := spread(rng, []int{40, 0, 40, 40}, slices.Repeat([]int{5}, 20))
		if d := difference(counts); d > 15 {
			t.Fatalf("100 connections later a new slot among those with 40 makes %v", counts)
		}
	}
}

package cluster

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// within says whether got of n tries fits the probability p: 5 standard deviations,
// which chance leaves once in a million times.
func within(got, n int, p float64) bool {
	return math.Abs(float64(got)-float64(n)*p) <= 5*math.Sqrt(float64(n)*p*(1-p))+1
}

func TestRandomProgramPicksByWeight(t *testing.T) {
	many := make([]int, 300)
	for i := range many {
		many[i] = i % 4
	}
	for _, weights := range [][]int{
		{1}, {7}, {1, 1}, {1, 1, 1}, {1, 2}, {0, 1}, {1, 0}, {0, 0, 5, 0}, {1024, 0, 1}, {0, 0, 0},
		{500, 300, 200, 0, 24}, {3, 0, 3}, many, slices.Repeat([]int{5}, 300),
	} {
		const tries = 20000
		rng := rand.New(rand.NewPCG(1, uint64(len(weights))))
		m, p := machine{t: t, random: rng.Uint32}, randomProgram(weights)
		if len(p) > longestProgram {
			t.Fatalf("%d weights: %d instructions", len(weights), len(p))
		}
		counts := make([]int, len(weights))
		for range tries {
			counts[m.run(p)]++
		}
		sum := 0
		for _, w := range weights {
			sum += w
		}
		for i, got := range counts {
			part := 1 / float64(len(weights)) // without any weight all are equal
			if sum > 0 {
				part = float64(weights[i]) / float64(sum)
			}
			if !within(got, tries, part) || part == 0 && got > 0 {
				t.Errorf("weights %v: index %d was picked %d times of %d, its part is %.3f", weights, i, got, tries, part)
			}
		}
	}
}

func TestRandomProgramOfNobodyLeavesItToTheKernel(t *testing.T) {
	if got := (machine{t: t}).run(randomProgram(nil)); got != nobody {
		t.Errorf("an empty group answers %d, not with an index that no group has", got)
	}
	if got := (machine{t: t}).run(sourceProgram([]int{-1, -1})); got != nobody {
		t.Errorf("a group without anybody answers %d, not with an index that no group has", got)
	}
}

func TestTheLargestPrograms(t *testing.T) {
	weights := make([]int, 2047)
	indexes := make([]int, 1000)
	for i := range weights {
		weights[i] = 1 + i%2
	}
	for i := range indexes {
		indexes[i] = i - i%2*1000 // every second place is nobody's
	}
	if n := len(randomProgram(weights)); n > longestProgram {
		t.Errorf("%d weights make %d instructions", len(weights), n)
	}
	if n := len(sourceProgram(indexes)); n > longestProgram {
		t.Errorf("%d places make %d instructions", len(indexes), n)
	}
}

// packetFrom is the IP header of a packet from an address; 4in6 is what a dual-stack
// socket gets from an IPv4 client, which is an IPv4 packet.
func packetFrom(from netip.Addr) []byte {
	from = from.Unmap()
	if from.Is4() {
		return append([]byte{0x45, 11: 0}, append(from.AsSlice(), 127, 0, 0, 1)...)
	}
	return append([]byte{0x60, 7: 0}, append(from.AsSlice(), make([]byte, 16)...)...)
}

// pickOf is the index that a program gives to a client.
func pickOf(t *testing.T, p chooser, from netip.Addr) int {
	return int(machine{t: t, packet: packetFrom(from)}.run(p))
}

// neighbours are n addresses that differ in their last bits only, as the clients of
// one network do.
func neighbours(base string, n int) []netip.Addr {
	first := netip.MustParseAddr(base).AsSlice()
	all := make([]netip.Addr, n)
	for i := range all {
		b := slices.Clone(first)
		tail := b[len(b)-4:]
		binary.BigEndian.PutUint32(tail, binary.BigEndian.Uint32(tail)+uint32(i))
		all[i], _ = netip.AddrFromSlice(b)
	}
	return all
}

func TestSourceProgramSpreadsNeighbours(t *testing.T) {
	for _, base := range []string{"10.0.0.0", "127.0.0.0", "192.168.255.0", "::", "fe80::1", "2001:db8:1:2:3:4:5:0"} {
		for _, n := range []int{2, 3, 4, 7, 16} {
			indexes := make([]int, n)
			for i := range indexes {
				indexes[i] = n - 1 - i
			}
			p, counts := sourceProgram(indexes), make([]int, n)
			clients := neighbours(base, 1000)
			for _, from := range clients {
				counts[pickOf(t, p, from)]++
			}
			for i, got := range counts {
				if !within(got, len(clients), 1/float64(n)) {
					t.Errorf("%s and its neighbours over %d: index %d has %d of %d", base, n, i, got, len(clients))
				}
			}
		}
	}
}

func TestSourceProgramSeesAllOfAnAddress(t *testing.T) {
	p := sourceProgram([]int{0, 1, 2, 3, 4, 5, 6, 7})
	for _, base := range []string{"10.0.0.1", "2001:db8::1"} {
		start := netip.MustParseAddr(base).AsSlice()
		for at := range start {
			seen := map[int]bool{}
			for v := range 64 {
				b := slices.Clone(start)
				b[at] = byte(v)
				from, _ := netip.AddrFromSlice(b)
				seen[pickOf(t, p, from)] = true
			}
			if len(seen) != 8 {
				t.Errorf("byte %d of %s: 64 values lead to %d of 8 indexes", at, base, len(seen))
			}
		}
	}
}

func TestSourceProgramMovesOnlyTheClientsOfWhoIsGone(t *testing.T) {
	before := sourceProgram([]int{0, 1, 2, 3})
	after := sourceProgram([]int{0, 1, -1, 3})
	counts := map[int]int{}
	clients := neighbours("10.1.0.0", 4000)
	for _, from := range clients {
		was, is := pickOf(t, before, from), pickOf(t, after, from)
		switch {
		case was != 2 && is != was:
			t.Fatalf("%s went from %d to %d though 2 is gone", from, was, is)
		case was == 2:
			counts[is]++
		}
	}
	for _, i := range []int{0, 1, 3} {
		if n := counts[0] + counts[1] + counts[3]; counts[2] != 0 || !within(counts[i], n, 1.0/3) {
			t.Errorf("the clients of the one that is gone went to %v", counts)
		}
	}
}

func TestJoinAndLeave(t *testing.T) {
	order := []string{"a", "b", "c"}
	if got := join(order, "d"); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("d joins: %v", got)
	}
	for member, want := range map[string][]string{
		"a": {"c", "b"}, "b": {"a", "c"}, "c": {"a", "b"}, "nobody": {"a", "b", "c"},
	} {
		if got := leave(order, member); !slices.Equal(got, want) {
			t.Errorf("%s leaves: %v, not %v", member, got, want)
		}
	}
	if !slices.Equal(order, []string{"a", "b", "c"}) {
		t.Errorf("the order before is changed: %v", order)
	}
}

package cluster

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// While a socket leaves its group the program has to lead to the same sockets before and
// after the kernel has moved the last one: else connections go to processes that were
// drained and ended.
func TestNobodyIsMisledWhileOneLeaves(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 11))
		var members []*socket
		serving := 0
		for range 2 + rng.IntN(7) {
			k := member("a", rng.IntN(4), uint64(rng.IntN(2)))
			k.slot.app.Balance = Balance(rng.IntN(3))
			if k.served != 0 {
				serving++
			}
			members = append(members, k)
		}
		i := rng.IntN(len(members))
		if members[i].served != 0 { // its process was ended
			members[i].served = 0
			serving--
		}
		last := members[len(members)-1]
		if serving == 0 || serving == 1 && last.served != 0 {
			continue // nobody else could get them meanwhile
		}
		g := &group{members: members}
		if i < len(members)-1 {
			g.moving = last
		}
		p, after := g.spread(), leave(members, members[i])
		m := machine{t: t, random: rng.Uint32, packet: make([]byte, 40)}
		m.packet[0] = 4 << 4
		for range 50 {
			binary.BigEndian.PutUint32(m.packet[12:], rng.Uint32())
			got := int(m.run(p))
			if got >= len(after) || members[got] != after[got] || after[got].served == 0 {
				t.Fatalf("seed %d: index %d of %d when %d leaves", seed, got, len(members), i)
			}
		}
	}
	if on := passOver([]bool{false, true}, 1); !slices.Equal(on, []bool{false, true}) {
		t.Errorf("the only one is left out: %v", on)
	}
}

package cluster

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// How the kernel chooses, for a new connection, among the sockets of an address: a
// small program of classic BPF that every socket of the group shares. It returns
// the index of a member, and an index that there isn't means "as without a program":
// the hash of the connection over all members. Index = order of listen(), kept by
// join and leave, for the kernel doesn't tell it.

// chooser is such a program.
type chooser []unix.SockFilter

// The kernel's limits and names.
const (
	longestProgram = 4096
	nobody         = ^uint32(0) // no group has so many members

	loadRandom = 0xfffff000 + 56    // SKF_AD_OFF + SKF_AD_RANDOM
	loadIP     = 0xfff00000         // SKF_NET_OFF: the IP header, where the program's own offsets begin after that of TCP
	ip4Source  = loadIP + 12        // of an IPv4 header
	ip6Source  = loadIP + 8         // of an IPv6 header, 16 bytes
	ip6Words   = 4                  // of 32 bits, in an address
	hashA      = uint32(0x9e3779b1) // odd, its bits irregular: neighbours end far apart
	hashB      = uint32(0x85ebca6b)
)

// randomProgram picks index i with the probability weights[i]/sum; a weight of 0 is
// never picked. Without any weight above 0 all are equal. At most 2,047 different
// ones fit, and the kernel refuses what is longer.
func randomProgram(weights []int) chooser {
	sum := 0
	for _, w := range weights {
		sum += max(w, 0)
	}
	if sum == 0 {
		weights = slices.Repeat([]int{1}, len(weights))
		sum = len(weights)
	}
	p := chooser{load(unix.BPF_W, loadRandom)}
	if !slices.ContainsFunc(weights, func(w int) bool { return w != weights[0] }) {
		return p.oneOf(len(weights)) // the usual case, and short
	}
	p = p.alu(unix.BPF_MOD, uint32(sum))
	below := 0
	for i, w := range weights {
		if w <= 0 {
			continue
		}
		if below += w; below == sum {
			p = p.answer(uint32(i)) // the last: no question is left
			break
		}
		p = append(p, jump(unix.BPF_JGE, uint32(below), 1, 0))
		p = p.answer(uint32(i))
	}
	return p
}

// sourceProgram gives every address of a client an index of its own out of indexes,
// the same one as long as they are the same. An index below 0 stands for a place that
// nobody has at the moment: its clients, and only they, are spread over the others.
func sourceProgram(indexes []int) chooser {
	var live []uint32
	for _, index := range indexes {
		if index >= 0 {
			live = append(live, uint32(index))
		}
	}
	if len(live) <= 1 {
		return chooser(nil).oneOfThese(live)
	}
	p := hashOfSource()
	if len(live) == len(indexes) {
		return p.alu(unix.BPF_MOD, uint32(len(live))).oneOfThese(live)
	}
	n := uint32(len(indexes))
	p = append(p, store(0)).alu(unix.BPF_MOD, n)
	for place, index := range indexes {
		if index >= 0 {
			p = append(p, jump(unix.BPF_JEQ, uint32(place), 0, 1)).answer(uint32(index))
		}
	}
	// What is left of the hash after the place was taken from it is still spread well.
	p = append(p, loadStored(0)).alu(unix.BPF_DIV, n)
	return p.alu(unix.BPF_MOD, uint32(len(live))).oneOfThese(live)
}

// hashOfSource leaves a hash of the client's address. A dual-stack socket gets
// packets of both kinds, so the packet says which it is.
func hashOfSource() chooser {
	var v6 chooser
	for word := range uint32(ip6Words) {
		v6 = append(v6, load(unix.BPF_W, ip6Source+4*word))
		if word > 0 {
			v6 = append(v6, unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_MEM, K: 0},
				unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_XOR | unix.BPF_X})
		}
		if word < ip6Words-1 {
			v6 = append(v6.scramble(hashA), store(0))
		}
	}
	p := chooser{load(unix.BPF_B, loadIP)}.alu(unix.BPF_RSH, 4)
	p = append(p, jump(unix.BPF_JEQ, 6, 2, 0), load(unix.BPF_W, ip4Source),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(v6))})
	return append(p, v6...).scramble(hashA).scramble(hashB)
}

// scramble multiplies, which moves the low bits up, and folds the high bits down.
func (p chooser) scramble(factor uint32) chooser {
	p = append(p.alu(unix.BPF_MUL, factor), unix.SockFilter{Code: unix.BPF_MISC | unix.BPF_TAX})
	p = p.alu(unix.BPF_RSH, 15)
	return append(p, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_XOR | unix.BPF_X})
}

// oneOf takes any number and answers with an index below n.
func (p chooser) oneOf(n int) chooser {
	if n <= 1 {
		return chooser(nil).oneOfThese(make([]uint32, n))
	}
	return append(p.alu(unix.BPF_MOD, uint32(n)), unix.SockFilter{Code: unix.BPF_RET | unix.BPF_A})
}

// oneOfThese takes the place of an index and answers with the index.
func (p chooser) oneOfThese(indexes []uint32) chooser {
	if len(indexes) == 0 {
		return p.answer(nobody)
	}
	last := len(indexes) - 1
	for place, index := range indexes[:last] {
		p = append(p, jump(unix.BPF_JEQ, uint32(place), 0, 1)).answer(index)
	}
	return p.answer(indexes[last])
}

func (p chooser) alu(op uint16, k uint32) chooser {
	return append(p, unix.SockFilter{Code: unix.BPF_ALU | op | unix.BPF_K, K: k})
}

func (p chooser) answer(index uint32) chooser {
	return append(p, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: index})
}

func load(size uint16, offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | size | unix.BPF_ABS, K: offset}
}

func store(cell uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_ST, K: cell} }

func loadStored(cell uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_MEM, K: cell}
}

func jump(test uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

// attach gives a group its program, in place of the one it has. Any *listening*
// member will do; one that doesn't listen yet could never do so afterwards. It needs
// no privileges.
func attach(fd int, p chooser) error {
	if len(p) == 0 || len(p) > longestProgram {
		return errors.New("the instances behind one address are too many to steer")
	}
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &prog)
}

// join is the order of a group after one more of its sockets listens.
func join[T comparable](order []T, member T) []T {
	return append(slices.Clone(order), member)
}

// leave is the order after a member was closed or shut down: the last one moves into
// its place.
func leave[T comparable](order []T, member T) []T {
	i := slices.Index(order, member)
	if i < 0 {
		return order
	}
	order = slices.Clone(order)
	last := len(order) - 1
	order[i] = order[last]
	return order[:last]
}

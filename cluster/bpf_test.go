package cluster

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// machine is a classic BPF machine as far as steering programs need one. It fails the
// test on an instruction that it doesn't know and on a jump out of the program.
type machine struct {
	t      *testing.T
	random func() uint32
	packet []byte // from the IP header on
}

func (m machine) run(p chooser) uint32 {
	m.t.Helper()
	var a, x uint32
	var cells [16]uint32
	for pc := 0; pc < len(p); pc++ {
		i := p[pc]
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, unix.BPF_LD | unix.BPF_B | unix.BPF_ABS:
			a = m.load(i)
		case unix.BPF_LD | unix.BPF_MEM:
			a = cells[i.K]
		case unix.BPF_LDX | unix.BPF_MEM:
			x = cells[i.K]
		case unix.BPF_ST:
			cells[i.K] = a
		case unix.BPF_MISC | unix.BPF_TAX:
			x = a
		case unix.BPF_ALU | unix.BPF_XOR | unix.BPF_X:
			a ^= x
		case unix.BPF_ALU | unix.BPF_MUL | unix.BPF_K:
			a *= i.K
		case unix.BPF_ALU | unix.BPF_DIV | unix.BPF_K:
			a /= i.K
		case unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K:
			a %= i.K
		case unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K:
			a >>= i.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			pc += branch(i, a == i.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			pc += branch(i, a >= i.K)
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		case unix.BPF_RET | unix.BPF_A:
			return a
		default:
			m.t.Fatalf("instruction %d has the unknown code %#x", pc, i.Code)
		}
	}
	m.t.Fatalf("the program of %d instructions doesn't end", len(p))
	return 0
}

func branch(i unix.SockFilter, yes bool) int {
	if yes {
		return int(i.Jt)
	}
	return int(i.Jf)
}

func (m machine) load(i unix.SockFilter) uint32 {
	if i.K == loadRandom {
		return m.random()
	}
	if i.K < loadIP {
		m.t.Fatalf("load at %#x: neither random nor of the IP header", i.K)
	}
	at := i.K - loadIP
	switch i.Code & (unix.BPF_B | unix.BPF_H) {
	case unix.BPF_B:
		return uint32(m.packet[at])
	case unix.BPF_H:
		return uint32(binary.BigEndian.Uint16(m.packet[at:]))
	}
	return binary.BigEndian.Uint32(m.packet[at:])
}

package cluster

import (
	"encoding/binary"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// judge is what a filter says of a call.
func judge(t *testing.T, program []unix.SockFilter, arch, number uint32, args [4]uint64) uint32 {
	t.Helper()
	data := make([]byte, 64) // struct seccomp_data
	binary.NativeEndian.PutUint32(data, number)
	binary.NativeEndian.PutUint32(data[4:], arch)
	for i, a := range args {
		binary.NativeEndian.PutUint64(data[16+8*i:], a)
	}
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		i := program[pc]
		is := false
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.NativeEndian.Uint32(data[i.K:])
			continue
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			is = a == i.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			is = a >= i.K
		default:
			t.Fatalf("instruction %d has the code %#x", pc, i.Code)
		}
		if is {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	t.Fatal("the program has no end")
	return 0
}

func TestFilter(t *testing.T) {
	const foreign = unix.AUDIT_ARCH_I386
	for _, c := range []struct {
		what       string
		arch       uint32
		number     uint32
		args       [4]uint64
		rich, poor uint32
	}{
		{"bind, IPv4", 0, unix.SYS_BIND, [4]uint64{3, 4096, 16}, retNotify, retNotify},
		{"bind, a huge length", 0, unix.SYS_BIND, [4]uint64{3, 4096, 1<<32 - 1}, retNotify, retNotify},
		{"bind, netlink", 0, unix.SYS_BIND, [4]uint64{3, 4096, 12}, retAllow, retAllow},
		{"bind, of another ABI", foreign, unix.SYS_BIND, [4]uint64{3, 4096, 16}, retAllow, retAllow},
		{"listen", 0, unix.SYS_LISTEN, [4]uint64{3, 5}, retNotify, retNotify},
		{"socket, TCP", 0, unix.SYS_SOCKET, [4]uint64{2, 1, 6}, retAllow, retAllow},
		{"socket, MPTCP", 0, unix.SYS_SOCKET, [4]uint64{2, 1, protoMPTCP}, retProtocol, retProtocol},
		{"setsockopt, IPV6_V6ONLY", 0, unix.SYS_SETSOCKOPT, [4]uint64{3, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, retAllow, retNotify},
		{"setsockopt, another of IPv6", 0, unix.SYS_SETSOCKOPT, [4]uint64{3, unix.IPPROTO_IPV6, 1}, retAllow, retAllow},
		{"setsockopt, another level", 0, unix.SYS_SETSOCKOPT, [4]uint64{3, unix.SOL_SOCKET, unix.IPV6_V6ONLY}, retAllow, retAllow},
		{"read", 0, unix.SYS_READ, [4]uint64{3}, retAllow, retAllow},
	} {
		arch := c.arch
		if arch == 0 {
			arch = unix.AUDIT_ARCH_X86_64
			if runtime.GOARCH == "arm64" {
				arch = unix.AUDIT_ARCH_AARCH64
			}
		}
		for poor, want := range map[bool]uint32{false: c.rich, true: c.poor} {
			if got := judge(t, filterProgram(runtime.GOARCH, poor), arch, c.number, c.args); got != want {
				t.Errorf("%s (poor: %v): %#x, want %#x", c.what, poor, got, want)
			}
		}
	}
}

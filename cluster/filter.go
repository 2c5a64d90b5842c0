package cluster

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter stays with a program and its descendants for their whole life. It sends
// bind and listen to us and lets everything else run at full speed.

// Offsets in struct seccomp_data; of an argument the low half, which is what counts.
const (
	offNumber = 0
	offArch   = 4
	offArg1   = 16 + 1*8
	offArg2   = 16 + 2*8
)

// protoMPTCP is what Go's net.Listen asks for since 1.24. Its sockets refuse a
// steering program; told that there is no such protocol, programs fall back to TCP.
const protoMPTCP = 262

const (
	retAllow    = 0x7fff0000
	retNotify   = 0x7fc00000
	retProtocol = 0x00050000 | uint32(unix.EPROTONOSUPPORT)
)

// filterProgram is the filter for a machine's own calls. Those of another ABI (i386 on
// amd64) are let through: such programs run as in fork mode. Where sockets can't be had
// we want to know of IPV6_V6ONLY, too.
func filterProgram(arch string, poor bool) []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		least = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
	)
	audit := uint32(unix.AUDIT_ARCH_X86_64)
	if arch == "arm64" {
		audit = unix.AUDIT_ARCH_AARCH64
	}
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	jump := func(code uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: code, K: k, Jt: yes, Jf: no}
	}
	setsockopt := uint32(math.MaxUint32) // no call has that number
	if poor {
		setsockopt = unix.SYS_SETSOCKOPT
	}
	return []unix.SockFilter{
		stmt(load, offArch),
		jump(equal, audit, 0, 14),
		stmt(load, offNumber),
		jump(equal, unix.SYS_LISTEN, 11, 0),
		jump(equal, unix.SYS_SOCKET, 4, 0),
		jump(equal, setsockopt, 5, 0),
		jump(equal, unix.SYS_BIND, 0, 9),
		stmt(load, offArg2),                         // bind's addrlen
		jump(least, unix.SizeofSockaddrInet4, 6, 7), // shorter: netlink, which glibc's getaddrinfo binds each time
		stmt(load, offArg2),                         // socket's protocol
		jump(equal, protoMPTCP, 6, 5),
		stmt(load, offArg1), // setsockopt's level
		jump(equal, unix.IPPROTO_IPV6, 0, 3),
		stmt(load, offArg2), // and option
		jump(equal, unix.IPV6_V6ONLY, 0, 1),
		stmt(ret, retNotify),
		stmt(ret, retAllow),
		stmt(ret, retProtocol),
	}
}

// Flags of SECCOMP_SET_MODE_FILTER.
const (
	newListener      = 1 << 3
	specAllow        = 1 << 2 // no slower branch prediction for the program's whole life, as filters bring it before Linux 5.16
	waitKillableRecv = 1 << 5 // Linux 5.19: a signal with a handler doesn't take back a call that we have received
)

// confine installs the filter on the calling thread, whose children inherit it, and
// returns the descriptor that notifies. Without CAP_SYS_ADMIN the kernel wants
// no_new_privs set first, which the program inherits, too.
func confine(poor bool) (fd int, noNewPrivs bool, err error) {
	program := filterProgram(runtime.GOARCH, poor)
	fd, err = installFilter(program)
	if err == unix.EACCES {
		if err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return -1, false, fmt.Errorf("cannot set no_new_privs: %w", err)
		}
		fd, err = installFilter(program)
	}
	set, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) // it may have been set before
	return fd, set == 1, err
}

func installFilter(program []unix.SockFilter) (int, error) {
	const setModeFilter = 1
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	for _, flags := range []uintptr{newListener | specAllow | waitKillableRecv, newListener | specAllow, newListener} {
		fd, _, e := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, flags, uintptr(unsafe.Pointer(&p)))
		if e == 0 {
			return int(fd), nil
		}
		if e != unix.EINVAL {
			return -1, e
		}
	}
	return -1, unix.EINVAL
}

// refusal says why a program can't be clustered, and what helps.
func refusal(err error) string {
	switch err {
	case unix.EBUSY:
		return "gopm itself runs inside a clustered app of another gopm, and system calls can be watched by one only: run this gopm outside of it, or that app with exec_mode: fork"
	case unix.EPERM, unix.EACCES:
		return fmt.Sprintf("the container forbids the seccomp call (%v): allow it (Docker's default profile does), or run with --security-opt seccomp=unconfined", err)
	case unix.ENOSYS, unix.EINVAL:
		return fmt.Sprintf("the kernel has no seccomp user notification (%v), which there is since Linux 5.0; clusters need 5.9", err)
	}
	return fmt.Sprintf("cannot watch its system calls: %v", err)
}

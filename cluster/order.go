package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel doesn't tell the order of a group. It can be found out without any program
// noticing: all sockets of the group are told to drop packets that have come through as
// many routers as they may, the group is told to give what comes from a port of ours to
// one index, we begin to connect from that port with a packet that may come through
// none, and look whose count of dropped packets has grown. (A filter that drops would
// need privileges.)

// probeWait is for a machine with other things to do; a packet to ourselves takes less
// than a tenth of a millisecond.
const probeWait = 200 * time.Millisecond

// probeHops is the hop count of the probe: nothing from another machine comes with it,
// but from one that says that it is meant for a neighbour only.
const probeHops = 1

var errUnclear = errors.New("the kernel doesn't show which socket got the probe")

// kernelOrder is the sockets of a group by their index. Meanwhile, and until another
// program is attached, the kernel spreads connections over all of them.
func kernelOrder(a address, fds []int) (order []int, err error) {
	from, err := newProbe(a)
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		least, err := unix.GetsockoptInt(fd, from.level, from.least)
		if err == nil && least > probeHops {
			continue // it drops such packets anyway
		}
		if err := unix.SetsockoptInt(fd, from.level, from.least, probeHops+1); err != nil {
			return nil, err
		}
		defer func() { _ = unix.SetsockoptInt(fd, from.level, from.least, least) }() // it could be set
	}
	for i := range fds {
		if err := attach(fds[0], from.chooses(uint32(i))); err != nil {
			return nil, err
		}
		fd, err := from.hits(fds)
		if err != nil || slices.Contains(order, fd) {
			return nil, errors.Join(err, errUnclear)
		}
		order = append(order, fd)
	}
	return order, attach(fds[0], from.chooses(nobody))
}

// probe is who begins to connect.
type probe struct {
	to     unix.Sockaddr
	family int
	source unix.Sockaddr
	port   uint16

	level, hops, least int // the options of the hop count: that of what is sent, and the least that is taken
}

// newProbe finds a port that nobody connects from.
func newProbe(a address) (p probe, err error) {
	ip := a.ip
	switch { // what takes both is asked by IPv4, which every machine has
	case ip.IsUnspecified() && ip.Is6() && a.only:
		ip = netip.IPv6Loopback()
	case ip.IsUnspecified():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case ip.Is4In6():
		ip = ip.Unmap()
	}
	p.family, p.level, p.hops, p.least = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_MINHOPCOUNT
	if ip.Is4() {
		p.family, p.level, p.hops, p.least = unix.AF_INET, unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL
	}
	p.to, p.source = endpoint(ip, a.port), endpoint(ip, 0)
	fd, err := p.open()
	if err != nil {
		return p, err
	}
	defer unix.Close(fd)
	if p.port = boundPort(fd); p.port == 0 {
		return p, fmt.Errorf("no port is free to connect to %s from", a)
	}
	p.source = endpoint(ip, p.port)
	return p, nil
}

func endpoint(ip netip.Addr, port uint16) unix.Sockaddr {
	if ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: int(port)}
	}
	sa := &unix.SockaddrInet6{Addr: ip.As16(), Port: int(port)}
	_, _ = fmt.Sscan(ip.Zone(), &sa.ZoneId) // ours are numbers
	return sa
}

func (p probe) open() (fd int, err error) {
	if fd, err = unix.Socket(p.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP); err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, p.level, p.hops, probeHops)
	if err == nil {
		err = unix.Bind(fd, p.source)
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// hits begins to connect and gives up at once.
func (p probe) hits(fds []int) (who int, err error) {
	before := dropped(fds)
	fd, err := p.open()
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, p.to); err != unix.EINPROGRESS {
		return -1, errors.Join(err, errUnclear)
	}
	for deadline := time.Now().Add(probeWait); time.Now().Before(deadline); {
		who = -1
		for i, n := range dropped(fds) {
			switch {
			case n == before[i]:
			case who >= 0: // something else was dropped, too
				return -1, errUnclear
			default:
				who = fds[i]
			}
		}
		if who >= 0 {
			return who, nil
		}
	}
	return -1, errUnclear
}

// chooses steers what comes from our port to one index, and leaves the rest alone.
func (p probe) chooses(index uint32) chooser {
	header := uint32(20)
	if p.family == unix.AF_INET6 {
		header = 40
	}
	return chooser{
		load(unix.BPF_H, loadIP+header),
		jump(unix.BPF_JEQ, uint32(p.port), 0, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: index},
		{Code: unix.BPF_RET | unix.BPF_K, K: nobody},
	}
}

// dropped is how many packets each socket hasn't taken.
func dropped(fds []int) []uint32 {
	const drops = 8 // SK_MEMINFO_DROPS
	counts := make([]uint32, len(fds))
	for i, fd := range fds {
		var info [9]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if e == 0 {
			counts[i] = info[drops]
		}
	}
	return counts
}

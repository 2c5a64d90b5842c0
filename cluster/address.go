package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// address is what sockets have to have in common to share connections.
type address struct {
	ip   netip.Addr // its zone is the number of an interface
	port uint16
	only bool // IPv6 alone; else [::] takes IPv4, too
}

func (a address) String() string { return netip.AddrPortFrom(a.ip, a.port).String() }

// key names an address where the keeper has it.
func (a address) key() string {
	if a.only {
		return a.String() + "/only"
	}
	return a.String()
}

func parseKey(key string) (address, error) {
	text, only := strings.CutSuffix(key, "/only")
	ap, err := netip.ParseAddrPort(text)
	return address{ap.Addr(), ap.Port(), only}, err
}

// overlaps says that a connection could be meant for both.
func (a address) overlaps(b address) bool {
	if a.port != b.port {
		return false
	}
	a.ip, b.ip = a.ip.Unmap(), b.ip.Unmap() // Java binds ::ffff:127.0.0.1 for 127.0.0.1
	if a.ip == b.ip {
		return true
	}
	covers := func(x, y address) bool {
		switch {
		case !x.ip.IsUnspecified():
			return false
		case x.ip.Is4() == y.ip.Is4():
			return true
		}
		return x.ip.Is6() && !x.only || y.ip.IsUnspecified() && !y.only && y.ip.Is6()
	}
	return covers(a, b) || covers(b, a)
}

var errOtherFamily = errors.New("not an internet address")

// parseSockaddr reads a sockaddr_in or sockaddr_in6 as a program passed it.
func parseSockaddr(b []byte) (ip netip.Addr, port uint16, err error) {
	if len(b) < unix.SizeofSockaddrInet4 {
		return ip, 0, errOtherFamily
	}
	port = binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[4:8])), port, nil
	case unix.AF_INET6:
		if len(b) < unix.SizeofSockaddrInet6 {
			return ip, 0, errOtherFamily
		}
		ip = netip.AddrFrom16([16]byte(b[8:24]))
		if zone := binary.NativeEndian.Uint32(b[24:]); zone != 0 {
			ip = ip.WithZone(strconv.Itoa(int(zone)))
		}
		return ip, port, nil
	}
	return ip, 0, errOtherFamily
}

// bindTo binds a socket to an address as a program passed it.
func bindTo(fd int, sockaddr []byte) error {
	_, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sockaddr[0])), uintptr(len(sockaddr)))
	if e != 0 {
		return e
	}
	return nil
}

// boundPort is 0 for a socket that isn't bound.
func boundPort(fd int) uint16 {
	sa, _ := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port)
	case *unix.SockaddrInet6:
		return uint16(sa.Port)
	}
	return 0
}

// cookie is the kernel's number of a socket, the same through every duplicate.
func cookie(fd int) uint64 {
	v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0 // since Linux 4.6; nothing has that number
	}
	return v
}

// inode is what /proc and sock_diag call a socket.
func inode(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// firstFreePort is the lowest port that everybody may bind.
func firstFreePort() uint16 {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	n, bad := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 16)
	if err != nil || bad != nil {
		return 1024
	}
	return uint16(n)
}

// ownNetwork is the number of the network namespace that we are in; 0: the kernel
// doesn't say (before Linux 5.14).
func ownNetwork() uint64 {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	return network(fd)
}

func network(fd int) uint64 {
	v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return v
}

// foreign says that a socket is of another network, or of one interface only: it can't
// be one of a group.
func foreign(fd int, ours uint64) bool {
	device, _ := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	return network(fd) != ours || device != ""
}

// asErrno is the number of an error of a system call.
func asErrno(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}

// named is for messages.
func named(app App, index int) string { return fmt.Sprintf("%s:%d", app.Name, index) }

package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Where a program's socket can't be had (a container forbids pidfd_getfd, the kernel is
// older than 5.6, or the program doesn't let itself be looked into), a fresh one of ours
// takes its place at bind. What can be seen from outside is carried over.

// canTake says whether descriptors of other processes can be had here at all.
func canTake() bool {
	fd, err := takeFD(os.Getpid(), 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil || err == unix.EBADF
}

// without says what a program's socket can't be had without.
func without(err error) string {
	if err == unix.ENOSYS {
		return "the kernel has no pidfd_getfd (that needs Linux 5.6)"
	}
	return fmt.Sprintf("pidfd_getfd is refused (%v): in a container allow it (--cap-add SYS_PTRACE, or a seccomp profile that has it)", err)
}

// imagine fills in what can be seen of a caller's socket from outside, and for a bind
// makes a socket like it. One that stays as it is has no kind.
func (t *tenant) imagine(n *notification, c *call) {
	link, err := os.Readlink(fdPath(c.pid, int(n.args[0])))
	if err != nil {
		t.slot.fail(hiding(c.pid, errors.Unwrap(err)))
		return
	}
	number, is := socketInode([]byte(link))
	family := familyOf(c.pid, int(n.args[0]))
	if !is || family == 0 || !sameNetwork(c.pid) {
		return
	}
	c.inode = uint64(number)
	if c.listen {
		c.kind = unix.SOCK_STREAM
		return
	}
	if c.sockaddr == nil && !t.suppose(c, family) || int(binary.NativeEndian.Uint16(c.sockaddr)) != family {
		return
	}
	flags := descriptorFlags(c.pid, int(n.args[0]))
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags&unix.O_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // as servers do; it can't fail
	if only, known := t.recall(c.inode); known && family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only) // it can't fail before bind
	}
	c.fd, c.kind, c.shared = fd, unix.SOCK_STREAM, true
	t.noteLent(c.refused)
}

// hiding says why a program can't be looked into, and what helps: even root needs a
// capability for those of others, which containers mostly don't give it.
func hiding(pid int, err error) string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	its, _, _ := strings.Cut(string(statusField(status, "Uid:")), "\t")
	if its != "" && its != strconv.Itoa(os.Getuid()) {
		return fmt.Sprintf("a program of another user can't be looked into (%v): gopm needs CAP_SYS_PTRACE for that (in a container --cap-add SYS_PTRACE), or has to run as that user itself (USER in a Dockerfile) instead of giving the app a uid", err)
	}
	return fmt.Sprintf("the program doesn't let itself be looked into (%v): run gopm as root, or let it be dumpable (prctl PR_SET_DUMPABLE, a program file that can be read)", err)
}

// noteLent notes that a program has a socket of ours, and says so of the first one.
func (t *tenant) noteLent(refused error) {
	const lacks = "options that a program sets before bind are lost, and idle connections can't be ended from outside"
	h := t.slot.h
	h.mu.Lock()
	t.lent = "a socket of gopm's, for the program's own can't be had: " + lacks + "; " + without(refused)
	h.mu.Unlock()
	h.poorly.Do(func() {
		h.opts.Log("%s: sockets of programs can't be had, so they are given sockets of gopm's: %s; %s", named(t.slot.app, t.slot.index), lacks, without(refused))
	})
}

// suppose takes the one port that the app's configuration names for that of a bind whose
// address can't be read.
func (t *tenant) suppose(c *call, family int) bool {
	t.slot.h.mu.Lock()
	ports := t.slot.app.Named
	t.slot.h.mu.Unlock()
	if len(ports) != 1 {
		t.slot.fail(fmt.Sprintf("neither the address that the program binds nor its socket can be had (%v): name its one port (port or cluster_ports), or let gopm look into it (run it as root; in a container --cap-add SYS_PTRACE)", c.refused))
		return false
	}
	c.port, c.ip = uint16(ports[0]), netip.IPv4Unspecified()
	size := unix.SizeofSockaddrInet4
	if family == unix.AF_INET6 {
		c.ip, size = netip.IPv6Unspecified(), unix.SizeofSockaddrInet6
	}
	c.sockaddr = make([]byte, size)
	binary.NativeEndian.PutUint16(c.sockaddr, uint16(family))
	binary.BigEndian.PutUint16(c.sockaddr[2:], c.port)
	return true
}

func fdPath(pid, fd int) string { return fmt.Sprintf("/proc/%d/fd/%d", pid, fd) }

// familyOf is that of another process's TCP socket; 0: it is none. The kernel names
// the protocol of a socket as an attribute of its file.
func familyOf(pid, fd int) int {
	name := make([]byte, 32)
	n, err := unix.Getxattr(fdPath(pid, fd), "system.sockprotoname", name)
	if err != nil {
		return 0
	}
	switch strings.TrimRight(string(name[:n]), "\x00") {
	case "TCP":
		return unix.AF_INET
	case "TCPv6":
		return unix.AF_INET6
	}
	return 0
}

func sameNetwork(pid int) bool {
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	ours, bad := os.Readlink("/proc/self/ns/net")
	return err == nil && bad == nil && its == ours
}

// ---- IPV6_V6ONLY can be seen only when it is set

// mostOnly bounds what is remembered of a program that sets it without end.
const mostOnly = 1000

// noteOnly notes that a program sets IPV6_V6ONLY, and lets it.
func (t *tenant) noteOnly(n *notification) {
	pid, err := processOf(int(n.tid))
	if err != nil {
		return
	}
	value, err := t.slot.h.read(int(n.tid), n.args[3], 4)
	link, bad := os.Readlink(fdPath(pid, int(n.args[0])))
	number, is := socketInode([]byte(link))
	if err != nil || bad != nil || !is || !t.calls.valid(n.id) {
		return
	}
	if len(t.only) >= mostOnly || t.only == nil {
		t.only = map[uint64]int{}
	}
	t.only[uint64(number)] = int(binary.NativeEndian.Uint32(value))
}

// recall is what a program has set for a socket.
func (t *tenant) recall(inode uint64) (only int, known bool) {
	only, known = t.only[inode]
	delete(t.only, inode)
	return only, known
}

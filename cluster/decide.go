package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// call is what a caller has in its hands: a socket, and for bind an address. It is
// gathered without the mutex, for a hostile program can make that slow.
type call struct {
	listen   bool
	backlog  int
	sockaddr []byte
	ip       netip.Addr
	port     uint16
	pid      int
	fd       int    // our duplicate of the socket, or one like it; -1: none
	apart    bool   // it is one like it: the caller's can't be had
	inode    uint64 // of the caller's then
	kind     int    // SOCK_STREAM, SOCK_DGRAM; 0: nothing of ours
	strange  bool   // a stranger listened there
	low      bool   // it may bind privileged ports
	manner
	refused error // why its socket could not be had
	again   bool  // an earlier daemon has begun to work on it, and may have got anywhere
}

// manner is how the program wants its socket.
type manner struct {
	shared   bool // it has set SO_REUSEPORT itself
	cloexec  bool
	nonblock bool
}

func (c *call) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
}

// look gathers a call. One that isn't ours has no kind.
func (t *tenant) look(n *notification) *call {
	c := &call{listen: n.number == unix.SYS_LISTEN, backlog: int(int32(n.args[1])), fd: -1}
	if !c.listen {
		length := min(n.args[2], unix.SizeofSockaddrInet6)
		var err error
		c.sockaddr, err = t.slot.h.read(int(n.tid), n.args[1], int(length))
		switch {
		case denied(err):
			c.sockaddr, c.refused = nil, err
		case err != nil:
			return c
		default:
			if c.ip, c.port, err = parseSockaddr(c.sockaddr); err != nil || c.port == 0 {
				return c
			}
		}
	}
	var err error
	if c.pid, err = processOf(int(n.tid)); err != nil {
		return c
	}
	if !c.listen {
		flags := descriptorFlags(c.pid, int(n.args[0]))
		c.cloexec, c.nonblock = flags&unix.O_CLOEXEC != 0, flags&unix.O_NONBLOCK != 0
	}
	if c.fd, err = takeFD(c.pid, int(n.args[0])); err != nil || !c.listen && c.sockaddr == nil {
		t.lookFromOutside(n, c, err)
		return c
	}
	c.kind = kindOf(c.fd)
	if foreign(c.fd, t.slot.h.netns) { // one more reason: addresses mean something else there
		c.kind = 0
	}
	if !c.listen {
		set, _ := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
		c.shared, c.low = set != 0, c.port < t.slot.h.low && mayBindLow(int(n.tid))
	}
	if !t.calls.valid(n.id) { // whatever we have looked at was somebody else's
		c.kind = 0
	}
	return c
}

// lookFromOutside is for a socket that can't be had, or whose address can't be read.
func (t *tenant) lookFromOutside(n *notification, c *call, err error) {
	c.close()
	c.fd = -1
	if err != nil && !denied(err) { // a wrong descriptor, or the caller is dead
		return
	}
	if err != nil {
		c.refused = err
	}
	c.apart = true
	t.imagine(n, c)
	c.low = c.port < t.slot.h.low && mayBindLow(int(n.tid))
	if !t.calls.valid(n.id) { // whatever we have looked at was somebody else's
		c.kind = 0
	}
}

// kindOf is the type of a TCP or UDP socket; 0: another.
func kindOf(fd int) int {
	kind, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	protocol, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if protocol != unix.IPPROTO_TCP && protocol != unix.IPPROTO_UDP {
		return 0
	}
	return kind
}

// decide carries out what is to be done with a call, but for its answer.
func (t *tenant) decide(n *notification, c *call) verdict {
	switch {
	case c.listen && c.kind == unix.SOCK_STREAM:
		return t.onListen(c)
	case c.kind == unix.SOCK_STREAM:
		return t.onBind(n, c)
	case c.kind == unix.SOCK_DGRAM && !c.listen:
		// Instances share a port by the kernel's hash; datagrams are held for nobody. A
		// spare, which wouldn't read any, waits before it gets some.
		if t.wants(c.port) {
			if v, waits := t.wait(n, c); waits {
				return v
			}
			_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) // an error: then bind tells
		}
	}
	return asItIs
}

// wants says whether the app's port is to be clustered.
func (t *tenant) wants(port uint16) bool {
	t.slot.h.mu.Lock()
	defer t.slot.h.mu.Unlock()
	ports := t.slot.app.Ports
	return ports == nil || slices.Contains(ports, int(port))
}

func (t *tenant) onBind(n *notification, c *call) verdict {
	if !t.wants(c.port) {
		return asItIs
	}
	a := address{ip: c.ip, port: c.port}
	if c.ip.Is6() {
		only, _ := unix.GetsockoptInt(c.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		a.only = only != 0
	}
	twice := !c.shared && !c.again && t.hasOpen(a, c.pid)
	c.strange = !twice && !c.shared && !c.again && t.isStrangers(a)
	s := t.slot
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	switch {
	case s.closed:
		return verdict{errno: unix.EADDRNOTAVAIL}
	case s.standby && !s.app.Told:
		if v := t.mayHave(a, c); v.errno != 0 {
			return v
		}
		if v := t.tryOut(a, c); v.errno != 0 {
			return v
		}
		return t.park(n, c)
	case twice: // what it would be told without us
		return verdict{errno: unix.EADDRINUSE}
	}
	if v := t.mayHave(a, c); v.errno != 0 {
		return v
	}
	if k := s.at(a); k != nil {
		_ = unix.SetNonblock(k.fd, c.nonblock) // as the program has made its own
		return t.lend(k)
	}
	return t.keep(a, c)
}

// mayHave says why an address is not for this program, if it isn't.
func (t *tenant) mayHave(a address, c *call) verdict {
	s := t.slot
	if c.port < s.h.low && !c.low && !slices.Contains(s.app.Named, int(c.port)) {
		if !mayBindLow(os.Getpid()) {
			return verdict{errno: unix.EACCES, why: s.h.tooLow(a)}
		}
		return verdict{errno: unix.EACCES, why: fmt.Sprintf("port %d is below %d, and the program may not have it: name it in cluster_ports (or port), then gopm lends it", a.port, s.h.low)}
	}
	if s.at(a) != nil {
		return verdict{}
	}
	if o := s.h.other(s, a, false); o != nil {
		return verdict{errno: unix.EADDRINUSE, why: o.owns(a)}
	}
	if c.strange && !s.h.overlapped(a) { // else it was one of ours that has just begun to
		return verdict{errno: unix.EADDRINUSE, taken: a}
	}
	return verdict{}
}

// tooLow is for a port that gopm can't lend.
func (h *Host) tooLow(a address) string {
	return fmt.Sprintf("port %d is below %d, and gopm itself may not have it: run gopm as root or with CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start", a.port, h.low)
}

// hasOpen says whether the program, or a process that it has started, has a socket of
// its own open that is in the way: of the same address, or listening for the same
// connections.
func (t *tenant) hasOpen(a address, pid int) bool {
	s := t.slot
	s.h.mu.Lock()
	var inTheWay []uint64
	for _, k := range s.sockets {
		if t.bound[k] && (k.address == a || k.listening && k.address.overlaps(a)) {
			inTheWay = append(inTheWay, k.inode)
		}
	}
	first := s.state.Pid
	s.h.mu.Unlock()
	if len(inTheWay) == 0 {
		return false
	}
	return slices.ContainsFunc(inTheWay, proc.owners([]int{pid}).has) ||
		first != 0 && slices.ContainsFunc(inTheWay, proc.owners(proc.tree(first)).has)
}

// lend gives the caller the socket that the slot has for the address.
func (t *tenant) lend(k *socket) verdict {
	fd, err := unix.FcntlInt(uintptr(k.fd), unix.F_DUPFD_CLOEXEC, 0) // for after the mutex
	if err != nil {
		return verdict{errno: asErrno(err)}
	}
	t.bound[k] = true
	k.lent++
	return verdict{install: fd}
}

// mostSockets is how many a slot may have: each is a descriptor of ours and the keeper's.
const mostSockets = 256

// keep makes the caller's socket the slot's. We bind it ourselves, to what was read: so
// the outcome is known, and a program that changes the address meanwhile gains nothing.
func (t *tenant) keep(a address, c *call) verdict {
	s := t.slot
	if len(s.sockets) >= mostSockets {
		return verdict{proceed: true, why: fmt.Sprintf("it has bound %d addresses: further ones are not shared", mostSockets)}
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return asItIs
	}
	if err := bindTo(c.fd, c.sockaddr); err != nil && !(c.again && boundPort(c.fd) == a.port) {
		return t.refuse(a, c, asErrno(err))
	}
	k := &socket{address: a, fd: c.fd, cookie: cookie(c.fd), inode: inode(c.fd)}
	c.fd = -1
	t.bound[k] = true
	s.add(k)
	if c.apart {
		return t.lend(k)
	}
	return verdict{}
}

// refuse is for an address that the kernel doesn't let us have.
func (t *tenant) refuse(a address, c *call, errno syscall.Errno) verdict {
	s := t.slot
	v := verdict{errno: errno}
	o := s.h.other(s, a, true)
	switch {
	case errno == unix.EACCES && c.low: // it can do what we can't
		return asItIs
	case errno == unix.EACCES:
		v.why = s.h.tooLow(a)
	case errno == unix.EADDRINUSE && o != nil:
		v.why = fmt.Sprintf("port %d is the app %s's, which runs as another user: the kernel lets only processes of one user share a port", a.port, o.app.Name)
	case errno == unix.EADDRINUSE:
		v.taken = a
	}
	return v
}

// onListen is the moment at which a program is ready. We listen ourselves, so that the
// order of the group is known, and with a queue that is long enough for a restart.
func (t *tenant) onListen(c *call) verdict {
	s := t.slot
	number := cookie(c.fd)
	s.h.mu.Lock()
	i := slices.IndexFunc(s.sockets, func(k *socket) bool { return k.cookie == number && !c.apart || c.apart && k.inode == c.inode })
	v := asItIs
	if i >= 0 && boundPort(s.sockets[i].fd) != 0 { // else listen would pick a port
		v = t.listenOn(s.sockets[i], c.backlog)
	}
	first := !t.ready && v.errno == 0 && (!s.standby || s.app.Told)
	t.ready = t.ready || first
	if v.errno == 0 {
		s.refusal = ""
	}
	if first && s.tenant() == t {
		s.unhold()
		s.ended = false
	}
	s.h.mu.Unlock()
	if first || i >= 0 && v.errno == 0 {
		s.h.opts.Changed(s)
	}
	return v
}

func (t *tenant) listenOn(k *socket, backlog int) verdict {
	h := k.slot.h
	if err := h.listen(k, max(backlog, k.slot.app.Backlog)); err != nil {
		return verdict{errno: asErrno(err)}
	}
	k.served = t.inc
	h.steer(h.groups[k.address])
	k.slot.recheck(t)
	return verdict{}
}

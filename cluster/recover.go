package cluster

import (
	"errors"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// When the keeper has died with the daemon nobody has what it had. Sockets on which a
// process listens are had from the process; those that only gopm had are closed, and
// what asks to bind gets ENOSYS, for nobody can be notified any more.

// Survivor is a process that runs, and what it was in its cluster. The last two matter
// only where programs are told.
type Survivor struct {
	Inc    uint64
	Pid    int
	Active bool // it has been told
	Asked  bool // it was being told
}

// Recover opens a slot for a survivor, between Adopt and Resume. The error says why its
// sockets can't be had.
func (h *Host) Recover(app App, index int, p Survivor) (*Slot, error) {
	found, err := listening(p.Pid)
	if number := h.whose(found); number != 0 {
		for _, k := range found {
			unix.Close(k.fd)
		}
		return h.Reopen(number, app, index), nil
	}
	s := h.Open(app, index)
	h.mu.Lock()
	defer h.mu.Unlock()
	s.state = Condition{Inc: p.Inc, Pid: p.Pid, Alive: true}
	if app.Told {
		s.standby = !p.Active
		if p.Asked {
			s.asked = p.Inc
		}
		s.note()
	}
	if len(found) == 0 {
		return s, err
	}
	t := &tenant{slot: s, inc: p.Inc, ready: true, bound: map[*socket]bool{}}
	s.tenants[p.Inc] = t
	for _, k := range found {
		k.served = p.Inc
		t.bound[k] = true
		s.add(k)
		h.joinLost(k)
	}
	t.note()
	return s, err
}

// whose is the number of a slot that was left and has one of the sockets: the daemon
// that had recovered it was killed before it could say whose it is. 0: there is none.
func (h *Host) whose(found []*socket) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range found {
		if twin := h.twin(k); twin != nil {
			return twin.slot.id
		}
	}
	return 0
}

// listening are the sockets of a process and its descendants that share their address.
func listening(pid int) (found []*socket, err error) {
	c := proc.owners(proc.tree(pid))
	err = c.hidden
	for number, at := range c.sockets {
		fd, e := takeFD(at.pid, at.fd)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		shared, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
		a, is := boundTo(fd)
		if inode(fd) != uint64(number) || kindOf(fd) != unix.SOCK_STREAM || !listens(fd) || shared == 0 || !is {
			unix.Close(fd)
			continue
		}
		found = append(found, &socket{address: a, fd: fd, cookie: cookie(fd), inode: inode(fd), listening: true, curtained: true})
	}
	return found, err
}

// RecoverGiven has the sockets that an app's instances have in common back from a
// survivor: its successor could not open them again while the survivor has them.
func (h *Host) RecoverGiven(app App, clustered bool, pid int) {
	for _, g := range app.Given {
		if clustered && g.Network != "unix" || h.commonOf(app.Name, g) != nil {
			continue
		}
		if fd := g.heldBy(pid); fd >= 0 {
			h.addCommon(&common{app: app.Name, given: g, owner: app.Owner, fd: fd})
		}
	}
}

// heldBy is a duplicate of the socket as a process or a descendant has it; -1: none has.
func (g Given) heldBy(pid int) int {
	a, _, _ := g.socket() // an error: it is a unix socket, and that an address of nothing
	for _, at := range proc.owners(proc.tree(pid)).sockets {
		fd, err := takeFD(at.pid, at.fd)
		if err != nil {
			continue
		}
		sa, _ := unix.Getsockname(fd)
		path, isUnix := sa.(*unix.SockaddrUnix)
		is := isUnix && g.Network == "unix" && path.Name == g.Address
		if bound, inet := boundTo(fd); inet && g.Network != "unix" {
			is = bound == a
		}
		if is && listens(fd) {
			return fd
		}
		unix.Close(fd)
	}
	return -1
}

// boundTo is the address of an internet socket.
func boundTo(fd int) (a address, is bool) {
	sa, _ := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return address{ip: netip.AddrFrom4(sa.Addr), port: uint16(sa.Port)}, true
	case *unix.SockaddrInet6:
		only, _ := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		a = address{ip: netip.AddrFrom16(sa.Addr), port: uint16(sa.Port), only: only != 0}
		if sa.ZoneId != 0 {
			a.ip = a.ip.WithZone(strconv.Itoa(int(sa.ZoneId)))
		}
		return a, true
	}
	return a, false
}

// joinLost is for a socket that listens somewhere in the order of its group.
func (h *Host) joinLost(k *socket) {
	g := h.join(k)
	g.lost = true
	h.keepOrder(g)
}

// find asks the kernel for the order of a group whose order is lost.
func (h *Host) find(g *group) bool {
	at := map[int]*socket{}
	var fds []int
	for _, k := range g.members {
		at[k.fd] = k
		fds = append(fds, k.fd)
	}
	order, err := kernelOrder(g.address, fds)
	if err != nil {
		if !g.unclear {
			h.opts.Log("%s: cannot steer connections to %s, for the order of its sockets is lost: %v; the kernel spreads them over all instances", g.members[0].slot.app.Name, g.address, err)
		}
		g.unclear = true
		return false
	}
	for i, fd := range order {
		g.members[i] = at[fd]
	}
	g.lost, g.unclear = false, false
	h.keepOrder(g)
	return true
}

// bury forgets a process of which nobody is notified, once another has come.
func (s *Slot) bury() {
	for inc, t := range s.tenants {
		if t.calls == nil && (inc != s.state.Inc || s.closed) {
			delete(s.tenants, inc)
			s.h.opts.Keep(t.key(), nil)
		}
	}
}

package cluster

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Our sockets have SO_REUSEPORT, so the kernel lets them join those of a stranger that has
// it, too: another gopm of the same user, or a server that shares its port with itself. The
// two would take connections from one another without anybody noticing. So whether a
// stranger listens is looked at before an address is bound for the first time.

// isStrangers says that somebody who isn't of the app listens where a connection to the
// address could go. The program doesn't want to share: it has not set SO_REUSEPORT.
func (t *tenant) isStrangers(a address) bool {
	pids, ours := t.slot.h.neighbours(t.slot, a)
	if ours {
		return false
	}
	inodes := listeners(a)
	if len(inodes) == 0 {
		return false
	}
	has := proc.owners(proc.tree(pids...))
	for _, n := range inodes {
		if _, is := has.sockets[n]; !is && has.hidden == nil {
			return true
		}
	}
	return false
}

// neighbours are the first processes of an app; ours says that a slot has a socket that the
// address overlaps with, so that no stranger can have one.
func (h *Host) neighbours(s *Slot, a address) (pids []int, ours bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.overlapped(a) {
		return nil, true
	}
	for _, o := range h.slots {
		if o.app.Name == s.app.Name && o.state.Pid != 0 {
			pids = append(pids, o.state.Pid)
		}
	}
	return pids, false
}

// overlapped says that a slot has a socket which the address overlaps with.
func (h *Host) overlapped(a address) bool {
	return slices.ContainsFunc(h.slots, func(s *Slot) bool {
		return slices.ContainsFunc(s.sockets, func(k *socket) bool { return k.address.overlaps(a) })
	})
}

// listeners are the sockets that listen where a connection to the address could go, of
// whomever. Where the kernel doesn't list them there are none.
func listeners(a address) (inodes []uint32) {
	const listening = 10 // TCP_LISTEN
	buf := make([]byte, 64<<10)
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		request := diagRequest(family, []uint16{a.port})
		binary.NativeEndian.PutUint32(request[20:], 1<<listening)
		found, _ := listFamily(request, buf)
		for _, c := range found {
			if c.inode != 0 && c.local(family).overlaps(a) {
				inodes = append(inodes, c.inode)
			}
		}
	}
	return inodes
}

// local is the address on our side.
func (c connection) local(family byte) address {
	const at = 4 // behind the ports
	if family == unix.AF_INET {
		return address{ip: netip.AddrFrom4([4]byte(c.ends[at:])), port: c.port}
	}
	return address{ip: netip.AddrFrom16([16]byte(c.ends[at:])), port: c.port, only: c.only}
}

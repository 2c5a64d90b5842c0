package cluster

import (
	"slices"

	"golang.org/x/sys/unix"
)

// A spare of an app that is told, and of which another machine may have the active one, is
// answered to by nobody but who has tapped it: with the connections of its machine's
// clients it would be active there. It listens all the same, for its program would notice
// if it didn't. So its sockets have a filter, which drops all that comes from other ports:
// who connects is not answered, tries again after a second, and by then another may be
// active here. It is the socket's own, so that neither our death nor an error in steering
// opens it. The same filter keeps clients back from an active one that is about to be
// exchanged, and from a dead one's sockets, until the next one is active: what got into
// their queues would be reset.

// isShut says that a socket is to have the filter.
func (k *socket) isShut() bool {
	s := k.slot
	return s.app.Told && (s.app.Aloof && s.standby || s.leaving || s.porter)
}

// curtain gives the sockets of a group their filters, or takes them away, where that is
// due: opening says which of the two is done.
func (h *Host) curtain(g *group, opening bool) {
	for _, k := range g.members {
		if shut := k.isShut(); shut != opening && (shut || k.curtained) {
			h.draw(k, shut)
		}
	}
}

// draw gives one its filter, or takes it away.
func (h *Host) draw(k *socket, shut bool) {
	if !shut {
		_ = unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) // an error: it has none
		k.curtained = false
		return
	}
	p := onlyFrom(k.slot.taps)
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	if err := unix.SetsockoptSockFprog(k.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		h.opts.Log("%s: cannot hold back connections to %s: %v; it may be connected to though it is not active", named(k.slot.app, k.slot.index), k.address, err)
	}
	k.curtained = true
}

// onlyFrom is a filter that drops what doesn't come from one of some ports. A connection
// keeps the filter under which it was begun: what comes from a port passes for good.
func onlyFrom(ports []uint16) chooser {
	var p chooser
	if len(ports) > 0 {
		p = loadPort()
	}
	for _, port := range slices.Compact(slices.Sorted(slices.Values(ports))) {
		p = append(p, jump(unix.BPF_JEQ, uint32(port), 0, 1)).answer(^uint32(0))
	}
	return p.answer(0)
}

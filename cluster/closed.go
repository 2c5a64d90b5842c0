package cluster

import (
	"slices"
	"time"
)

// A program that looks for a free port binds it, listens, closes the socket and binds again,
// often with another form of the address (127.0.0.1, 0.0.0.0, [::]). Nobody tells us of the
// close, and a kept socket goes on listening, where nobody accepts. So the sockets of a
// process that has more than one are looked at after each of its listens, and once more
// when it has settled; those that nobody has open any more are closed.

// suspect is a socket that its program may have closed.
type suspect struct {
	slot   *Slot
	socket *socket
	lent   int // how often it had been lent by then: a socket that is lent meanwhile is open again
	pid    int
}

// recheck has the sockets of a tenant looked at.
func (s *Slot) recheck(t *tenant) {
	t.recheck = len(s.sockets) > 1
	if t.recheck {
		s.h.watch.poke()
	}
}

// seldom is the part of the time that may go into that: it is asked for rarely, and each
// moment counts, for who connects meanwhile is lost.
const seldom = 10

// closeLeft closes the sockets that their programs have closed. It says when it wants to
// go on: a program that listens without end doesn't keep us busy.
func (w *watch) closeLeft() (next time.Duration, needed bool) {
	if wait := time.Until(w.closed); wait > 0 {
		return wait, true
	}
	var left []suspect
	took := ProcessorTime(func() {
		left = slices.DeleteFunc(w.h.suspects(), func(d suspect) bool { return inTree(d.socket.inode, d.pid) })
		if len(left) > 0 { // one look at all processes, which costs much, is for all
			has := everybody()
			left = slices.DeleteFunc(left, func(d suspect) bool { return has.has(d.socket.inode) })
		}
	})
	w.closed = time.Now().Add(seldom * took)
	w.h.closeUnlent(left)
	return 0, false
}

// suspects are the sockets that are to be looked at.
func (h *Host) suspects() (all []suspect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	for _, s := range h.slots {
		t := s.tenant()
		if t == nil || !t.recheck || s.state.Pid == 0 {
			continue
		}
		t.recheck = false // and again at its next listen
		for _, k := range s.sockets {
			if t.bound[k] {
				all = append(all, suspect{s, k, k.lent, s.state.Pid})
			}
		}
	}
	return all
}

func (h *Host) closeUnlent(left []suspect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range left {
		if d.isAsSeen() {
			d.slot.drop(d.socket)
		}
	}
}

// isAsSeen says that the slot still has the socket, and that it wasn't lent again. It is
// asked with the mutex held, for the looks before take their time without it.
func (d suspect) isAsSeen() bool {
	return d.slot.at(d.socket.address) == d.socket && d.socket.lent == d.lent
}

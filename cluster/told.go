package cluster

import (
	"slices"

	"golang.org/x/sys/unix"
)

// An app may have programs that must be told that they are active, and of which one
// may be at a time. Those that aren't run completely and listen, each on sockets of its
// own, and get no connections. Who is active is decided by who tells them (Activate);
// it ends with the process.

// Activate gives the slot's process, if it is still that incarnation, what connects to
// the app from now on, and is false if it isn't.
func (s *Slot) Activate(inc uint64) bool {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	t := s.tenant()
	if s.closed || t == nil || t.inc != inc || s.state.Ending {
		return false
	}
	s.standby, s.asked, s.seat = false, 0, s.h.freeSeat(s.app.Name)
	s.note()
	s.steerAll()
	s.h.dismissPorters(s.app.Name) // who waited there is reset, and comes again
	return true
}

// Leave has nobody connect to the slot any more, though no other is active yet: who tries
// isn't answered, and tries again a second later. Its process is about to be ended.
func (s *Slot) Leave() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.leaving = true
	s.steerAll()
}

// Ask notes that a process is about to be told that it is active: after our death nobody
// else may be told before it has ended.
func (s *Slot) Ask(inc uint64) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.asked = inc
	s.note()
}

// Tap has connections from a port of this machine go to this slot, whoever is active,
// until untap is called. It is how one instance of many on a port is reached; several
// may want to reach it at the same time.
func (s *Slot) Tap(from uint16) (untap func()) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.taps = append(s.taps, from)
	s.retap()
	return func() {
		s.h.mu.Lock()
		defer s.h.mu.Unlock()
		if i := slices.Index(s.taps, from); i >= 0 {
			s.taps = slices.Delete(s.taps, i, i+1)
			s.retap()
		}
	}
}

// retap is steerAll for what changes nothing for clients.
func (s *Slot) retap() {
	for _, k := range s.sockets {
		if k.listening {
			s.h.apply(s.h.groups[k.address])
		}
	}
}

// standDown is for an active slot whose process has ended. Its sockets go to a slot
// without an instance, for its successor must not serve what waits in them.
func (s *Slot) standDown() {
	s.standby, s.leaving, s.asked = true, false, 0
	h := s.h
	if len(s.sockets) > 0 {
		h.last++
		p := &Slot{h: h, id: h.last, app: s.app, index: s.index, tenants: map[uint64]*tenant{}, role: role{seat: s.seat, porter: true}}
		h.slots = append(h.slots, p)
		s.unhold()
		h.move(s, p)
		p.hold()
	}
	s.note()
}

// dismissPorters closes what waits for an app's next active process, which is there, or
// won't come.
func (h *Host) dismissPorters(name string) {
	for _, p := range h.porters(name) {
		p.end()
	}
}

func (h *Host) porters(name string) (all []*Slot) {
	for _, s := range h.slots {
		if s.porter && s.app.Name == name {
			all = append(all, s)
		}
	}
	return all
}

// followTold is follow for an app whose programs are told.
func (s *Slot) followTold() {
	t := s.tenant()
	if !s.standby && s.ended && (t == nil || !t.ready) {
		s.standDown()
	}
	if t == nil || t.inc != s.asked {
		s.asked = 0
	}
	for _, o := range s.h.slots {
		if o.app.Name == s.app.Name && !o.porter && !o.state.Down {
			return
		}
	}
	s.h.dismissPorters(s.app.Name) // all are stopped
}

// tapped puts connections from the ports that are tapped before what a program says.
func (g *group) tapped(p chooser) chooser {
	var taps chooser
	for i, k := range g.members {
		if k.slot.tenant() == nil {
			continue
		}
		for _, port := range k.slot.taps {
			taps = append(taps, jump(unix.BPF_JEQ, uint32(port), 0, 1)).answer(uint32(i))
		}
	}
	if len(taps) == 0 {
		return p
	}
	return slices.Concat(loadPort(), taps, p)
}

// loadPort loads the port that a connection comes from. Those that we make ourselves have
// headers of the usual length.
func loadPort() chooser {
	p := chooser{load(unix.BPF_B, loadIP)}.alu(unix.BPF_RSH, 4)
	return append(p,
		jump(unix.BPF_JEQ, 6, 2, 0),
		load(unix.BPF_H, loadIP+20),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: 1},
		load(unix.BPF_H, loadIP+40))
}

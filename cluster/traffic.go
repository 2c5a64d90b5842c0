package cluster

// Traffic is what comes to the sockets of a slot.
type Traffic struct {
	Waiting     int // connections that wait to be accepted
	Room        int // and how many may
	Connections int // that are open, as of the last look for an even spread, a second ago at most
	Counted     bool
}

// Traffic is as it is now; is says whether the slot has sockets that listen.
func (s *Slot) Traffic() (t Traffic, is bool) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	t.Counted = true
	for _, k := range s.sockets {
		waiting, room, err := acceptQueue(k.fd)
		if err != nil { // not of TCP, or nobody listens
			continue
		}
		is = true
		t.Waiting += waiting
		t.Room += room
		g := s.h.groups[k.address]
		if g == nil || g.blind || len(g.members) < 2 || g.members[0].slot.app.Balance != Even || k.load.inc != s.state.Inc {
			t.Counted = false
			continue
		}
		t.Connections += k.load.connections
	}
	return t, is
}

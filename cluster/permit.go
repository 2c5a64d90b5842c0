package cluster

// Of an app with several machines one may be active over all of them. Then a spare takes a
// place only while its machine is allowed to have an active one, and whoever ends has none
// any more: its successor is a spare again. Who is active doesn't end by losing the
// permission; it is to be ended by who takes that away.

// Allow says whether spares of an app with Permit may become active.
func (h *Host) Allow(app string, may bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !may {
		delete(h.allowed, app)
		return
	}
	h.allowed[app] = true
	h.fill(app)
}

// withdraw is for an active slot whose process has ended, and whose place nobody here has
// taken: what connects is refused, for it is for another machine.
func (s *Slot) withdraw() {
	s.standby, s.ended = true, false
	s.unhold()
	s.release()
	s.note()
}

package cluster

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Slot is the place of one instance. Its process is replaceable, its sockets are not.
// Its methods may be called from any goroutine and don't wait, but for Enter's hook.
// All fields are guarded by the host's mutex.
type Slot struct {
	h       *Host
	id      uint64
	app     App
	index   int
	state   Condition
	sockets []*socket
	made    int                // sockets so far
	tenants map[uint64]*tenant // whose calls we wait for, by incarnation; the newest has the place
	retired bool               // gets no new connections
	guest   bool               // gets none as long as another can have them
	role
	ills
	closed bool
	held   *time.Timer
	epoch  uint64 // of that timer
}

// ills are what is wrong with a slot.
type ills struct {
	trouble string // why it isn't clustered
	stuck   uint64 // the incarnation that doesn't accept any more; 0: none
	unwell  uint64 // the incarnation that is avoided as long as another serves; 0: none
	refusal string // why its program could not have a port
}

// Condition is where the process of a slot is.
type Condition struct {
	Inc     uint64        // the newest that was started or is being started
	Pid     int           // its first process; 0: not known yet, or none
	Alive   bool          // it lives, or is about to
	Settled bool          // it has lived for its min_uptime
	Ending  bool          // it was told to end
	Wait    time.Duration // Alive is false: until the successor starts
	Down    bool          // Alive is false: no successor is due
}

// View is what there is to see of a slot.
type View struct {
	Inc        uint64 // the process that this is about
	Ready      bool   // it listens
	Standby    bool   // it is a spare
	Asked      uint64 // the incarnation that was told to be active, and may not have heard it; 0: none
	Held       bool   // one that is ready for a place
	NoNewPrivs bool   // it can't gain privileges by setuid programs: an ordinary user's gopm has to set that
	Addresses  []string
	Served     []string // those of them on which this process listens
	Trouble    string   // why it isn't clustered; "": it is
	Refused    string   // why its program could not have a port; "": it has asked for none, or has one
	Lent       string   // why it has sockets of ours in the place of its own, and what it lacks; "": it hasn't
}

// View is the present picture.
func (s *Slot) View() View {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	v := View{Inc: s.state.Inc, Standby: s.standby, Asked: s.asked, Trouble: s.trouble, Refused: s.refusal}
	if t := s.tenant(); t != nil {
		v.Lent = t.lent
		v.Inc, v.Ready, v.Held, v.NoNewPrivs = t.inc, t.ready, s.standby && (t.since > 0 || s.app.Told && t.ready && !s.state.Ending), t.noNewPrivs
	}
	for _, k := range s.sockets {
		v.Addresses = append(v.Addresses, k.address.String())
		if k.served != 0 && k.served == s.state.Inc {
			v.Served = append(v.Served, k.address.String())
		}
	}
	return v
}

// Configure gives the slot a new version of its app.
func (s *Slot) Configure(app App) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.app.Told && !app.Told && len(s.sockets) > 0 { // it serves like the others
		s.standby = false
		s.note()
	}
	s.app = app
	s.steerAll()
	s.refill()
}

// Follow tells what has become of the slot's process.
func (s *Slot) Follow(c Condition) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	was := s.state
	s.state = c
	if was == c || s.closed {
		return
	}
	s.bury()
	s.follow(was)
	if c.Settled {
		s.serveGiven()
		s.forgive()
	}
	switch t := s.tenant(); {
	case t != nil && t.ready:
		s.unhold()
		if c.Settled {
			s.releaseUnserved()
		}
		if c.Settled && !was.Settled {
			s.recheck(t)
		}
	case c.Down || !c.Alive && c.Wait > s.app.Hold:
		s.unhold()
		s.release()
	case c.Alive && slices.ContainsFunc(s.sockets, s.isGiven): // it doesn't say when it begins to serve
		s.unhold()
	case len(s.sockets) > 0 && s.held == nil:
		s.hold()
	}
	s.steerAll()
}

// forgive forgets what an earlier process was refused, when the present one has settled
// without.
func (s *Slot) forgive() {
	if t := s.tenant(); t != nil && t.denied.all == 0 {
		s.refusal = ""
	}
}

// tenant is the process that has the place; nil: none lives.
func (s *Slot) tenant() *tenant {
	if !s.state.Alive {
		return nil
	}
	return s.tenants[s.state.Inc]
}

// hold lets connections wait for a successor, but not for ever.
func (s *Slot) hold() {
	s.epoch++
	epoch := s.epoch
	s.held = time.AfterFunc(s.app.Hold, func() { // ends by itself, and is told so by its epoch
		s.h.mu.Lock()
		defer s.h.mu.Unlock()
		if s.epoch == epoch && !s.closed {
			s.held = nil
			s.h.opts.Log("%s: nobody has listened again within %v: its connections are refused from now on", named(s.app, s.index), s.app.Hold)
			s.release()
			if s.porter {
				s.end()
			}
		}
	})
}

func (s *Slot) unhold() {
	s.epoch++
	if s.held != nil {
		s.held.Stop()
		s.held = nil
	}
}

// Retire has new connections go to the other slots.
func (s *Slot) Retire() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.retired = true
	s.note()
	s.refill()
	s.steerAll()
}

// Receive has a slot on trial get no connections, as long as another serves; or ends that.
func (s *Slot) Receive(trial bool) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.guest != trial {
		s.guest = trial
		s.steerAll()
	}
}

// Unwell has new connections go to others than incarnation inc, as long as one of them
// isn't unwell; 0: it is well. Its successor is.
func (s *Slot) Unwell(inc uint64) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.unwell != inc {
		s.unwell = inc
		s.steerAll()
	}
}

// Close gives up the place. Its process should have ended, or nobody serves what
// connects to it.
func (s *Slot) Close() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.end()
}

func (s *Slot) end() {
	s.unhold()
	s.release()
	s.closed = true
	s.bury()
	s.h.opts.Keep(s.key(), nil)
	s.h.slots = slices.DeleteFunc(s.h.slots, func(o *Slot) bool { return o == s })
	s.refill()
}

// release closes the sockets, everywhere: connections are refused at once.
func (s *Slot) release() {
	for _, k := range slices.Clone(s.sockets) {
		s.drop(k)
	}
}

// releaseUnserved closes what a successor didn't ask for again.
func (s *Slot) releaseUnserved() {
	for _, k := range slices.Clone(s.sockets) {
		if k.served != s.state.Inc && !s.tenant().bound[k] {
			s.drop(k)
		}
	}
}

// add makes a socket the slot's, wherever it was before.
func (s *Slot) add(k *socket) {
	k.slot, k.number = s, s.made
	s.made++
	s.sockets = append(s.sockets, k)
	s.h.keepSocket(k)
}

func (s *Slot) drop(k *socket) {
	s.h.leave(k)
	s.h.opts.Keep(keySocket+k.key(), nil)
	unix.Close(k.fd)
	s.sockets = slices.DeleteFunc(s.sockets, func(o *socket) bool { return o == k })
}

// steerAll is for a slot that begins or ends to serve.
func (s *Slot) steerAll() {
	for _, k := range s.sockets {
		if k.listening {
			s.h.steer(s.h.groups[k.address])
		}
	}
}

// abandon closes our descriptors and leaves everything else as it is.
func (s *Slot) abandon() {
	s.unhold()
	s.closed = true
	for _, k := range s.sockets {
		unix.Close(k.fd)
	}
	s.sockets = nil // a call may still be worked on
}

// at is the socket of an address.
func (s *Slot) at(a address) *socket {
	for _, k := range s.sockets {
		if k.address == a {
			return k
		}
	}
	return nil
}

package cluster

import (
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A spare is a slot that stands by: it has no sockets, and its program waits in its
// first bind, with everything before it done. When the process of an active slot ends,
// a spare becomes active in its stead: it takes its sockets, and its bind comes back.
// The process that comes after the dead one then waits as the spare.

// role is what a slot has to do with places.
type role struct {
	standby bool     // a spare: it has no place yet
	ended   bool     // its process has, and none has listened since
	doubted bool     // it was said that it asks for no port
	asked   uint64   // the incarnation that was told to be active; it may not have heard it. 0: none
	taps    []uint16 // connections from these ports are for it
	leaving bool     // the process that has it is about to end, and nobody may connect to it any more
	porter  bool     // it has no instance, only sockets in which connections wait for the next active one
	seat    int      // the number of its place: goes with the sockets, so that a client that keeps to a place keeps to them
}

// berth is what of a slot decides who takes a place.
type berth struct {
	standby bool
	gone    bool   // retired: it neither has a place nor wants one
	vacant  bool   // active, but its process has ended and none has asked for its sockets since
	queues  bool   // connections may wait in its sockets
	held    uint64 // its process waits for a place, by age; 0: it doesn't
}

// relief is who takes whose place: the spare that has waited longest, and that of the
// dead slot, first of one with connections. A place of -1 is a new one, for fewer are
// active than should be. A spare of -1: nothing is to be done.
func relief(all []berth, active int) (place, spare int) {
	place, spare = -1, -1
	taken := 0
	for i, b := range all {
		switch {
		case b.gone:
		case !b.standby && !b.vacant:
			taken++
		case !b.standby:
			if place < 0 || b.queues && !all[place].queues {
				place = i
			}
		case b.held > 0 && (spare < 0 || b.held < all[spare].held):
			spare = i
		}
	}
	if taken >= active {
		return -1, -1
	}
	return place, spare
}

// refill is fill for the slot's app, if it may have spares.
func (s *Slot) refill() {
	if s.app.Active > 0 || s.standby {
		s.h.fill(s.app.Name)
	}
}

// fill has spares take the places that an app has free.
func (h *Host) fill(name string) {
	for !h.left.open { // else not all have been told where they are
		var slots []*Slot
		var berths []berth
		active := math.MaxInt
		for _, s := range h.slots {
			if s.app.Name == name {
				slots, berths = append(slots, s), append(berths, s.berth())
				active = min(active, s.app.places()) // they are told of a new number one after the other
				if s.app.Permit && !h.allowed[name] {
					return
				}
			}
		}
		place, spare := relief(berths, active)
		switch {
		case spare < 0:
			return
		case place < 0:
			h.promote(nil, slots[spare])
		default:
			h.promote(slots[place], slots[spare])
		}
	}
}

// places is how many slots of an app are active at once.
func (a App) places() int {
	if a.Active == 0 {
		return math.MaxInt
	}
	return a.Active
}

// hasEnough says that a new slot of an app is to be a spare.
func (h *Host) hasEnough(app App, index int) bool {
	if app.Told || app.Permit || index >= app.places() {
		return true
	}
	if app.Active == 0 {
		return false
	}
	active := 0
	for _, s := range h.slots {
		if s.app.Name == app.Name && !s.standby && !s.retired {
			active++
		}
	}
	return active >= app.places()
}

func (s *Slot) berth() berth {
	t := s.tenant()
	b := berth{standby: s.standby, gone: s.retired || s.closed, queues: len(s.sockets) > 0}
	b.vacant = s.ended && (t == nil || len(t.bound) == 0)
	if t != nil && !s.state.Ending {
		b.held = t.waits()
	}
	return b
}

// promote makes a spare active, in the stead of a slot whose process has ended.
func (h *Host) promote(from, to *Slot) {
	to.standby, to.ended, to.seat = false, false, h.freeSeat(to.app.Name)
	if from != nil {
		to.seat = from.seat
		from.unhold()
		from.standby, from.ended = true, false
		h.move(from, to)
		from.note()
		h.opts.Log("%s takes the place of %s", named(to.app, to.index), named(from.app, from.index))
	}
	to.note()
	if len(to.sockets) > 0 {
		to.hold()
	}
	to.tenant().resume(from)
}

// freeSeat is the lowest number of a place that no slot of an app has.
func (h *Host) freeSeat(name string) int {
	for seat := 0; ; seat++ {
		if !slices.ContainsFunc(h.slots, func(s *Slot) bool {
			return s.app.Name == name && !s.standby && !s.retired && s.seat == seat
		}) {
			return seat
		}
	}
}

// move gives the sockets of one slot to another. A keeper that sees but half of it has
// both keys for one socket, and the group names one of them.
func (h *Host) move(from, to *Slot) {
	for _, k := range from.sockets {
		before := keySocket + k.key()
		k.served = 0
		to.add(k)
		if k.listening {
			h.keepOrder(h.groups[k.address])
		}
		h.opts.Keep(before, nil)
	}
	from.sockets = nil
	to.steerAll()
}

// follow notes what a change of its process means for a slot's place.
func (s *Slot) follow(was Condition) {
	c := s.state
	if !c.Alive && c.Inc > 0 || was.Inc > 0 && c.Inc > was.Inc {
		s.ended = true
	}
	if t := s.tenant(); t != nil && s.standby && c.Ending && !t.dismissed {
		t.dismissed = true
		t.resume(nil)
	}
	if s.app.Told {
		s.followTold()
		return
	}
	if c.Settled && !was.Settled && s.standby && !s.doubted && s.app.Patience > 0 {
		s.doubt(c.Inc)
	}
	s.refill()
	if s.app.Permit && s.ended && !s.standby && s.berth().vacant {
		s.withdraw()
	}
}

// doubt says of a spare that has been up for long and asks for no port that it is none.
func (s *Slot) doubt(inc uint64) {
	time.AfterFunc(s.app.Patience, func() { // ends by itself; who waits by then, or is another, is left alone
		s.h.mu.Lock()
		defer s.h.mu.Unlock()
		t := s.tenant()
		if s.closed || s.doubted || !s.standby || t == nil || t.inc != inc || t.since > 0 {
			return
		}
		s.doubted = true
		s.h.opts.Log("%s is a spare, but has not asked for a port: it runs like the others; spares make sense for programs that listen", named(s.app, s.index))
	})
}

// ---- calls that wait

// mostHeld bounds what a program with very many threads can have us keep.
const mostHeld = 64

// heldCall is a bind that isn't answered yet.
type heldCall struct {
	n notification
	c *call
}

// tryOut has the bind of a spare fail now if it would fail when the spare is needed: then
// the program says so in time, and a reload to it isn't taken for a success. What another
// slot of the app has, a spare will be given.
func (t *tenant) tryOut(a address, c *call) verdict {
	h, name := t.slot.h, t.slot.app.Name
	if slices.ContainsFunc(h.slots, func(o *Slot) bool { return o.app.Name == name && o.at(a) != nil }) {
		return verdict{}
	}
	family := unix.AF_INET
	if c.ip.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return verdict{}
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) // an error: then bind tells
	if a.only {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err := bindTo(fd, c.sockaddr); err != nil {
		return t.refuse(a, c, asErrno(err))
	}
	return verdict{}
}

// wait parks a bind if it is a spare's.
func (t *tenant) wait(n *notification, c *call) (v verdict, waits bool) {
	s := t.slot
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.closed || !s.standby || s.app.Told {
		return v, false
	}
	return t.park(n, c), true
}

// park keeps a bind of a spare for later. Before Linux 5.19 a signal takes the call
// back, and the thread makes it again.
func (t *tenant) park(n *notification, c *call) verdict {
	if t.dismissed {
		return elsewhere(c)
	}
	t.held = slices.DeleteFunc(t.held, func(o heldCall) bool {
		again := o.n.tid == n.tid
		if again {
			o.c.close()
		}
		return again
	})
	if len(t.held) >= mostHeld {
		return verdict{errno: unix.ENOBUFS}
	}
	mine := *c
	c.fd = -1
	t.held = append(t.held, heldCall{*n, &mine})
	h := t.slot.h
	if t.since == 0 {
		h.waited++
		t.since = h.waited
	}
	t.note()
	h.fill(t.slot.app.Name)
	return verdict{later: true}
}

// waits says since when, in the order of all, a tenant has waited; 0: it doesn't, or
// has just died.
func (t *tenant) waits() uint64 {
	if slices.ContainsFunc(t.held, func(o heldCall) bool { return t.calls.valid(o.n.id) }) {
		return t.since
	}
	return 0
}

// resume answers what waits, in a goroutine, for the caller has to be awake to take it.
// It ends when the caller has taken its answer or died; the host's Close waits for it.
// The slot whose place it has been given has changed, too.
func (t *tenant) resume(before *Slot) {
	held := t.held
	t.held, t.since = nil, 0
	if t.slot.h.closed {
		t.held = held
		return
	}
	for _, o := range held {
		t.hand = append(t.hand, o.n)
	}
	t.note()
	t.slot.h.serving.Go(func() {
		for _, o := range held {
			if !t.calls.valid(o.n.id) { // else it would get a socket that nobody has
				o.c.close()
			} else if err := t.settle(&o.n, o.c); err != nil {
				t.lose(err)
			}
			t.drop(o.n.id)
		}
		t.slot.h.opts.Changed(t.slot)
		if before != nil {
			t.slot.h.opts.Changed(before)
		}
	})
}

// dropHeld closes what is held for calls that nobody waits for any more, or that the next
// daemon answers.
func (t *tenant) dropHeld() {
	for _, o := range t.held {
		o.c.close()
	}
	t.held, t.since = nil, 0
}

// elsewhere answers the bind of a spare that was told to end. A thread in a call that
// waits for us doesn't hear signals; so that the program ends as it likes to, it gets a
// port that nobody knows.
func elsewhere(c *call) verdict {
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	if c.ip.Is4() {
		to = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	}
	if err := unix.Bind(c.fd, to); err != nil {
		return verdict{errno: asErrno(err)}
	}
	if !c.apart {
		return verdict{}
	}
	fd := c.fd // ours, which has to take the place of the program's
	c.fd = -1
	return verdict{install: fd}
}

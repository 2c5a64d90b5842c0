// Package cluster lets N instances of any unmodified program share their ports, and
// keeps the sockets when the programs go: what connects while nobody is there is
// served by the successor.
//
// The calls bind and listen of a clustered program wait for our answer (a seccomp
// filter sends them to us; see filter.go). At its first bind we keep a duplicate of its
// socket, with SO_REUSEPORT set; a later process of the same slot is given that socket
// in the place of its own. The kernel spreads new connections over the sockets of an
// address by a small program that we replace when instances come and go (steer.go).
//
// Goroutines: one for each process tree under a filter, which waits for its calls, and
// one that looks at queues and connections (watch.go). Close waits for all.
package cluster

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options is what a Host is given; the functions must not call back into it.
type Options struct {
	Log func(format string, args ...any)
	// Keep gives another process a note and duplicates of descriptors under a key, for
	// after our death; nothing of both: it is to forget the key. It must not wait, and the
	// order of calls is to be kept.
	Keep func(key string, note []byte, fds ...int)
	// Changed is told of a slot whose View has changed. It must not wait.
	Changed func(*Slot)
	// Stuck is told of a process that doesn't accept any more: it is to be killed and
	// replaced. It must not wait.
	Stuck func(*Slot, Hang)
}

// App is what is to be known of an app; a new one may be given to its slots at any time.
type App struct {
	Name    string
	Ports   []int         // only these are clustered; nil: all
	Named   []int         // ports of its configuration: it may have them below 1024 without a capability
	Backlog int           // the least length of an accept queue
	Share   bool          // with other apps that say so, too
	Hold    time.Duration // connections wait for a successor at most so long
	Balance Balance
	Hang    time.Duration // a queue that stands for so long means that the process is stuck; 0: it never does
	Active  int           // so many of its slots have a place, the others are spares; 0: all have one
	// Patience is when a spare that is up should have asked for a port; 0: nobody wonders.
	Patience time.Duration
	// Told: its programs are told which of them is active, by who calls Activate.
	Told bool
	// Aloof: of these, nobody reaches one that is not active, though there is no other.
	Aloof bool
	// Permit: its slots are spares, but while Allow says that they may be active.
	Permit bool
	// Given is what its programs find open, as Owner's where it has a path.
	Given []Given
	Owner Owner
}

// Host is everything clustered of one daemon.
type Host struct {
	opts Options
	ground
	serving sync.WaitGroup
	ending  chan struct{} // closed by Close
	watch   *watch

	// Held for memory and for system calls that never wait.
	mu      sync.Mutex
	slots   []*Slot
	groups  map[address]*group
	served  map[*tenant]bool // whose calls are waited for; a slot may have been closed before its last process ended
	last    uint64           // the number of the newest slot
	waited  uint64           // so many have begun to wait for a place
	allowed map[string]bool  // the apps with Permit that may be active, by name
	commons commons          // given sockets that instances share
	left    legacy           // of another daemon, until Resume
	closed  bool
}

// group is the sockets that share an address, in the kernel's order: that of listen.
type group struct {
	address  address
	members  []*socket
	moving   *socket // is about to get another place in the order, and nothing till then
	attached chooser // the program it has
	expected float64 // connections until the next look
	blind    bool    // nobody can see whose its connections are
	lost     bool    // its order is not known
	unclear  bool    // nor can it be found out
}

// socket is kept as long as its slot needs it.
type socket struct {
	slot      *Slot
	number    int // in its slot
	address   address
	fd        int // our duplicate
	cookie    uint64
	inode     uint64
	listening bool
	lent      int    // to a process that has asked for the address again, so often
	served    uint64 // the incarnation that has listened on it last; 0: none
	load      burden
	curtained bool // it has a filter, or may have one of the daemon before
}

// NewHost has one goroutine running that waits for something to watch.
func NewHost(o Options) *Host {
	h := &Host{opts: o, ground: newGround(), ending: make(chan struct{}), groups: map[address]*group{}, served: map[*tenant]bool{}, allowed: map[string]bool{}}
	h.watch = newWatch(h)
	return h
}

// Close ends the waiting for calls and closes our descriptors. Sockets that another
// process has been given live on, and so do the programs.
func (h *Host) Close() {
	h.mu.Lock()
	if !h.closed {
		close(h.ending)
	}
	h.closed = true
	slots := h.slots
	h.slots = nil
	for _, s := range slots {
		s.abandon()
	}
	for _, c := range h.commons.all {
		unix.Close(c.fd)
	}
	h.commons.all = nil
	for t := range h.served {
		t.dropHeld()
		t.calls.close()
	}
	h.mu.Unlock()
	h.watch.close()
	h.awaitServing()
}

// awaitServing waits for the goroutines that answer calls, but not for one that a
// program keeps: it may have put the address that we read where nobody answers. What it
// finds, when it comes back, is closed.
func (h *Host) awaitServing() {
	const patience = 3 * time.Second
	done := make(chan struct{})
	go func() { // ends with the last of them
		h.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		h.opts.Log("a clustered program keeps gopm in the reading of its memory; it is left to itself")
	}
}

// Open makes a slot for an instance of an app.
func (h *Host) Open(app App, index int) *Slot {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	s := &Slot{h: h, id: h.last, app: app, index: index, role: role{standby: h.hasEnough(app, index), seat: index}, tenants: map[uint64]*tenant{}}
	h.slots = append(h.slots, s)
	s.note()
	return s
}

// attend has the calls of a tenant answered from now on.
func (h *Host) attend(t *tenant) {
	h.served[t] = true
	h.serving.Go(t.serve) // ended by the end of the last process under the filter, or by Close, which waits for it
}

// other is another app that has an address which a connection to a could be meant for,
// of those that share it, or of those that don't.
func (h *Host) other(s *Slot, a address, sharing bool) *Slot {
	for _, o := range h.slots {
		if o.app.Name == s.app.Name || (o.app.Share && s.app.Share) != sharing {
			continue
		}
		if slices.ContainsFunc(o.sockets, func(k *socket) bool { return k.address.overlaps(a) }) {
			return o
		}
	}
	return nil
}

// owns is for another app that wants an address of the slot's.
func (s *Slot) owns(a address) string {
	return fmt.Sprintf("port %d is the app %s's: give one of them another, or both \"share\": true", a.port, s.app.Name)
}

// join notes that a socket is about to listen: the kernel puts it at the end.
func (h *Host) join(k *socket) *group {
	g := h.groups[k.address]
	if g == nil {
		g = &group{address: k.address}
		h.groups[k.address] = g
	}
	g.members = join(g.members, k)
	h.keepOrder(g)
	return g
}

// unjoin is for a socket that could not listen after all.
func (h *Host) unjoin(k *socket) {
	g := h.groups[k.address]
	g.members = g.members[:len(g.members)-1]
	h.keepOrder(g)
	if len(g.members) == 0 {
		delete(h.groups, k.address)
	}
}

// listen has a socket take connections: at the end of its group, or where it is already.
func (h *Host) listen(k *socket, backlog int) error {
	joins := !k.listening
	if joins {
		h.join(k)
	}
	if k.isShut() {
		h.draw(k, true) // before anybody can connect
	}
	if err := unix.Listen(k.fd, backlog); err != nil {
		if joins {
			h.unjoin(k)
		}
		return err
	}
	k.listening = true
	return nil
}

// leave takes a socket out of its group, whoever has a duplicate of it: connections
// that wait in it are reset. First the others get what is new, and they do again when
// the kernel has moved the last one into the hole. In between, an index of the last one
// would lead nowhere, and the kernel would spread connections over all, also over those
// whose processes have just been ended: so the last one gets none, if others can.
func (h *Host) leave(k *socket) {
	g := h.groups[k.address]
	if g == nil || !slices.Contains(g.members, k) {
		return
	}
	k.served = 0
	if last := g.members[len(g.members)-1]; last != k {
		g.moving = last
	}
	h.steer(g)
	g.moving = nil
	g.members = leave(g.members, k)
	_ = syscall.Shutdown(k.fd, syscall.SHUT_RD)
	h.keepOrder(g)
	if len(g.members) == 0 {
		delete(h.groups, k.address)
		return
	}
	h.steer(g)
}

// keepOrder writes the order down, for it takes a probe to find it out: before a socket
// listens, and after one has ended to. Who reads it sees by the sockets which of them don't.
func (h *Host) keepOrder(g *group) {
	if len(g.members) == 0 {
		h.opts.Keep(keyGroup+g.address.key(), nil)
		return
	}
	var order []string
	for _, k := range g.members {
		if !g.lost {
			order = append(order, k.key())
		}
	}
	h.opts.Keep(keyGroup+g.address.key(), encode(order))
}

func (k *socket) key() string { return fmt.Sprintf("%d/%d", k.slot.id, k.number) }

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A daemon goes on from what another one has given the keeper: Adopt reads it, Reopen
// finds each instance its slot again, and Resume begins to answer. Until then calls
// wait, and the kernel steers connections as it was told last.

// Left is what another daemon has left under a key. The files are Adopt's.
type Left struct {
	Key   string
	Note  []byte
	Files []*os.File
}

// legacy is what was read and isn't anybody's yet.
type legacy struct {
	open    bool // from Adopt to Resume
	slots   []*Slot
	tenants []*tenant
	orders  map[address][]string // of the groups
}

// Adopt reads what another daemon has left. What can't be used is an error each; the
// keeper has it still.
func (h *Host) Adopt(left []Left) (problems []error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left = legacy{open: true, orders: map[address][]string{}}
	for _, step := range []struct { // each needs what the ones before it have found
		prefix string
		adopt  func(name string, l Left) error
	}{{keyGroup, h.adoptOrder}, {keySlot, h.adoptSlot}, {keySocket, h.adoptSocket}, {keyTenant, h.adoptTenant}, {keyCommon, h.adoptCommon}} {
		for _, l := range left {
			if name, is := strings.CutPrefix(l.Key, step.prefix); is {
				if err := step.adopt(name, l); err != nil {
					problems = append(problems, fmt.Errorf("cannot go on with %s: %w", l.Key, err))
				}
			}
		}
	}
	for _, l := range left {
		for _, f := range l.Files {
			f.Close()
		}
	}
	h.regroup()
	return problems
}

func (h *Host) adoptOrder(name string, l Left) error {
	a, err := parseKey(name)
	if err != nil {
		return err
	}
	var order []string
	if err := json.Unmarshal(l.Note, &order); err != nil {
		return err
	}
	h.left.orders[a] = order
	return nil
}

func (h *Host) adoptSlot(name string, l Left) error {
	id, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return err
	}
	var note slotNote
	if err := json.Unmarshal(l.Note, &note); err != nil {
		return err
	}
	s := h.reopen(id)
	s.standby, s.seat, s.retired, s.asked = note.Standby, note.Seat, note.Retired, note.Asked
	return nil
}

// reopen is the slot of that number.
func (h *Host) reopen(id uint64) *Slot {
	for _, s := range slices.Concat(h.slots, h.left.slots) {
		if s.id == id {
			return s
		}
	}
	s := &Slot{h: h, id: id, tenants: map[uint64]*tenant{}}
	h.last = max(h.last, id)
	h.left.slots = append(h.left.slots, s)
	return s
}

// place is the slot of a key's name, "SLOT/NUMBER".
func (h *Host) place(name string) (s *Slot, number uint64, err error) {
	first, second, _ := strings.Cut(name, "/")
	id, err := strconv.ParseUint(first, 10, 64)
	if err == nil {
		number, err = strconv.ParseUint(second, 10, 63)
	}
	if err != nil {
		return nil, 0, err
	}
	return h.reopen(id), number, nil
}

func (h *Host) adoptSocket(name string, l Left) error {
	var note socketNote
	if err := json.Unmarshal(l.Note, &note); err != nil {
		return err
	}
	a, err := parseKey(note.Address)
	if err != nil {
		return err
	}
	s, number, err := h.place(name)
	if err != nil {
		return err
	}
	fd, err := l.take()
	if err != nil {
		return err
	}
	k := &socket{slot: s, number: int(number), address: a, fd: fd, cookie: cookie(fd), inode: inode(fd), listening: listens(fd), curtained: true}
	s.made = max(s.made, k.number+1)
	if twin := h.twin(k); twin != nil { // it was on its way from one slot to another
		if slices.Contains(h.left.orders[a], twin.key()) {
			twin, k = k, twin
		}
		h.opts.Keep(keySocket+twin.key(), nil)
		unix.Close(twin.fd)
		twin.slot.sockets = slices.DeleteFunc(twin.slot.sockets, func(o *socket) bool { return o == twin })
	}
	if !slices.Contains(k.slot.sockets, k) {
		k.slot.sockets = append(k.slot.sockets, k)
	}
	return nil
}

// twin is the same socket under another key.
func (h *Host) twin(k *socket) *socket {
	for _, s := range h.left.slots {
		for _, o := range s.sockets {
			if o.cookie == k.cookie {
				return o
			}
		}
	}
	return nil
}

// take is a duplicate of the only file; an os.File may change how a socket behaves.
func (l Left) take() (fd int, err error) {
	if len(l.Files) != 1 {
		return -1, fmt.Errorf("it came with %d descriptors", len(l.Files))
	}
	raw, err := l.Files[0].SyscallConn()
	if err != nil {
		return -1, err
	}
	e := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(e, err)
}

func (h *Host) adoptTenant(name string, l Left) error {
	var note tenantNote
	if err := json.Unmarshal(l.Note, &note); err != nil {
		return err
	}
	s, inc, err := h.place(name)
	if err != nil {
		return err
	}
	calls, err := l.notifier()
	if err != nil {
		return err
	}
	t := &tenant{slot: s, inc: inc, calls: calls, noNewPrivs: note.NoNewPrivs, ready: note.Ready, lent: note.Lent, bound: map[*socket]bool{}, noted: l.Note}
	for _, k := range s.sockets {
		if slices.Contains(note.Bound, k.number) {
			t.bound[k] = true
		}
		if slices.Contains(note.Served, k.number) {
			k.served = max(k.served, inc)
		}
	}
	for _, c := range note.Calls {
		n := notification{id: c.ID, tid: c.Tid, number: c.Number}
		copy(n.args[:], c.Args[:])
		t.hand = append(t.hand, n)
	}
	s.tenants[inc] = t
	if calls != nil {
		h.left.tenants = append(h.left.tenants, t)
	}
	return nil
}

// notifier is nil for a tenant of which nobody is notified any more.
func (l Left) notifier() (*notifier, error) {
	if len(l.Files) == 0 {
		return nil, nil
	}
	fd, err := l.take()
	if err != nil {
		return nil, err
	}
	return newNotifier(fd)
}

// regroup brings the sockets that listen into the kernel's order. Which order that is
// isn't noted if it was lost already, or if the keeper was starved.
func (h *Host) regroup() {
	all := map[string]*socket{}
	for _, s := range h.left.slots {
		for _, k := range s.sockets {
			if k.listening {
				all[k.key()] = k
			}
		}
	}
	for a, order := range h.left.orders {
		g := &group{address: a}
		for _, key := range settled(order, func(key string) bool { return all[key] != nil }) {
			g.members = append(g.members, all[key])
			delete(all, key)
		}
		if len(g.members) > 0 {
			h.groups[a] = g
			h.keepOrder(g)
		} else {
			h.opts.Keep(keyGroup+a.key(), nil)
		}
	}
	for _, k := range all {
		h.joinLost(k)
	}
}

// settled is the kernel's order of a group, from one that was noted before a socket
// began to listen, or not noted any more after one had ended to: the last one has moved
// into the hole.
func settled(order []string, listens func(string) bool) []string {
	order = slices.Clone(order)
	for i := len(order) - 1; i >= 0; i-- {
		if !listens(order[i]) {
			last := len(order) - 1
			order[i] = order[last]
			order = order[:last]
		}
	}
	return order
}

// Reopen is the slot that another daemon has opened under that number.
func (h *Host) Reopen(number uint64, app App, index int) *Slot {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.reopen(number)
	s.app, s.index = app, index
	if i := slices.Index(h.left.slots, s); i >= 0 {
		h.left.slots = slices.Delete(h.left.slots, i, i+1)
		h.slots = append(h.slots, s)
	}
	return s
}

// Number finds the slot again after the death of this daemon.
func (s *Slot) Number() uint64 { return s.id }

// Resume begins to answer. A slot that nobody has reopened is closed; what still lives
// of its processes is answered as after Close.
func (h *Host) Resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := h.left
	for _, s := range left.slots {
		s.end()
	}
	h.left = legacy{}
	for _, t := range left.tenants {
		h.attend(t)
	}
	if len(left.tenants) > 0 {
		h.serving.Go(func() { h.watchStranded(left.tenants) }) // ends by itself, or by Close
	}
	apps := map[string]bool{}
	for _, s := range h.slots {
		apps[s.app.Name] = true
	}
	for name := range apps {
		h.reseat(name)
		h.fill(name)
	}
	for _, g := range h.groups {
		h.steer(g)
	}
}

// reseat makes good what a death in the middle of a change of places has left: a spare
// that has sockets isn't one any more, and who lost them is.
func (h *Host) reseat(app string) {
	active := 0
	var risen, bare []*Slot
	for _, s := range h.slots {
		if s.app.Name != app || s.retired || s.app.Told {
			continue
		}
		t := s.tenant()
		s.ended = len(s.sockets) > 0 && (t == nil || !t.ready)
		switch {
		case s.standby && slices.ContainsFunc(s.sockets, func(k *socket) bool { return !s.isGiven(k) }):
			risen = append(risen, s)
			active++
		case !s.standby:
			active++
			if len(s.sockets) == 0 && (t == nil || len(t.bound) == 0) {
				bare = append(bare, s)
			}
		}
	}
	for _, s := range bare[:min(len(bare), max(0, active-h.placesOf(app)))] {
		s.standby, s.ended = true, false
		s.note()
	}
	for _, s := range risen {
		s.seat = h.freeSeat(app)
		s.standby = false
		s.note()
	}
}

// placesOf is how many slots of an app are active at once.
func (h *Host) placesOf(app string) int {
	for _, s := range h.slots {
		if s.app.Name == app {
			return s.app.places()
		}
	}
	return 0
}

// goOn answers what another daemon has received.
func (t *tenant) goOn() {
	h := t.slot.h
	h.mu.Lock()
	calls := slices.Clone(t.hand)
	h.mu.Unlock()
	for _, n := range calls {
		if t.calls.valid(n.id) {
			c := t.look(&n)
			c.again = true
			_ = t.settle(&n, c) // an error: then receiving fails, too, and says it
		}
		t.drop(n.id)
	}
}

// listens says whether connections can come in over a socket.
func listens(fd int) bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && v != 0
}

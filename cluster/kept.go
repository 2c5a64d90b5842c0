package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
)

// What the keeper has of us, by key.
const (
	keySlot   = "c/p/" // + slot: its role
	keySocket = "c/s/" // + slot/number: a kept socket
	keyTenant = "c/n/" // + slot/incarnation: a notification descriptor
	keyCommon = "c/u/" // + number: a given socket that instances share
	keyGroup  = "c/g/" // + address: the kernel's order of a group
)

// socketNote is what can't be read from a socket.
type socketNote struct {
	Address string `json:"address"`
}

type slotNote struct {
	Standby bool   `json:"standby,omitempty"`
	Seat    int    `json:"seat"`
	Retired bool   `json:"retired,omitempty"`
	Asked   uint64 `json:"asked,omitempty"` // the incarnation that was told to be active
}

// tenantNote is where a tenant is. A call that was received and isn't answered can be
// answered only by who knows its number: nobody is notified of it again.
type tenantNote struct {
	NoNewPrivs bool       `json:"no_new_privs,omitempty"`
	Ready      bool       `json:"ready,omitempty"`
	Bound      []int      `json:"bound,omitempty"`  // the slot's sockets that it has asked for,
	Served     []int      `json:"served,omitempty"` // and listened on
	Calls      []callNote `json:"calls,omitempty"`  // some may be answered
	Lent       string     `json:"lent,omitempty"`
}

func (h *Host) keepSocket(k *socket) {
	h.opts.Keep(keySocket+k.key(), encode(socketNote{k.address.key()}), k.fd)
}

func (s *Slot) note() {
	s.h.opts.Keep(s.key(), encode(slotNote{s.standby, s.seat, s.retired, s.asked}))
}

func (s *Slot) key() string { return fmt.Sprintf("%s%d", keySlot, s.id) }

// callNote is what there has to be of a call to answer it: the rest is found in its
// caller, which waits.
type callNote struct {
	ID     uint64    `json:"id"`
	Tid    uint32    `json:"tid"`
	Number int32     `json:"call"`
	Args   [3]uint64 `json:"args"`
}

// note tells the keeper of a tenant, without descriptors if it has them.
func (t *tenant) note(fds ...int) {
	h, text := t.slot.h, t.picture()
	if len(fds) == 0 && (h.closed || t.slot.tenants[t.inc] != t || string(text) == string(t.noted)) {
		return
	}
	t.noted = text
	h.opts.Keep(t.key(), text, fds...)
}

func (t *tenant) picture() []byte {
	p := tenantNote{NoNewPrivs: t.noNewPrivs, Ready: t.ready, Lent: t.lent}
	for _, k := range t.slot.sockets {
		if t.bound[k] {
			p.Bound = append(p.Bound, k.number)
		}
		if k.served == t.inc {
			p.Served = append(p.Served, k.number)
		}
	}
	waiting := slices.Clone(t.hand)
	for _, o := range t.held {
		waiting = append(waiting, o.n)
	}
	for _, n := range waiting {
		p.Calls = append(p.Calls, callNote{n.id, n.tid, n.number, [3]uint64(n.args[:3])})
	}
	return encode(p)
}

// take notes a call before it is worked on.
func (t *tenant) take(n notification) {
	h := t.slot.h
	h.mu.Lock()
	defer h.mu.Unlock()
	t.hand = append(t.hand, n)
	t.note()
}

// drop forgets a call that was answered, or that waits among others. The keeper is told
// with what is next.
func (t *tenant) drop(id uint64) {
	h := t.slot.h
	h.mu.Lock()
	defer h.mu.Unlock()
	t.hand = slices.DeleteFunc(t.hand, func(n notification) bool { return n.id == id })
}

// remember notes what a decision has changed, before the program sees it.
func (t *tenant) remember() {
	h := t.slot.h
	h.mu.Lock()
	defer h.mu.Unlock()
	t.note()
}

// Retell gives a new keeper what the one before had.
func (h *Host) Retell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.slots {
		s.note()
		for _, k := range s.sockets {
			h.keepSocket(k)
		}
	}
	for _, s := range h.slots {
		for _, t := range s.tenants {
			if t.calls == nil {
				t.noted = nil
				t.note()
			}
		}
	}
	for t := range h.served {
		t.calls.with(func(fd int) { t.note(fd) })
	}
	for _, g := range h.groups {
		h.keepOrder(g)
	}
	for _, c := range h.commons.all {
		h.opts.Keep(c.key(), encode(commonNote{c.app, c.given, c.owner}), c.fd)
	}
}

func (t *tenant) key() string { return fmt.Sprintf("%s%d/%d", keyTenant, t.slot.id, t.inc) }

// encode is JSON of what can always be encoded.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("internal error: cannot encode %T: %v", v, err))
	}
	return text
}

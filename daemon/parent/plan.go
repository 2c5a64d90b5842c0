package parent

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// group is a process group as the daemon told of it, or (pid 0) everything else
// that is below the keeper, and how far stopping it has come.
type group struct {
	pid    int
	start  uint64 // of the leader
	sig    unix.Signal
	grace  time.Duration
	killAt time.Time // zero: not asked to end yet
}

// order is one signal to send: to the whole group of a leader that is our own
// unreaped child, or to one process that must still be the one seen.
type order struct {
	pid   int
	start uint64
	whole bool
	sig   unix.Signal
}

// stopper decides how what a dead daemon left is ended. It is pure: the caller
// looks at the processes, asks plan, sends the orders, and comes back.
type stopper struct {
	self   int           // the keeper's pid
	groups []group       // told groups that may still have members
	rest   *group        // what to do about all other descendants; nil leaves them alone
	giveUp time.Duration // how long after SIGKILL a group is believed to end

	stuck []proc // did not end in spite of SIGKILL; left alone from then on
}

func newStopper(self int, told map[int]group, rest *group, giveUp time.Duration) *stopper {
	s := &stopper{self: self, rest: rest, giveUp: giveUp}
	for _, g := range told {
		s.groups = append(s.groups, g)
	}
	slices.SortFunc(s.groups, func(a, b group) int { return a.pid - b.pid })
	return s
}

// plan says what to send to the processes below the keeper, and whether there is
// nothing more to do. The rest comes after the groups: an app that ends in order
// ends its own helpers, and does it better than we could.
func (s *stopper) plan(now time.Time, below []proc) (orders []order, done bool) {
	var live []proc
	leaders := map[int]proc{}
	for _, p := range below {
		if p.pid == p.pgrp {
			leaders[p.pid] = p
		}
		if !p.zombie {
			live = append(live, p)
		}
	}
	var left []group
	for _, g := range s.groups {
		members := g.members(live, leaders)
		more, over := s.advance(&g, now, members)
		if over {
			continue
		}
		orders = append(orders, whole(more, g, leaders, s.self)...)
		left = append(left, g)
	}
	s.groups = left
	if len(left) > 0 {
		return orders, false
	}
	if s.rest == nil {
		return nil, true
	}
	hopeless := func(p proc) bool { return slices.Contains(s.stuck, p) }
	return s.advance(s.rest, now, slices.DeleteFunc(live, hopeless))
}

// members are the live processes of a group. A leader with another start time
// means that the pid was given to somebody else since: then the group is over.
func (g group) members(live []proc, leaders map[int]proc) []proc {
	if leader, ok := leaders[g.pid]; ok && leader.start != g.start {
		return nil
	}
	var members []proc
	for _, p := range live {
		if p.pgrp == g.pid {
			members = append(members, p)
		}
	}
	return members
}

// advance takes one group a step on: its signal once, nothing during its grace
// (what it starts meanwhile is part of its ending), then SIGKILL to whatever is
// there, again and again, until it is gone or hopeless.
func (s *stopper) advance(g *group, now time.Time, members []proc) (orders []order, over bool) {
	if len(members) == 0 {
		return nil, true
	}
	sig := unix.SIGKILL
	switch {
	case g.killAt.IsZero():
		sig, g.killAt = g.sig, now.Add(g.grace)
	case now.Before(g.killAt):
		return nil, false
	case now.After(g.killAt.Add(s.giveUp)):
		s.stuck = append(s.stuck, members...)
		return nil, true
	}
	for _, p := range members {
		orders = append(orders, order{pid: p.pid, start: p.start, sig: sig})
	}
	return orders, false
}

// whole turns the orders for a group's members into one for the group, which a
// forking program can't outrun. Only where the leader is our own child: nobody
// but us can reap it, so its number can't pass to another group before the signal.
func whole(orders []order, g group, leaders map[int]proc, self int) []order {
	leader, ok := leaders[g.pid]
	if len(orders) == 0 || !ok || leader.ppid != self {
		return orders
	}
	return []order{{pid: g.pid, start: g.start, whole: true, sig: orders[0].sig}}
}

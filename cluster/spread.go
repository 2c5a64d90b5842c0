package cluster

import (
	"cmp"
	"slices"
)

// Balance is how connections are spread over the sockets of an address.
type Balance int

// The ways there are.
const (
	Even   Balance = iota // so that all have the same number of open ones
	Random                // by chance
	Source                // by the client's address: one client, one instance
)

// steer tells the kernel which sockets of a group get new connections, after
// something has become of one of them.
func (h *Host) steer(g *group) {
	h.apply(g)
	h.watch.poke()
}

func (h *Host) apply(g *group) {
	if g.lost && !h.find(g) {
		h.curtain(g, true)
		h.curtain(g, false)
		return // the kernel spreads them over all
	}
	g.attached = g.chooser()
	h.curtain(g, true)
	defer h.curtain(g, false)
	if err := attach(g.members[0].fd, g.attached); err != nil {
		h.opts.Log("%s: cannot steer connections to %s: %v; the kernel spreads them over all instances", g.members[0].slot.app.Name, g.address, err)
	}
}

// chooser is the program that a group should have.
func (g *group) chooser() chooser { return g.tapped(g.spread()) }

// spread is that for connections of clients.
func (g *group) spread() chooser {
	on := receivers(g.members)
	if i := slices.Index(g.members, g.moving); i >= 0 {
		on = passOver(on, i)
	}
	balance := g.members[0].slot.app.Balance // apps that share an address should agree
	switch {
	case balance == Source:
		return sourceProgram(places(g.members, on))
	case balance == Even && !g.blind:
		return randomProgram(g.weigh(on))
	}
	return randomProgram(equal(on))
}

// receivers are the sockets of a group that get new connections: those that a live
// process serves and that are well, else those that are served; when there is none, those of one on trial, and then those that are
// going to be served; else those that have a place, and at last all.
func receivers(members []*socket) []bool {
	on := make([]bool, len(members))
	for _, counts := range []func(*socket) bool{(*socket).isWell, (*socket).isServed, (*socket).isLive, (*socket).isDue, (*socket).isActive, func(*socket) bool { return true }} {
		for i, k := range members {
			on[i] = counts(k)
		}
		if slices.Contains(on, true) {
			break
		}
	}
	return on
}

// passOver leaves one out, if another is left.
func passOver(on []bool, i int) []bool {
	rest := slices.Clone(on)
	rest[i] = false
	if slices.Contains(rest, true) {
		return rest
	}
	return on
}

func (k *socket) isWell() bool { return k.isServed() && k.slot.unwell != k.served }

func (k *socket) isServed() bool { return k.isLive() && !k.slot.guest }

func (k *socket) isLive() bool {
	t := k.slot.tenant()
	return k.isActive() && !k.slot.retired && !k.slot.state.Ending && t != nil && k.served == t.inc && k.slot.stuck != t.inc
}

func (k *socket) isDue() bool { return k.isActive() && !k.slot.retired && !k.slot.state.Down }

// isActive says that its slot has a place. A spare that has a socket was given it when it
// started: it can't be held, and serves like the others.
func (k *socket) isActive() bool { return !k.slot.standby || !k.slot.app.Told }

func equal(on []bool) []int {
	w := make([]int, len(on))
	for i, is := range on {
		if is {
			w[i] = 1
		}
	}
	return w
}

// weigh is the weights that fill up who has least, as of the last look.
func (g *group) weigh(on []bool) []int {
	var counts, queues []int
	for i, k := range g.members {
		if on[i] {
			connections := 0
			if k.load.inc == k.slot.state.Inc { // else they were its predecessor's
				connections = k.load.connections
			}
			counts, queues = append(counts, connections), append(queues, k.load.waiting)
		}
	}
	all, some := make([]int, len(on)), weights(counts, queues, g.expected)
	if g.members[0].slot.app.Hang > 0 {
		some = trickle(some)
	}
	for i := range all {
		if on[i] {
			all[i], some = some[0], some[1:]
		}
	}
	return all
}

// places are the indexes of a group by instance, so that a client stays with its
// instance when the order changes, and with its successor after a reload. The place
// of an instance that gets nothing at the moment is -1.
func places(members []*socket, on []bool) []int {
	type place struct {
		app   string
		index int
	}
	at := map[place]int{}
	var all []place
	for i, k := range members {
		p := place{k.slot.app.Name, k.slot.seat}
		if _, known := at[p]; !known {
			at[p], all = -1, append(all, p)
		}
		if on[i] {
			at[p] = i
		}
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.index, b.index))
	})
	indexes := make([]int, len(all))
	for i, p := range all {
		indexes[i] = at[p]
	}
	return indexes
}

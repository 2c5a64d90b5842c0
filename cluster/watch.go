package cluster

import "time"

// watch is the goroutine that looks at what nobody tells us: how many connections each
// socket has, and whether its queue moves. It sleeps while there is nothing of that
// to know: where one process serves an address alone, without a hang_timeout. All
// fields but the channels are its own.
type watch struct {
	h          *Host
	wake       chan struct{} // holds one: what is to be watched has changed
	stop, done chan struct{}

	last   time.Time // the last round
	closed time.Time // when closeLeft may look again
	level  level
	queues map[*socket]*queue
	hangs  map[*socket]poison // not by slot: a spare takes over the queue that has stopped the one before
}

const (
	shortestRound = 10 * time.Millisecond // however often it is woken
	costly        = 50                    // a look may take this part of the time between two: 2 % of a core
)

func newWatch(h *Host) *watch {
	w := &watch{
		h: h, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		queues: map[*socket]*queue{}, hangs: map[*socket]poison{},
	}
	go w.run() // ended by close, which waits for it
	return w
}

// poke has it look soon. It never waits.
func (w *watch) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) close() {
	close(w.stop)
	<-w.done
}

func (w *watch) run() {
	defer close(w.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
			timer.Reset(max(0, shortestRound-time.Since(w.last)))
		case <-timer.C:
			if pause, needed := w.round(); needed {
				timer.Reset(pause)
			}
		}
	}
}

// round looks once, and says when to do so again; needed is false when there is
// nothing to watch, until poke.
func (w *watch) round() (pause time.Duration, needed bool) {
	w.last = time.Now()
	pause, needed = w.closeLeft()
	all := w.h.glances()
	w.forget(all)
	if len(all) == 0 {
		return pause, needed
	}
	next := w.levelOut(all)
	if needed {
		next = min(next, pause)
	}
	for _, g := range all {
		next = min(next, w.watchQueue(g))
	}
	return max(next, shortestRound), true
}

// glance is what is seen of a socket without effort.
type glance struct {
	socket  *socket
	group   *group
	slot    *Slot
	name    string // of the instance
	port    uint16
	inc     uint64 // who serves it; 0: nobody
	pid     int    // of its first process; 0: not known yet
	lent    int    // how often the socket was
	waiting int    // in its queue
	even    bool   // connections are to be spread evenly over it and others
	hang    time.Duration
}

// tenant tells incarnations apart, of other slots, too: a socket may be given to one.
// 0: nobody.
func (g glance) tenant() uint64 {
	if g.inc == 0 {
		return 0
	}
	return g.slot.id<<32 | g.inc
}

// glances are the sockets that are to be watched: several for one address, or with a
// hang_timeout.
func (h *Host) glances() (all []glance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	for _, g := range h.groups {
		served := 0
		for _, k := range g.members {
			if k.isServed() {
				served++
			}
		}
		for _, k := range g.members {
			s := k.slot
			if s.retired || served < 2 && s.app.Hang <= 0 {
				continue
			}
			seen := glance{socket: k, group: g, slot: s, lent: k.lent, name: named(s.app, s.index), port: k.address.port, hang: s.app.Hang,
				even: served >= 2 && g.members[0].slot.app.Balance == Even}
			if k.isServed() {
				seen.inc, seen.pid = s.state.Inc, s.state.Pid
			}
			if waiting, _, err := acceptQueue(k.fd); err == nil {
				seen.waiting = waiting
			}
			all = append(all, seen)
		}
	}
	return all
}

// forget drops what is remembered of sockets that are not watched any more.
func (w *watch) forget(all []glance) {
	sockets := map[*socket]bool{}
	for _, g := range all {
		sockets[g.socket] = true
	}
	for k := range w.queues {
		if !sockets[k] {
			delete(w.queues, k)
		}
	}
	for k := range w.hangs {
		if !sockets[k] {
			delete(w.hangs, k)
		}
	}
}

package cluster

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Hang is what was seen of a process that doesn't accept any more.
type Hang struct {
	Inc     uint64
	Waiting int           // connections in the queue
	Stood   time.Duration // for how long it hasn't moved
	GaveUp  bool          // the queue was closed, for it has stopped one process after the other
	Lost    bool          // it is another thing: it waits for an answer that nobody can give
}

func (h Hang) String() string {
	if h.Lost {
		return "it asked for a port when the daemon died, and only that daemon could have answered"
	}
	text := fmt.Sprintf("hang: %d waiting, none accepted for %v", h.Waiting, h.Stood.Round(time.Millisecond))
	if h.GaveUp {
		text += fmt.Sprintf("; the %d processes before hung as well, so those who wait are refused", hangsInARow-1)
	}
	return text
}

// queue is what is remembered of the accept queue of a socket.
type queue struct {
	standing
	has     map[uint32]holder // the sockets of the tenant when they were noted
	again   time.Time         // when they may be looked at next
	blind   uint64            // the tenant whose sockets can't be seen
	checked time.Time         // when it was last asked whether the socket is open anywhere
	left    bool              // it isn't: nobody can accept
}

const (
	fastestSample = 10 * time.Millisecond
	slowestSample = 50 * time.Millisecond
	abandonedFor  = time.Second // a queue that stands for so long may be nobody's
)

// watchQueue looks whether a queue moves, and says when to look again.
func (w *watch) watchQueue(g glance) (next time.Duration) {
	q := w.queues[g.socket]
	if q == nil {
		q = &queue{}
		w.queues[g.socket] = q
	}
	now, timeout := time.Now(), g.hang
	if timeout <= 0 {
		timeout = 1 << 62
		next = quietLook
	} else {
		next = min(max(timeout/10, fastestSample), slowestSample)
		if g.waiting == 0 {
			next *= 2
		}
	}
	if g.tenant() != q.tenant {
		*q = queue{standing: q.standing}
	}
	var f finding
	q.standing, f = q.look(now, g.tenant(), g.waiting, timeout)
	switch {
	case f == moving:
		w.hangs[g.socket] = w.hangs[g.socket].served(now, g.tenant(), g.hang)
		return next
	case g.pid == 0 || q.isAbandoned(w, g, now):
		return next
	}
	if f == overdue || g.hang > 0 && !now.Before(q.again) {
		if q.hasAccepted(w, g, now) {
			return next
		}
	}
	if f == overdue && q.noted {
		w.stuck(g, now.Sub(q.since))
	}
	return next
}

// hasAccepted compares the sockets of the tenant with those noted before: one that came
// to this port was accepted meanwhile. It is true, too, when there is nothing to
// compare with.
func (q *queue) hasAccepted(w *watch, g glance, now time.Time) bool {
	var news bool
	var err error
	took := ProcessorTime(func() {
		has := proc.owners(proc.tree(g.pid))
		if err = has.hidden; err != nil {
			return
		}
		news, err = !q.noted, nil
		if q.noted {
			news, err = q.hasNew(has.sockets, g.port)
		}
		if news {
			q.has = has.sockets
		}
	})
	q.again = now.Add(max(slowestSample, costly*took))
	if err != nil && q.blind != g.tenant() {
		q.blind = g.tenant()
		w.h.opts.Log("%s: whether it hangs can't be seen: %v", g.name, err)
	}
	if news || err != nil {
		q.standing = q.note(now)
		return true
	}
	return false
}

// hasNew says that one of these sockets has come to the port since they were noted.
func (q *queue) hasNew(sockets map[uint32]holder, port uint16) (bool, error) {
	fresh := map[uint32]holder{}
	for inode, h := range sockets {
		if _, was := q.has[inode]; !was {
			fresh[inode] = h
		}
	}
	if len(fresh) == 0 {
		return false, nil
	}
	ports, err := portsOf(fresh, []uint16{port})
	for _, p := range ports {
		if p == port {
			return true, err
		}
	}
	return false, err
}

// stuck takes an incarnation out of the group and has it killed.
func (w *watch) stuck(g glance, stood time.Duration) {
	p, giveUp := w.hangs[g.socket].hung(g.tenant())
	w.hangs[g.socket] = p
	if !w.h.takeOut(g, giveUp) {
		return
	}
	w.h.opts.Stuck(g.slot, Hang{Inc: g.inc, Waiting: g.waiting, Stood: stood, GaveUp: giveUp})
}

// takeOut steers away from a process that hangs; with giveUp its sockets are closed.
// It is false if the process has been replaced, or is known to hang.
func (h *Host) takeOut(g glance, giveUp bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := g.slot
	if s.closed || h.closed || s.state.Inc != g.inc || s.stuck == g.inc {
		return false
	}
	s.stuck = g.inc
	if giveUp {
		s.release()
		return true
	}
	s.steerAll()
	return true
}

// isAbandoned says that nobody can accept what waits: the program has closed its
// socket, or the process of its tree that had it has ended. Then the socket is closed,
// as it would be without us, and the clients try again.
func (q *queue) isAbandoned(w *watch, g glance, now time.Time) bool {
	switch {
	case q.left:
		return true
	case q.since.IsZero() || now.Sub(q.since) < abandonedFor || now.Before(q.checked):
		return false
	}
	var open bool
	took := ProcessorTime(func() { open = isOpen(g.socket.inode, g.pid) })
	q.checked = now.Add(max(abandonedFor, costly*took))
	if open {
		return false
	}
	q.left = true
	w.h.closeAbandoned(g)
	return true
}

// isOpen says whether a process of the tree has a socket, or if none of these has it,
// any process but us and our keeper: one may have left the tree. Where the first process
// is just ending it is taken to be open, for the successor will want it.
func isOpen(inode uint64, pid int) bool {
	return inTree(inode, pid) || everybody().has(inode)
}

// inTree says whether a process of the tree has a socket, or may have it, or it ends.
func inTree(inode uint64, pid int) bool {
	if has := proc.owners(proc.tree(pid)); has.hidden != nil || has.has(inode) {
		return true
	}
	open, _ := os.ReadDir(proc.path(pid, "fd"))
	return len(open) == 0
}

// everybody is what all processes have, but us and our keeper. What can't be read hasn't
// our sockets.
func everybody() census {
	entries, _ := os.ReadDir(string(proc))
	var others []int
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err == nil && n != os.Getpid() && n != os.Getppid() {
			others = append(others, n)
		}
	}
	return proc.owners(others)
}

func (c census) has(inode uint64) bool {
	_, is := c.sockets[uint32(inode)]
	return is
}

func (h *Host) closeAbandoned(g glance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seen := (suspect{g.slot, g.socket, g.lent, g.pid}); g.slot.state.Inc != g.inc || !seen.isAsSeen() {
		return
	}
	h.opts.Log("%s: has closed its socket for %s: the %d connections that wait there are refused",
		g.name, g.socket.address, g.waiting)
	g.slot.drop(g.socket)
}

package supervise

import (
	"cmp"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// clearing ends what a dead main process left behind. Its goroutine looks for
// the rest of the tree, holds every member by a pidfd, signals it and waits; when
// all are dead it looks again, because they may have had children meanwhile.
type clearing struct {
	c       *child
	gone    func()
	wake    chan struct{} // one place: a signal to send, a member's death, the end
	want    atomic.Int32  // the signal asked for and not yet sent; 0 = none
	quit    atomic.Bool
	ended   sync.WaitGroup
	members map[int]*member // by pid; the goroutine's own
}

// member is a process of the tree, held so that its pid can't become another's.
type member struct {
	start uint64
	pidfd int
	watch uint64
	sent  bool
	dead  atomic.Bool
	alien bool // not ours to signal: it can't be waited for either
}

// startClearing begins with the first signal.
func startClearing(c *child, gone func()) *clearing {
	cl := &clearing{c: c, gone: gone, wake: make(chan struct{}, 1), members: map[int]*member{}}
	cl.ended.Add(1)
	go func() { // ends when nothing is left, or by end, which waits for it
		defer cl.ended.Done()
		cl.run()
	}()
	return cl
}

func (cl *clearing) signal(sig syscall.Signal) {
	cl.want.Store(int32(sig))
	cl.poke()
}

func (cl *clearing) end() {
	cl.quit.Store(true)
	cl.poke()
	cl.ended.Wait()
}

func (cl *clearing) poke() {
	select {
	case cl.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

func (cl *clearing) run() {
	defer cl.releaseAll()
	sig := syscall.SIGTERM
	for range cl.wake {
		if cl.quit.Load() {
			return
		}
		asked := cl.want.Swap(0)
		if asked != 0 {
			sig = syscall.Signal(asked)
		} else if cl.waiting() {
			continue
		}
		left, err := cl.sweep(sig, asked != 0)
		for left && err == nil && !cl.waiting() {
			left, err = cl.sweep(sig, false) // all that it found have died already; look for their children
		}
		if !left && err == nil {
			cl.gone()
			return
		} // an error (no descriptors left) is no proof: the kill timer makes us look again
	}
}

// waiting says whether somebody whom we have signalled still lives.
func (cl *clearing) waiting() bool {
	for _, m := range cl.members {
		if !m.dead.Load() && !m.alien {
			return true
		}
	}
	return false
}

// sweep signals what is left of the tree, or only what it hadn't found before,
// and says whether there was anything that we can end.
func (cl *clearing) sweep(sig syscall.Signal, again bool) (left bool, err error) {
	if again {
		cl.dropUnheld()
	}
	all, err := cl.c.tree()
	if err != nil {
		return false, err
	}
	for _, st := range all {
		m, err := cl.hold(st)
		if err != nil {
			return true, err
		}
		if m != nil && (again || !m.sent) && !m.alien {
			m.sent = true
			m.alien = m.signal(st.pid, sig) == unix.EPERM
		}
		left = left || m == nil || !m.alien
	}
	return left, nil
}

func (m *member) signal(pid int, sig syscall.Signal) error {
	if m.pidfd < 0 {
		return unix.Kill(pid, sig) // its start time has just been looked at
	}
	return unix.PidfdSendSignal(m.pidfd, sig, nil, 0)
}

// hold takes a pidfd of a process and makes sure that it is of that process; nil
// when it has ended meanwhile. Without descriptors left the member isn't held:
// its end will be noticed at the next signal, which comes from the kill timer.
func (cl *clearing) hold(st procStat) (*member, error) {
	if m := cl.members[st.pid]; m != nil {
		if m.start == st.start {
			return m, nil
		}
		cl.release(st.pid) // another process by now
	}
	fd, err := unix.PidfdOpen(st.pid, 0)
	if err == unix.ESRCH {
		return nil, nil
	}
	m := &member{start: st.start, pidfd: fd}
	if now, e := cl.c.k.proc.stat(st.pid); e != nil || now.start != st.start {
		m.close()
		return nil, onlyLack(e)
	}
	if err == nil {
		m.watch, err = cl.c.k.watch(fd, func() {
			m.dead.Store(true)
			cl.poke()
		})
	}
	if err != nil {
		m.close()
		m.pidfd = -1
	}
	cl.members[st.pid] = m
	return m, nil
}

// onlyLack keeps the errors that say nothing of the process: we lack descriptors
// or memory. All others mean that it is gone.
func onlyLack(err error) error {
	switch err {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		return err
	}
	return nil
}

func (m *member) close() {
	if m.pidfd >= 0 {
		unix.Close(m.pidfd)
	}
}

func (cl *clearing) release(pid int) {
	m := cl.members[pid]
	if m.pidfd >= 0 {
		cl.c.k.unwatch(m.watch, m.pidfd)
	}
	m.close()
	delete(cl.members, pid)
}

func (cl *clearing) releaseAll() {
	for pid := range cl.members {
		cl.release(pid)
	}
}

// dropUnheld forgets those whose end we can't see; who still lives is found again.
func (cl *clearing) dropUnheld() {
	for pid, m := range cl.members {
		if m.pidfd < 0 {
			cl.release(pid)
		}
	}
}

// tree lists what lives of the dead child's tree: members of its group, orphans
// that carry its marker, and the descendants of both.
func (c *child) tree() ([]procStat, error) {
	var all []procStat
	var lack error
	err := c.k.proc.list(func(e entry) {
		st, err := c.k.proc.stat(e.pid)
		if err == nil {
			all = append(all, st)
		} else if lack == nil {
			lack = onlyLack(err)
		}
	})
	if err = cmp.Or(err, lack); err != nil {
		return nil, err
	}
	ours, reapers := map[int]bool{}, c.reapers()
	for _, st := range all {
		ours[st.pid] = c.isLeftover(st, reapers)
	}
	for grown := true; grown; {
		grown = false
		for _, st := range all {
			if !ours[st.pid] && ours[st.ppid] {
				ours[st.pid], grown = true, true
			}
		}
	}
	return slices.DeleteFunc(all, func(st procStat) bool { return !ours[st.pid] || !st.alive() }), nil
}

// reapers are the processes that orphans of the tree may have fallen to: they go
// on to the next subreaper when one dies, and what a dead process had is not known.
func (c *child) reapers() []int {
	keeper := c.k.keeper()
	if keeper == 0 {
		return nil
	}
	all := []int{1, keeper, os.Getppid(), c.reaper}
	if st, err := c.k.proc.stat(keeper); err == nil {
		all = append(all, st.ppid)
	}
	return slices.DeleteFunc(all, func(pid int) bool { return pid == 0 })
}

// isLeftover judges a process by itself. A group's number is free for others once
// the group is empty, so a process is in *this* group for certain only if it is
// no younger than the reaping of the leader; younger ones are found by descent or marker.
func (c *child) isLeftover(st procStat, reapers []int) bool {
	if st.pid == os.Getpid() || st.pid == c.k.keeper() || st.pid == 1 || c.k.isMain(st.pid) {
		return false
	}
	if c.pid > 1 && st.group == c.pid && (st.start <= c.reaped || c.k.proc.marked(st.pid, c.marker)) {
		return true
	}
	if !slices.Contains(reapers, st.ppid) || st.start < c.start {
		return false
	}
	return c.k.isMarked(st, c.marker)
}

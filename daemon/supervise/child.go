package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a main process, the leader of its group. Until Reap the unreaped
// leader pins the number of both, so they can be signalled by number; afterwards
// only by pidfd. An adopted one that is not the keeper's child is reaped by its
// parent at any moment and pins nothing.
type child struct {
	k       *OSKernel
	pid     int
	pidfd   int // -1: inherited, it is long dead
	watch   uint64
	start   uint64
	marker  []string
	adopted bool
	reaper  int    // who its orphans fall to; 0: not known
	ooms    uint64 // the OOM killer's count when it was spawned
	group   groupCount
	reaped  uint64 // when, in clock ticks since boot; 0 = not yet
	killed  bool   // we have sent SIGKILL
	clear   *clearing
}

func (c *child) Identity() (pid int, start uint64) { return c.pid, c.start }

func (c *child) Signal(sig syscall.Signal, tree bool) error {
	if c.reaped != 0 {
		return unix.ESRCH
	}
	if sig == unix.SIGKILL {
		c.killed = true
	}
	if tree {
		// Nobody's number can be given to another within the moment between these two
		// calls: the kernel gives all others first.
		if err := unix.PidfdSendSignal(c.pidfd, 0, nil, 0); c.adopted && err != nil {
			return err
		}
		err := unix.Kill(-c.pid, sig)
		// A leader may have moved to another group, as shells with job control do.
		if pg, e := unix.Getpgid(c.pid); e == nil && pg == c.pid {
			return err
		}
	}
	return unix.PidfdSendSignal(c.pidfd, sig, nil, 0)
}

// Reap implements Child. It is on the path of every crash, so it finds out only
// whether something is left; what that is, Clear finds out.
func (c *child) Reap(tree bool, learned func(Exit)) Remains {
	pinned := c.pinned()
	if tree && pinned {
		_ = unix.Kill(-c.pid, unix.SIGTERM)
	}
	known := c.collect(learned)
	if c.reaped == 0 {
		c.reaped = c.k.proc.now()
		c.k.setMain(c.pid, false)
	}
	r := Remains{Reaped: c.reaped}
	if tree && c.hasLeft(pinned && known) {
		r.Pid, r.StartTime = c.pid, c.start
	}
	return r
}

// pinned says that the number of the process and of its group are its own: until
// it is collected by us; or, when its parent isn't our keeper, at this moment.
func (c *child) pinned() bool {
	if c.reaped != 0 || !c.adopted {
		return c.reaped == 0
	}
	st, err := c.k.proc.stat(c.pid)
	return err == nil && st.start == c.start
}

// collect reaps the process, if anybody can, and tells how it ended. Our own child
// is looked at first and then reaped: should we die in between, nothing is lost.
func (c *child) collect(learned func(Exit)) (known bool) {
	var ws unix.WaitStatus
	switch {
	case c.reaped != 0:
	case c.adopted:
		if ws, known = c.k.collect(c.pid); !known {
			break
		}
		learned(c.exit(ws))
		return true
	default:
		if ws, known = peek(c.pid); !known {
			break
		}
		learned(c.exit(ws))
		return reap(c.pid)
	}
	learned(Exit{Code: Unknown})
	return false
}

func (c *child) exit(ws unix.WaitStatus) Exit {
	if ws.Signaled() {
		sig := ws.Signal()
		oom := sig == unix.SIGKILL && !c.killed
		if c.group.file != "" {
			oom = oom && c.group.grew()
		} else {
			oom = oom && c.k.oom.grewSince(c.ooms)
		}
		return Exit{Signal: sig, CoreDump: ws.CoreDump(), OOM: oom}
	}
	return Exit{Code: ws.ExitStatus()}
}

// hasLeft says whether something of the tree still lives. When the leader was
// reaped a moment ago its group's number can't be another's.
func (c *child) hasLeft(groupIsOurs bool) bool {
	if !groupIsOurs {
		left, err := c.tree()
		return err != nil || len(left) > 0
	}
	// EPERM: what is left isn't ours to end (a program that became another user).
	if unix.Kill(-c.pid, 0) == nil {
		return true
	}
	return len(c.k.orphans(c.reaper, c.start, c.marker)) > 0
}

func (c *child) Clear(sig syscall.Signal, gone func()) {
	if c.clear == nil {
		c.clear = startClearing(c, gone)
	}
	c.clear.signal(sig)
}

func (c *child) Release() {
	if c.clear != nil {
		c.clear.end()
	}
	if c.pidfd < 0 {
		return
	}
	c.k.setMain(c.pid, false)
	c.k.unwatch(c.watch, c.pidfd)
	_ = unix.Close(c.pidfd)
}

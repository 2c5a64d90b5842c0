package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a spawned process, the leader of its group. Until Reap the unreaped
// leader pins the number of both, so they can be signalled by number; afterwards
// only by pidfd.
type child struct {
	k      *OSKernel
	pid    int
	pidfd  int
	watch  uint64
	start  uint64
	marker []string
	ooms   uint64 // the OOM killer's count when it was spawned
	reaped uint64 // when, in clock ticks since boot; 0 = not yet
	killed bool   // we have sent SIGKILL
	clear  *clearing
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
func (c *child) Reap(tree bool) (e Exit, leftovers bool) {
	if tree {
		_ = unix.Kill(-c.pid, unix.SIGTERM)
	}
	e = c.collect()
	c.reaped = c.k.proc.now()
	c.k.setMain(c.pid, false)
	if !tree {
		return e, false
	}
	// EPERM: what is left isn't ours to end (a program that became another user).
	if unix.Kill(-c.pid, 0) == nil {
		return e, true
	}
	return e, len(c.k.orphans(c.start, c.marker)) > 0
}

func (c *child) collect() Exit {
	var ws unix.WaitStatus
	for {
		pid, err := unix.Wait4(c.pid, &ws, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || pid != c.pid: // somebody else took it: unknown is not 0
			return Exit{Code: -1}
		case ws.Signaled():
			sig := ws.Signal()
			oom := sig == unix.SIGKILL && !c.killed && c.k.oom.grewSince(c.ooms)
			return Exit{Signal: sig, CoreDump: ws.CoreDump(), OOM: oom}
		}
		return Exit{Code: ws.ExitStatus()}
	}
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
	c.k.setMain(c.pid, false)
	c.k.unwatch(c.watch, c.pidfd)
	_ = unix.Close(c.pidfd)
}

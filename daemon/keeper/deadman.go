package keeper

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// deadline is when a group is killed if the daemon doesn't say otherwise. It goes on
// over the daemon's death: that is what it is for.
type deadline struct {
	main Main
	due  time.Time
}

// earliest of the deadlines; zero: there is none.
func earliest(all map[string]deadline) (due time.Time) {
	for _, d := range all {
		if due.IsZero() || d.due.Before(due) {
			due = d.due
		}
	}
	return due
}

func (k *keeper) extend(m message) {
	if m.number == 0 || m.main.Pid == 0 {
		delete(k.deadMan.groups, m.key)
		return
	}
	k.deadMan.groups[m.key] = deadline{m.main, time.Now().Add(time.Duration(m.number) * time.Millisecond)}
}

// enforce kills the groups whose time is over.
func (k *keeper) enforce(now time.Time) {
	if len(k.deadMan.leases) > 0 {
		if at := k.deadMan.next(); at > 0 && at <= Boottime() {
			k.deadMan.news() // the keeper may have been stopped, and the lease extended
		}
		for _, key := range k.deadMan.ended(Boottime()) {
			k.evict(key)
		}
		k.deadMan.wind()
	}
	for key, d := range k.deadMan.groups {
		if now.Before(d.due) {
			continue
		}
		delete(k.deadMan.groups, key)
		if err := killGroup(d.main); err != nil {
			k.logf("%s: the deadline of pid %d has passed, but it cannot be killed: %v", key, d.main.Pid, err)
			continue
		}
		k.logf("%s: the deadline of pid %d has passed without a word of the daemon: killed", key, d.main.Pid)
	}
}

// killGroup kills the group that main leads or has led. While a member lives the
// kernel gives the number to nobody else; that the leader is another than the one
// meant shows that the group is gone. The pidfd keeps a leader that was looked at
// from being replaced by another before the signal.
func killGroup(main Main) error { return signalGroup(main, unix.SIGKILL) }

func signalGroup(main Main, sig unix.Signal) error {
	if main.Pid < 2 {
		return nil
	}
	fd, err := unix.PidfdOpen(main.Pid, 0)
	if err == nil {
		defer unix.Close(fd)
	}
	if p, ok := look(main.Pid); ok && p.start != main.Start {
		return nil
	}
	err = unix.Kill(-main.Pid, sig)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

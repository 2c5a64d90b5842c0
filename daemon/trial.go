package daemon

import (
	"fmt"
	"slices"
	"time"

	"gopm/cluster"
	"gopm/daemon/supervise"
)

// trial is what a new process has to show before it gets the place of an old one.
type trial struct {
	inc      uint64   // its first incarnation: it must not need a second
	needs    []string // the addresses that the old one listened on
	listens  bool     // the old one listened on something
	awaited  bool     // it is to say that it is ready
	deadline time.Time
	patience time.Duration // how long that was away at first: listen_timeout
	prepares bool          // pre_start comes before it, and has its own time: the deadline is too late as yet
	prove    bool          // it has to live for its min_uptime, even if it listens before
	watch    time.Duration // and is watched so long once it is ready
	ready    time.Time     // when it was; zero: not yet
}

// begun sets the deadline when the process is there.
func (t *trial) begun(p supervise.Snapshot) {
	if t.prepares && p.Pid != 0 {
		t.prepares, t.deadline = false, p.Started.Add(t.patience)
	}
}

// judge says whether it has passed, or why it has failed; neither: not yet.
func (t *trial) judge(now time.Time, p supervise.Snapshot, v cluster.View) (passed bool, fault string) {
	if p.Status == supervise.StatusStopped && p.Want && !t.listens && t.endedWell(p) {
		return true, "" // a program that does its work and ends
	}
	if fault := t.died(p); fault != "" {
		return false, fault
	}
	ready := v.Held || v.Ready && covers(v.Served, t.needs) || p.Settled && (v.Ready || !t.listens)
	if p.Ready == supervise.Awaited {
		ready = false // it is to say so
	}
	switch {
	case !ready && p.Ready == supervise.Awaited && !now.Before(t.deadline):
		return false, fmt.Sprintf("isn't ready after %v (listen_timeout)%s", t.patience, missing(v))
	case ready && t.ready.IsZero():
		t.ready = now
	case !ready && t.listens && !now.Before(t.deadline):
		return false, fmt.Sprintf("doesn't listen after %v (listen_timeout)%s", t.patience, missing(v))
	}
	return ready && (p.Settled || !t.prove) && !now.Before(t.ready.Add(t.watch)), ""
}

// isCanary says that it is to show now how it serves. Without a canary a new process gets
// no connections before it has the place.
func (t *trial) isCanary(p supervise.Snapshot) bool {
	return t.watch > 0 && !t.ready.IsZero() && p.Settled
}

// missing is a hint at why something doesn't listen.
func missing(v cluster.View) string {
	if v.Refused != "" {
		return ": " + v.Refused
	}
	return ""
}

// died says how it has ended, "" if it hasn't.
func (t *trial) died(p supervise.Snapshot) string {
	if e := p.LastExit; e != nil && e.Incarnation >= t.inc { // earlier ones are the old process's
		return exitText(*e)
	}
	return ""
}

func (t *trial) endedWell(p supervise.Snapshot) bool {
	e := p.LastExit
	return e != nil && e.Incarnation == t.inc && e.Err == "" && e.Signal == 0 && e.Code == 0
}

// due is when the next look is needed, if nothing happens before.
func (t *trial) due() time.Time {
	switch {
	case !t.ready.IsZero():
		return t.ready.Add(t.watch)
	case t.listens || t.awaited:
		return t.deadline
	}
	return time.Time{}
}

// covers says whether all of some addresses are among others.
func covers(have, needs []string) bool {
	return !slices.ContainsFunc(needs, func(a string) bool { return !slices.Contains(have, a) })
}

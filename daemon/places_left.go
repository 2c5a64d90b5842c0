package daemon

import (
	"fmt"

	"gopm/cluster"
	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// slotNumber finds the instance's place again after the death of this daemon; 0: it has
// none.
func (in *instance) slotNumber() uint64 {
	if s := in.slot.Load(); s != nil {
		return s.Number()
	}
	return 0
}

// returnPlaces gives the heirs the places that they had. If the keeper has died, too,
// these are made anew around what still lives.
func (d *Daemon) returnPlaces(old legacy, heirs []*heir) (warnings []string) {
	alive := map[int]int{}
	if old.rested == "" && len(old.estate.runs) < len(heirs) {
		alive = old.state.Alive()
	}
	cut := map[string]bool{}
	for _, h := range heirs {
		app := clusterApp(h.ready.app.spec)
		p := h.survivor(alive)
		if p.Pid != 0 && h.slot == 0 && len(app.Given) > 0 {
			d.host.RecoverGiven(app, isClustered(h.ready.app.spec), p.Pid)
		}
		switch {
		case h.slot != 0:
			h.in.slot.Store(d.host.Reopen(h.slot, app, h.in.index))
			h.in.follow(h.machine.Snapshot())
		case p.Pid != 0 && isClustered(h.ready.app.spec):
			s, err := d.host.Recover(app, h.in.index, p)
			if err != nil {
				d.tell(h.in.event(api.EventDaemon, "its sockets cannot be had back: %v; while it serves, connections are spread by the kernel alone", err))
			}
			h.in.slot.Store(s)
			if !cut[h.in.name] {
				cut[h.in.name] = true
				warnings = append(warnings, fmt.Sprintf("%s: the keeper has died together with the daemon, and system calls of its instances can't be watched any more: ports that they have not yet opened fail to open (ENOSYS) until they are started again; gopm reload %s does that", h.in.name, h.in.name))
			}
		}
	}
	return warnings
}

// survivor is the process of an instance of which the keeper knew nothing, if it lives,
// with the incarnation that the machine is going to count it as.
func (h *heir) survivor(alive map[int]int) (p cluster.Survivor) {
	m := h.machine
	switch found := h.found.Pid; {
	case found != 0 && m.State == supervise.Spawning:
		p.Inc, p.Pid = m.Inc, found
	case found != 0:
		p.Inc, p.Pid = m.Inc+1, found
	case m.Run.Pid != 0 && alive[h.in.id] == m.Run.Pid:
		p.Inc, p.Pid = m.Inc, m.Run.Pid
		p.Active, p.Asked = h.was.Duty == dutyActive, h.was.Duty == dutyAsked
	}
	return p
}

// What an instance is among programs that are told which of them is active, in the state.
const (
	dutyActive = "active"
	dutyAsked  = "asked"
)

// dutyOf is that of an instance now.
func dutyOf(in *instance) string {
	a, slot := in.app.Load(), in.slot.Load()
	if a == nil || slot == nil || !isTold(a.spec) {
		return ""
	}
	switch v := slot.View(); {
	case v.Asked != 0 && v.Asked == in.proc.Snapshot().Incarnation:
		return dutyAsked
	case !v.Standby:
		return dutyActive
	}
	return ""
}

package daemon

import (
	"gopm/cluster"
	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// isClustered says whether the instances of an app share its ports.
func isClustered(spec ecosystem.App) bool { return spec.Scale.ExecMode == "cluster" }

// clusterApp is what the cluster has to know of an app.
func clusterApp(spec ecosystem.App) cluster.App {
	c := spec.Cluster
	active := 0 // all
	if spec.Scale.Total() > spec.Scale.Instances {
		active = spec.Scale.Instances
	}
	if needsPermit(spec) {
		active = 1
	}
	return cluster.App{Name: spec.Name, Ports: c.Ports, Named: spec.NamedPorts(), Backlog: c.Backlog, Share: c.Share,
		Balance: balances[c.Balance], Hold: c.Hold, Hang: c.Hang, Active: active, Patience: spec.Reload.Ready, Given: given(spec), Owner: ownerOf(spec), Told: isTold(spec), Permit: needsPermit(spec) && !isTold(spec), Aloof: needsPermit(spec)}
}

// place is the instance's slot. An app that was clustered and isn't any more loses it
// when its next run begins, for the present one serves what connects to it.
func (in *instance) place(h *cluster.Host) *cluster.Slot {
	s := in.slot.Load()
	a := in.app.Load()
	switch {
	case a == nil:
	case s == nil && isClustered(a.spec):
		s = h.Open(clusterApp(a.spec), in.index)
		in.slot.Store(s)
	case s != nil && !isClustered(a.spec):
		s.Close()
		s = nil
		in.slot.Store(nil)
	}
	return s
}

// launch gives a new run its pipes, and its place in the cluster.
func (in *instance) launch(h *cluster.Host, inc uint64) (l supervise.Launch, err error) {
	if l.Out, l.Err, err = in.stdio(); err != nil {
		return l, err
	}
	if s := in.place(h); s != nil {
		l.Thread = s.Enter(inc)
	}
	if l.Inherit, err = in.give(h); err != nil {
		l.Out.Close()
		l.Err.Close()
	}
	return l, err
}

// follow tells the instance's place what has become of its process.
func (in *instance) follow(s supervise.Snapshot) {
	if slot := in.slot.Load(); slot != nil {
		slot.Follow(condition(s))
	}
}

// condition is what of a process matters to its place.
func condition(s supervise.Snapshot) cluster.Condition {
	c := cluster.Condition{Inc: s.Incarnation, Pid: s.Pid, Settled: s.Settled, Ending: s.Status == supervise.StatusStopping}
	switch {
	case s.Pid != 0 || s.Status == supervise.StatusLaunching:
		c.Alive = true
	case s.Status == supervise.StatusStopped || s.Status == supervise.StatusErrored:
		c.Down = true
	default:
		c.Wait = s.Backoff
	}
	return c
}

// modeOf is how an instance runs: "cluster" unless that was refused.
func modeOf(a *app, in *instance) string {
	if !isClustered(a.spec) {
		return "fork"
	}
	if slot := in.slot.Load(); slot != nil && slot.View().Trouble != "" {
		return "fork"
	}
	return "cluster"
}

// placeOf is what `info` shows of an instance's place; nil: it has none.
func placeOf(in *instance) *api.Place {
	slot := in.slot.Load()
	if slot == nil {
		return nil
	}
	v := slot.View()
	return &api.Place{Ready: v.Ready, Standby: v.Held, Addresses: v.Addresses, NoNewPrivs: v.NoNewPrivs, Trouble: v.Trouble, Refused: v.Refused, Lent: v.Lent}
}

// rollOf is where the exchange of an instance by a roll is.
func (d *Daemon) rollOf(in *instance) string {
	if r := d.rolls.find(in.name); r != nil {
		return r.story.of(in.id)
	}
	return ""
}

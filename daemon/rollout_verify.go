package daemon

import (
	"context"
	"fmt"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// shown is what an instance shows of a run that a turn has begun.
type shown struct {
	label   string
	s       supervise.Snapshot
	job     bool        // it runs at times
	waits   bool        // it waits for what it depends on
	stuck   bool        // and that does not come by itself
	standby bool        // another has its lock: it is as well as it can be
	health  *api.Health // nil: it isn't checked
	renewed bool        // it has to have been started since the turn began
	resumed bool        // and nobody is going to do that any more
}

// verdict says whether an instance is verified, or why it never will be; neither: not yet.
func (i shown) verdict(since time.Time) (passed bool, fault string) {
	s := i.s
	e := s.LastExit
	died := e != nil && !e.Requested && !e.At.Before(since)
	switch {
	case i.job, i.standby:
		return true, ""
	case i.stuck:
		return false, i.label + " waits for what is down"
	case i.waits:
		return false, ""
	case died && s.Status == supervise.StatusStopped && s.Want && e.Err == "" && e.Signal == 0 && e.Code == 0:
		return true, "" // a program that does its work and ends
	case died:
		return false, fmt.Sprintf("%s %s", i.label, exitText(*e))
	case s.Status == supervise.StatusErrored:
		return false, i.label + " is errored"
	case !s.Want && isDown(s):
		return false, i.label + " was stopped"
	case s.Pid != 0 && i.renewed && s.Started.Before(since):
		if i.resumed && s.Status == supervise.StatusOnline {
			return false, i.label + " still runs its old process: gopm has died before it was replaced"
		}
		return false, ""
	case i.health != nil && i.health.State == api.HealthUnhealthy:
		return false, fmt.Sprintf("%s is unhealthy: %s", i.label, i.health.Error)
	case i.health != nil && i.health.State != api.HealthHealthy:
		return false, ""
	}
	return s.Status == supervise.StatusOnline && s.Settled && s.Ready != supervise.Awaited, ""
}

// verdicts is that of all of them.
func verdicts(all []shown, since time.Time) (passed bool, fault string) {
	passed = len(all) > 0
	for _, i := range all {
		one, fault := i.verdict(since)
		if fault != "" {
			return false, fault
		}
		passed = passed && one
	}
	return passed, ""
}

// proof is what an app has to show besides that it is well.
type proof struct {
	renewed bool // all have been started since
	resumed bool // by the daemon before this one
}

// verifyLimit is how long an app may take to show that it is well.
const verifyLimit = 10 * time.Minute

// verify waits until all instances of an app have shown that they are well: ready,
// healthy where they are checked, and alive for min_uptime.
func (d *Daemon) verify(ctx context.Context, name string, since time.Time, p proof) (fault string) {
	changes := d.hub.subscribe()
	defer d.hub.unsubscribe(changes)
	limit := time.NewTimer(verifyLimit)
	defer limit.Stop()
	for {
		a := d.table.Load().app(name)
		if a == nil {
			return "it was deleted"
		}
		var all []shown
		for _, in := range a.instances {
			all = append(all, in.shown(p))
		}
		passed, fault := verdicts(all, since)
		if passed || fault != "" {
			return fault
		}
		select {
		case <-changes.wake:
			changes.take()
		case <-limit.C:
			return fmt.Sprintf("it isn't well after %v", verifyLimit)
		case <-ctx.Done():
			return ctx.Err().Error()
		}
	}
}

// shown is what it shows now.
func (in *instance) shown(p proof) shown {
	i := shown{label: in.label(), s: in.proc.Snapshot(), job: in.isJob(), health: healthOf(in), renewed: p.renewed, resumed: p.resumed}
	if w := in.waits.Load(); w != nil {
		i.waits, i.stuck = true, isStuck(w.lacks)
	}
	if st := in.standing.Load(); st != nil && in.standsBy() {
		i.standby = st.state.Holder != "" && st.state.Holder != nodeName()+":"+in.name
	}
	return i
}

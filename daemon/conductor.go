package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// conductor starts what waits for others (depends_on) when these are there, and does what
// on_dependency_exit says. It remembers nothing: all is in the instances. While no app
// depends on another it has no goroutine.
type conductor struct {
	worker
	d *Daemon
}

// wait is what an instance waits for. It is over when the instance has another incarnation
// than when it began.
type wait struct {
	from   uint64
	again  bool // it runs, and is to be restarted
	lost   bool // because what it depends on was down for good
	paused bool // that is only just being ended
	lacks  []lack
}

// held is whether an instance waits.
type held struct {
	waits atomic.Pointer[wait] // nil: it doesn't
	halts sync.Mutex           // makes one of counting a stop and telling the process
	stops atomic.Uint32        // how often it was to be stopped

	doomed atomic.Bool // it is to be stopped when what depends on it is down
}

func newConductor(d *Daemon) *conductor { return &conductor{d: d} }

// look begins or ends the work, after the table has changed.
func (c *conductor) look() {
	c.keep(slices.ContainsFunc(c.d.table.Load().apps, func(a *app) bool { return mayWait(a.spec) }), c.run)
}

// hasNeeds says whether an app depends on others.
func hasNeeds(spec ecosystem.App) bool { return len(spec.DependsOn.Apps) > 0 }

// mayWait says whether an app's instances can have to wait before they are started.
func mayWait(spec ecosystem.App) bool { return hasNeeds(spec) || isConfigured(spec) }

// waitsFirst says whether an instance of the app is to wait until it is seen that it may be
// started.
func (a *app) waitsFirst() bool { return hasNeeds(a.spec) || a.lacksValues() }

// lacks is what an app waits for before its instances are started.
func (d *Daemon) lacks(t *table, a *app) []lack {
	return append(lacking(a.spec.DependsOn.Apps, t.facts), d.tuner.lacks(a)...)
}

func (d *Daemon) lacksOf(in *instance) []lack {
	t := d.table.Load()
	if a := t.app(in.name); a != nil {
		return d.lacks(t, a)
	}
	return nil
}

func (c *conductor) run(stop <-chan struct{}) {
	changes := c.d.hub.subscribe()
	defer c.d.hub.unsubscribe(changes)
	heard(c.d.everyone()) // who has died with the daemon before seems to run until then
	for {
		select { // a request that changes the table is not to be seen half done
		case c.d.changing <- struct{}{}:
			c.d.conduct()
			<-c.d.changing
		case <-c.d.ending.closing:
		case <-stop:
			return
		}
		select {
		case <-changes.wake:
			changes.take()
		case <-stop:
			return
		}
	}
}

// conduct starts whatever may be started now, and ends what may not run any more. It is
// called by who has the turn to change the table.
func (d *Daemon) conduct() {
	for d.ending.reason() == "" {
		acted := append(d.release(), d.dismiss()...)
		if len(acted) == 0 {
			return
		}
		heard(acted)
	}
}

// heard returns when instances have taken notice of what they were asked for: their
// snapshots say so then.
func heard(asked []*instance) {
	for _, in := range asked {
		_, _ = in.proc.Await(context.Background(), func(supervise.Snapshot) bool { return true }) // an error: it is closed
	}
}

// order is what depends on what in a table.
func (t *table) order() graph {
	g := graph{}
	for _, a := range t.apps {
		g.add(a.spec)
	}
	return g
}

// facts are what those who depend on an app see of it.
func (t *table) facts(name string) (all []fact) {
	a := t.app(name)
	if a == nil {
		return nil
	}
	for _, in := range a.instances {
		if !in.isStandby() {
			all = append(all, in.fact(a.spec))
		}
	}
	return all
}

func (in *instance) fact(spec ecosystem.App) fact {
	s, w := in.proc.Snapshot(), in.waits.Load()
	f := fact{status: s.Status, runs: s.Pid != 0, wanted: s.Want || w != nil || in.restedBy() != "", healthy: !in.wantsChecks() || in.isHealthy()}
	f.armed = in.isArmed()
	if w != nil {
		f.waits, f.stuck, f.needs = true, isStuck(w.lacks), strings.Join(lackNames(w.lacks), ", ")
	}
	if e := s.LastExit; e != nil && !e.Requested {
		f.exit = exitWord(*e)
		f.ended = s.Status == supervise.StatusStopped && w == nil && in.restedBy() == "" && e.Incarnation == s.Incarnation && e.Signal == 0 && e.Err == "" &&
			(e.Code == 0 || slices.Contains(spec.Restart.StopExitCodes, e.Code))
	}
	return f
}

// release starts the instances that wait for nothing any more. If there are none it notes
// what the others wait for: not before, for those that have just been told to start seem
// to be down still.
func (d *Daemon) release() (started []*instance) {
	t := d.table.Load()
	all := t.where(func(_ *app, in *instance) bool { return in.waits.Load() != nil })
	free := map[*instance]*wait{} // all are looked at first: who is told to restart seems to be there until it has heard that
	for _, in := range all {
		w, lacks := d.wait(t, in)
		switch {
		case w == nil || w.paused:
		case in.proc.Snapshot().Incarnation != w.from: // something else has started it
			in.waits.CompareAndSwap(w, nil)
			d.hub.tell(in)
		case len(lacks) == 0 && (!w.again || d.rolls.find(in.name) == nil):
			free[in] = w
		}
	}
	for _, in := range all {
		if w := free[in]; w != nil && d.admit(in, w) {
			started = append(started, in)
		}
	}
	if len(started) == 0 && len(all) > 0 {
		d.noteLacks(t)
	}
	return started
}

// wait is what an instance waits for, as it was noted and as it is now.
func (d *Daemon) wait(t *table, in *instance) (w *wait, lacks []lack) {
	a, w := t.app(in.name), in.waits.Load()
	if a == nil || w == nil {
		return nil, nil
	}
	return w, d.lacks(t, a)
}

// noteLacks notes what instances wait for, those first that others wait for.
func (d *Daemon) noteLacks(t *table) {
	for _, name := range t.order().sorted(t.names()) {
		for _, in := range t.app(name).instances {
			w, lacks := d.wait(t, in)
			if w == nil || slices.Equal(lacks, w.lacks) {
				continue
			}
			next := *w
			next.lacks = lacks
			if !in.waits.CompareAndSwap(w, &next) {
				continue
			}
			if !slices.Equal(lackNames(lacks), lackNames(w.lacks)) || isStuck(lacks) != isStuck(w.lacks) {
				d.tell(in.event(api.EventWaits, "waits for %s", lackText(lacks)))
			}
			d.hub.tell(in)
			d.store.changed()
		}
	}
}

// admit starts one that has waited. Its user may have it stopped in the same moment: then
// that is what counts.
func (d *Daemon) admit(in *instance, w *wait) bool {
	stops := in.stops.Load()
	if !w.again {
		in.ordered.Store(w.from + 1)
	}
	if !in.waits.CompareAndSwap(w, nil) {
		return false
	}
	if len(w.lacks) > 0 {
		d.tell(in.event(api.EventWaits, "waits no longer: %s is there", strings.Join(lackNames(w.lacks), ", ")))
	}
	switch {
	case w.again && w.lost:
		in.because(byDependency, in.proc.Snapshot().Incarnation)
		in.restart("what it depends on is there again")
	case w.again:
		in.restart("")
	default:
		in.start()
	}
	if in.stops.Load() != stops {
		in.stop()
	}
	return true
}

// dismiss does what on_dependency_exit says to the instances that run while something that
// they depend on is down for good.
func (d *Daemon) dismiss() (acted []*instance) {
	t := d.table.Load()
	for _, a := range t.apps {
		lost := t.lost(a.spec)
		if lost == nil || d.rolls.find(a.spec.Name) != nil || slices.ContainsFunc(lost, func(l lack) bool { return d.rolls.find(l.app) != nil }) {
			continue
		}
		for _, in := range a.instances {
			if !in.mayBeSuspended() {
				continue
			}
			stops := in.stopsSoFar()
			heard([]*instance{in}) // who has just been stopped seems to run until then, and is not to come back
			if !in.mayBeSuspended() {
				continue
			}
			s := in.proc.Snapshot()
			again := a.spec.DependsOn.OnExit == ecosystem.OnExitRestart
			if !in.suspend(&wait{from: s.Incarnation, again: again, lost: true, lacks: lost}, stops) {
				continue
			}
			if again {
				d.tell(in.event(api.EventWaits, "is to be restarted when %s is there again", lackText(lost)))
			} else {
				d.tell(in.event(api.EventWaits, "is stopped with %s, and started with it", lackText(lost)))
				acted = append(acted, in)
			}
			d.hub.tell(in)
		}
	}
	if len(acted) > 0 {
		d.store.commit() // or with this daemon it would be forgotten that they are to come back
	}
	for _, in := range acted {
		in.proc.Stop()
	}
	return acted
}

// lost are the dependencies of an app that are down for good, if that matters to it.
func (t *table) lost(spec ecosystem.App) (all []lack) {
	if on := spec.DependsOn.OnExit; on != ecosystem.OnExitStop && on != ecosystem.OnExitRestart {
		return nil
	}
	for _, need := range spec.DependsOn.Apps {
		facts := t.facts(need.App)
		if need.Until == ecosystem.UntilCompleted || !isGone(facts) {
			continue
		}
		all = append(all, lacking([]ecosystem.Dependency{need}, func(string) []fact { return facts })...)
	}
	return all
}

// begins starts an instance, or has it wait for what it depends on until inOrder.
func (d *Daemon) begins(in *instance) (did string) {
	if a := in.app.Load(); a == nil || !a.waitsFirst() || in.isJob() {
		return in.start()
	}
	in.hold(false)
	return api.DidStart
}

// renews restarts an instance, in the same way.
func (d *Daemon) renews(in *instance, s supervise.Snapshot) (did string) {
	if a := in.app.Load(); a == nil || !a.waitsFirst() || in.isJob() {
		return in.restart("")
	}
	in.hold(!isDown(s) && s.Status != supervise.StatusWaiting)
	return api.DidRestart
}

// mayBeSuspended says that an instance runs, as it is to.
func (in *instance) mayBeSuspended() bool {
	s := in.proc.Snapshot()
	return in.waits.Load() == nil && s.Want && !isDown(s) && s.Status != supervise.StatusStopping
}

// stopsSoFar are those of which the process has been told.
func (in *instance) stopsSoFar() uint32 {
	in.halts.Lock()
	defer in.halts.Unlock()
	return in.stops.Load()
}

// suspend has an instance wait, unless its user has had it stopped since it had so many
// stops: then it is not to come back.
func (in *instance) suspend(w *wait, stops uint32) bool {
	in.halts.Lock()
	defer in.halts.Unlock()
	if in.stops.Load() != stops {
		return false
	}
	in.waits.Store(w)
	return true
}

// hold has an instance wait until what it depends on is there.
func (in *instance) hold(again bool) {
	in.rested.Store(nil)
	in.job.disarm() // it may have been one
	in.waits.Store(&wait{from: in.proc.Snapshot().Incarnation, again: again})
}

// waive starts what would wait for something that was stopped before the machine, or gopm,
// was: it had run without it.
func (d *Daemon) waive(all []*instance) {
	heard(all)
	t := d.table.Load()
	for _, in := range all {
		a, w := t.app(in.name), in.waits.Load()
		if a == nil || w == nil {
			continue
		}
		lacks := d.lacks(t, a)
		if !slices.ContainsFunc(lacks, func(l lack) bool { return !l.stuck }) {
			in.start()
		}
	}
	heard(all)
	d.conduct()
}

func savedWait(in *instance) *api.SavedWait {
	w := in.waits.Load()
	if w == nil {
		return nil
	}
	return &api.SavedWait{From: w.from, Again: w.again}
}

// showWait says in a row that an instance waits.
func (in *instance) showWait(p *api.Process) {
	w := in.waits.Load()
	if w == nil {
		return
	}
	p.Waits, p.WaitsOn, p.Stuck = lackText(w.lacks), lackNames(w.lacks), isStuck(w.lacks)
	if !w.again && (p.Status == string(supervise.StatusStopped) || p.Status == string(supervise.StatusErrored)) {
		p.Status = string(supervise.StatusLaunching)
	}
}

// exitWord is how a run ended, in two words.
func exitWord(e supervise.Exit) string {
	switch {
	case e.Err != "":
		return "cannot be started"
	case e.Signal != 0:
		return signalName(e.Signal)
	case e.Code == supervise.Unknown:
		return "exit not known"
	}
	return fmt.Sprintf("exit %d", e.Code)
}

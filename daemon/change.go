package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/room"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// begin waits for the turn to change the table; the returned function ends it.
func (d *Daemon) begin(ctx context.Context) (end func(), err error) {
	if d.ending.reason() != "" {
		return nil, d.ending.refusal()
	}
	select {
	case d.changing <- struct{}{}:
		d.thrift.spend()
		return func() { <-d.changing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.ending.closing:
		return nil, d.ending.refusal()
	}
}

// apply brings the apps of a request to what it says: see plan. Everything that
// can be refused is refused before anything is started or stopped.
func (d *Daemon) apply(ctx context.Context, req api.Apply) (api.Outcome, error) {
	if err := checkApps(req.Apps); err != nil {
		return api.Outcome{}, err
	}
	defer d.tuner.foresee(ctx, req)()
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	req.Apps = d.table.Load().asMeant(req)
	for _, a := range req.Apps {
		if err := d.rolls.refusal(a.Name); err != nil {
			return api.Outcome{}, err
		}
	}
	if err := checkOrder(d.table.Load(), req.Apps, req.Origin); err != nil {
		return api.Outcome{}, err
	}
	out, err := d.converge(req)
	if err != nil {
		return api.Outcome{}, err
	}
	out.Apps = append(out.Apps, d.handleOrphans(req)...)
	return out, nil
}

// converge is apply less what concerns the other apps of the file. It is called in
// its turn.
func (d *Daemon) converge(req api.Apply) (out api.Outcome, err error) {
	t := d.table.Load()
	todo, err := plan(t, req, isUp)
	if err != nil {
		return out, err
	}
	gentle, todo := apart(todo)
	defer makeRoom(todo)()
	prepared, err := d.prepareAll(t, req, append(gentle, todo...))
	if err != nil {
		return out, api.Errorf(api.KindInvalid, "%v", err)
	}
	stages, err := d.stageAll(todo, prepared[len(gentle):], d.nextID())
	if err != nil {
		return out, err
	}
	for i, dec := range gentle {
		out.Apps = append(out.Apps, d.exchange(dec, prepared[i], req))
	}
	for _, st := range stages {
		d.publish(st)
		st.order()
	}
	d.store.commit() // from here on no death of ours makes anybody forget what is started, or was to be
	for _, st := range stages {
		out.Apps = append(out.Apps, d.carryOut(st))
	}
	out.Warnings = append(out.Warnings, privilegeWarnings(stages)...)
	out.Warnings = append(out.Warnings, d.limitWarnings(stages)...)
	d.upkeep.look()
	d.inOrder(&out, d.actedOn(out))
	return out, nil
}

func (d *Daemon) prepareAll(t *table, req api.Apply, todo []decision) ([]ready, error) {
	shells := map[string][]string{} // equal settings share one copy of the inherited environment
	prepared := make([]ready, len(todo))
	for i, dec := range todo {
		a := &app{spec: dec.want, origin: req.Origin, created: time.Now()}
		if have := t.app(dec.want.Name); have != nil {
			a.created, a.instances, a.inherited = have.created, slices.Clone(have.instances), have.inherited
			a.values = d.tuner.valuesFor(a, have)
		}
		if a.instances == nil || req.Update {
			key := fmt.Sprint(dec.want.Env.Inherit, dec.want.Env.Filter)
			if shells[key] == nil {
				shells[key] = ecosystem.Inherited(req.Environ, dec.want.Env)
			}
			a.inherited = shells[key]
		}
		r, err := d.prepare(a)
		if err != nil {
			return nil, err
		}
		prepared[i] = r
	}
	return prepared, nil
}

// publish puts an app's version into the table.
func (d *Daemon) publish(st stage) {
	for _, in := range st.surplus {
		if st.departs() {
			d.rolls.besides(in)
		} else {
			in.proc.Stop() // all at once; dispose waits for each
		}
	}
	for _, in := range st.kept {
		d.configure(st.ready, in)
	}
	d.put(d.table.Load().with(st.app), st.app)
}

// order notes which instances carryOut is going to start.
func (st stage) order() {
	for _, in := range st.app.instances {
		switch s := in.proc.Snapshot(); {
		case st.did == api.IsNotStarted || st.want.Times.IsJob() || !isDown(s):
		case st.app.waitsFirst():
			in.hold(false)
		default:
			in.ordered.Store(s.Incarnation + 1)
		}
	}
}

// carryOut does what was decided for one app.
func (d *Daemon) carryOut(st stage) api.AppOutcome {
	out := api.AppOutcome{Name: st.want.Name, Did: st.did, Changes: st.changes, Gap: st.did == api.DidRestart, MinUptime: st.want.Restart.MinUptime.Milliseconds(), ReadyMS: readyLimit(st.want), NextRun: nextRun(st.want, st.did)}
	for _, in := range st.app.instances {
		fresh := slices.Contains(st.fresh, in)
		if started, acted := d.actOn(in, st.decision, fresh); acted {
			out.Instances = append(out.Instances, started)
			if out.Did == api.DidNothing {
				out.Did = api.DidStart
			}
		}
	}
	for _, in := range st.surplus {
		in.app.Store(nil)
		if !st.departs() {
			d.dispose(in)
		}
	}
	if len(st.surplus) > 0 && st.departs() {
		r := d.depart(st.ready, st.surplus)
		d.rolls.begin(r)
		out.Roll = r.number
	}
	return out
}

// actOn starts or restarts one instance as decided. An instance that is down
// while the others of its app run is started with them.
func (d *Daemon) actOn(in *instance, dec decision, fresh bool) (api.Started, bool) {
	s := in.proc.Snapshot()
	started := api.Started{ID: in.id, After: s.Incarnation}
	down := isDown(s)
	switch {
	case dec.did == api.IsNotStarted:
		return started, false
	case dec.want.Times.IsJob():
		return started, in.schedule(dec)
	case dec.restart && !fresh && !down:
		d.renews(in, s)
	case fresh || down:
		d.begins(in)
	default:
		return started, false
	}
	return started, true
}

// put publishes a table with a new version of an app.
func (d *Daemon) put(t *table, a *app) {
	d.table.Store(t)
	for _, in := range a.instances {
		in.app.Store(a)
	}
}

// take publishes the table without some instances.
func (d *Daemon) take(gone []*instance) {
	t := d.table.Load().without(gone)
	d.table.Store(t)
	for _, in := range gone {
		in.app.Store(nil)
		if t.app(in.name) == nil {
			d.rolls.forget(in.name)
		}
	}
	for _, a := range t.apps { // an app that lost only some of its instances is another version now
		d.put(t, a)
	}
	d.upkeep.look()
	d.store.commit()
	d.hub.wakeAll() // followers of logs see that they are gone
}

// handleOrphans reports, or with prune deletes, the apps that the file lost.
func (d *Daemon) handleOrphans(req api.Apply) []api.AppOutcome {
	var out []api.AppOutcome
	t := d.table.Load()
	for _, a := range orphans(t, req) {
		did := api.IsOrphan
		if req.Prune {
			did = api.DidDelete
			_ = d.rolls.breakOff(context.Background(), a.instances, "start --prune") // it doesn't need the turn any more
			d.take(a.instances)
			d.disposeAll(a.instances)
		}
		out = append(out, api.AppOutcome{Name: a.spec.Name, Did: did})
	}
	return out
}

func (d *Daemon) disposeAll(all []*instance) {
	for _, in := range all {
		in.proc.Stop()
	}
	for _, in := range all {
		d.dispose(in)
	}
}

// start starts what is down of the targets.
func (d *Daemon) start(ctx context.Context, req api.Targets) (api.Outcome, error) {
	return d.onTargets(ctx, req, func(in *instance, s supervise.Snapshot) string {
		if !in.isJob() && !isDown(s) && s.Status != supervise.StatusWaiting {
			return api.IsRunning
		}
		return d.begins(in)
	})
}

// restart restarts the targets.
func (d *Daemon) restart(ctx context.Context, req api.Targets) (api.Outcome, error) {
	if err := d.calm(ctx, req.Targets, "restart"); err != nil {
		return api.Outcome{}, err
	}
	return d.onTargets(ctx, req, func(in *instance, s supervise.Snapshot) string {
		return d.renews(in, s)
	})
}

// onTargets does something to each target, with fields or the environment changed
// before if the request says so.
func (d *Daemon) onTargets(ctx context.Context, req api.Targets, do func(*instance, supervise.Snapshot) string) (api.Outcome, error) {
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	for _, in := range picked {
		if err := d.rolls.refusal(in.name); err != nil {
			return api.Outcome{}, err
		}
	}
	var warnings []string
	if req.Update || len(req.Set) > 0 {
		if warnings, err = d.update(picked, req); err != nil {
			return api.Outcome{}, err
		}
	}
	out := gather(picked, func(in *instance) (api.Started, string) {
		s := in.proc.Snapshot()
		return api.Started{ID: in.id, After: s.Incarnation}, do(in, s)
	})
	out.Warnings = warnings
	picked = append(picked, d.inOrder(&out, picked)...)
	return out, d.keepWishes(ctx, picked)
}

// keepWishes returns when no death of ours can undo what was asked of some instances.
func (d *Daemon) keepWishes(ctx context.Context, asked []*instance) error {
	for _, in := range asked { // each hears this after what it was asked
		if _, err := in.proc.Await(ctx, func(supervise.Snapshot) bool { return true }); err != nil {
			return err
		}
		if in.isJob() {
			d.hub.tell(in) // to the timekeeper, among others
		}
	}
	d.store.commit()
	return nil
}

// update gives the apps of some instances new fields or a new environment.
func (d *Daemon) update(picked []*instance, req api.Targets) (warnings []string, err error) {
	t := d.table.Load()
	var changed []ready
	for _, a := range t.apps {
		if !slices.ContainsFunc(picked, func(in *instance) bool { return slices.Contains(a.instances, in) }) {
			continue
		}
		next, problems, err := d.updated(a, req)
		if err != nil {
			return nil, api.Errorf(api.KindInvalid, "%v", err)
		}
		for _, p := range problems {
			if p.Severity >= ecosystem.SeverityWarning {
				warnings = append(warnings, p.String())
			}
		}
		changed = append(changed, next)
		if err := checkOrder(t, []ecosystem.App{next.app.spec}, a.origin); len(req.Set) > 0 && err != nil {
			return nil, err
		}
	}
	for _, r := range changed {
		for _, in := range r.app.instances {
			if err := d.retarget(r, in); err != nil {
				return nil, err
			}
			d.configure(r, in)
		}
		t = t.with(r.app)
		d.put(t, r.app)
	}
	d.upkeep.look()
	return warnings, nil
}

func (d *Daemon) updated(a *app, req api.Targets) (ready, ecosystem.Problems, error) {
	next := *a
	var problems ecosystem.Problems
	if len(req.Set) > 0 {
		var err error
		have := room.Of(0)
		options := ecosystem.Options{Environ: req.Environ, Dir: req.Cwd, CPUs: have.CPUs(), Memory: have.Bytes()}
		next.spec, problems, err = ecosystem.Override(a.spec, req.Set, options)
		if err != nil {
			return ready{}, nil, err
		}
		if next.spec.Name != a.spec.Name || next.spec.Scale.Instances != a.spec.Scale.Instances || next.spec.Scale.Total() != a.spec.Scale.Total() {
			return ready{}, nil, fmt.Errorf("%s: restart cannot change the name or the number of instances or spares; change the file and start it", a.spec.Name)
		}
	}
	if req.Update {
		next.inherited = ecosystem.Inherited(req.Environ, next.spec.Env)
	}
	r, err := d.prepare(&next)
	return r, problems, err
}

// calm breaks off what is under way with the apps of some targets.
func (d *Daemon) calm(ctx context.Context, targets []string, by string) error {
	picked, err := d.table.Load().selection(targets)
	if err != nil {
		return err
	}
	return d.rolls.breakOff(ctx, picked, by)
}

// stop stops the targets and returns when they are down.
func (d *Daemon) stop(ctx context.Context, req api.Targets) (api.Outcome, error) {
	if err := d.calm(ctx, req.Targets, "stop"); err != nil {
		return api.Outcome{}, err
	}
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	out := gather(picked, func(in *instance) (api.Started, string) {
		s := in.proc.Snapshot()
		did := api.DidStop
		if isDown(s) && s.NextTry.IsZero() && !in.isArmed() && in.waits.Load() == nil {
			did = api.IsStopped
		}
		return api.Started{ID: in.id, After: s.Incarnation}, did
	})
	more, notes := d.table.Load().followers(picked)
	out.Warnings = notes
	defer d.resume(more)
	d.intend(picked)
	d.endInOrder(ctx, slices.Concat(more, picked), func(in *instance) {
		if slices.Contains(more, in) {
			if stops := in.stopsSoFar(); in.suspend(&wait{from: in.proc.Snapshot().Incarnation, paused: true}, stops) {
				in.proc.Stop()
			}
			return
		}
		in.stop()
	})
	picked = append(picked, more...)
	if err := d.keepWishes(ctx, picked); err != nil { // what comes of it may take long
		return out, err
	}
	for _, in := range picked {
		if err := in.awaitStopped(ctx); err != nil {
			return out, err
		}
	}
	return out, nil
}

// awaitStopped waits until a stop has taken effect. An instance that was given up
// meanwhile, by a scale or a reload, is stopped, too.
func (in *instance) awaitStopped(ctx context.Context) error {
	_, err := in.proc.Await(ctx, isStopped)
	if errors.Is(err, supervise.ErrClosed) {
		return nil
	}
	return err
}

// remove deletes the targets, stopping them first.
func (d *Daemon) remove(ctx context.Context, req api.Targets) (api.Outcome, error) {
	stopped, err := d.stop(ctx, req) // outside the turn: it may take as long as kill_timeout
	if err != nil {
		return api.Outcome{}, err
	}
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	t := d.table.Load()
	picked, err := t.selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	d.take(picked)
	d.disposeAll(picked)
	out := gather(picked, func(in *instance) (api.Started, string) {
		return api.Started{ID: in.id}, api.DidDelete
	})
	out.Warnings = stopped.Warnings
	return out, nil
}

// gather does something to each instance and reports it app by app. An app with
// instances of both kinds is reported by what was done, not by what was not.
func gather(picked []*instance, do func(*instance) (api.Started, string)) api.Outcome {
	var out api.Outcome
	at := map[string]int{}
	for _, in := range picked {
		started, did := do(in)
		i, known := at[in.name]
		if !known {
			i = len(out.Apps)
			at[in.name] = i
			o := api.AppOutcome{Name: in.name, Did: did}
			if a := in.app.Load(); a != nil {
				o.MinUptime, o.ReadyMS, o.NextRun = a.spec.Restart.MinUptime.Milliseconds(), readyLimit(a.spec), nextRun(a.spec, did)
			}
			out.Apps = append(out.Apps, o)
		}
		a := &out.Apps[i]
		a.Instances = append(a.Instances, started)
		if did != api.IsRunning && did != api.IsStopped {
			a.Did = did
		}
	}
	return out
}

package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// begin waits for the turn to change the table; the returned function ends it.
func (d *Daemon) begin(ctx context.Context) (end func(), err error) {
	if d.ended.Load() {
		return nil, api.Errorf(api.KindStopping, "the daemon is ending")
	}
	select {
	case d.changing <- struct{}{}:
		return func() { <-d.changing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.closing:
		return nil, api.Errorf(api.KindStopping, "the daemon is ending")
	}
}

// apply brings the apps of a request to what it says: see plan. Everything that
// can be refused is refused before anything is started or stopped.
func (d *Daemon) apply(ctx context.Context, req api.Apply) (api.Outcome, error) {
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	t := d.table.Load()
	todo, err := plan(t, req, isUp)
	if err != nil {
		return api.Outcome{}, err
	}
	prepared, err := d.prepareAll(t, req, todo)
	if err != nil {
		return api.Outcome{}, api.Errorf(api.KindInvalid, "%v", err)
	}
	var out api.Outcome
	for i, dec := range todo {
		done, err := d.carryOut(dec, prepared[i])
		if err != nil {
			return out, err
		}
		out.Apps = append(out.Apps, done)
	}
	gone, err := d.handleOrphans(req)
	out.Apps = append(out.Apps, gone...)
	return out, err
}

func (d *Daemon) prepareAll(t *table, req api.Apply, todo []decision) ([]ready, error) {
	shells := map[string][]string{} // equal settings share one copy of the inherited environment
	prepared := make([]ready, len(todo))
	for i, dec := range todo {
		a := &app{spec: dec.want, origin: req.Origin, created: time.Now()}
		if have := t.app(dec.want.Name); have != nil {
			a.created, a.instances, a.inherited = have.created, slices.Clone(have.instances), have.inherited
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

// carryOut does what was decided for one app and puts its version into the table.
func (d *Daemon) carryOut(dec decision, r ready) (api.AppOutcome, error) {
	out := api.AppOutcome{Name: dec.want.Name, Did: dec.did, Changes: dec.changes}
	t := d.table.Load()
	a := r.app
	old := slices.Clone(a.instances)
	surplus := d.cutSurplus(a)
	for _, in := range a.instances {
		if err := d.adjust(r, in); err != nil {
			return out, err
		}
	}
	if err := d.launch(r, t.nextID()); err != nil {
		return out, err
	}
	d.table.Store(t.with(a))
	d.limits.look()
	for _, in := range a.instances {
		fresh := !slices.Contains(old, in)
		if started, acted := d.actOn(in, dec, fresh); acted {
			out.Instances = append(out.Instances, started)
			if out.Did == api.DidNothing {
				out.Did = api.DidStart
			}
		}
	}
	for _, in := range surplus {
		d.dispose(in)
	}
	return out, nil
}

func (d *Daemon) cutSurplus(a *app) []*instance {
	n := min(len(a.instances), a.spec.Scale.Instances)
	surplus := slices.Clone(a.instances[n:])
	a.instances = a.instances[:n]
	for _, in := range surplus {
		in.proc.Stop() // all at once; dispose waits for each
	}
	return surplus
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
	case dec.restart && !fresh && !down:
		in.proc.Restart("")
	case fresh || down:
		in.proc.Start()
	default:
		return started, false
	}
	return started, true
}

// handleOrphans reports, or with prune deletes, the apps that the file lost.
func (d *Daemon) handleOrphans(req api.Apply) ([]api.AppOutcome, error) {
	var out []api.AppOutcome
	t := d.table.Load()
	for _, a := range orphans(t, req) {
		did := api.IsOrphan
		if req.Prune {
			did = api.DidDelete
			d.table.Store(d.table.Load().without(a.instances))
			d.disposeAll(a.instances)
		}
		out = append(out, api.AppOutcome{Name: a.spec.Name, Did: did})
	}
	return out, nil
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
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	if req.Update || len(req.Set) > 0 {
		if err := d.update(picked, req); err != nil {
			return api.Outcome{}, err
		}
	}
	return gather(picked, func(in *instance) (api.Started, string) {
		s := in.proc.Snapshot()
		if !isDown(s) && s.Status != supervise.StatusWaiting {
			return api.Started{ID: in.id, After: s.Incarnation}, api.IsRunning
		}
		in.proc.Start()
		return api.Started{ID: in.id, After: s.Incarnation}, api.DidStart
	}), nil
}

// restart restarts the targets, with fields changed if the request sets some.
func (d *Daemon) restart(ctx context.Context, req api.Targets) (api.Outcome, error) {
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	if req.Update || len(req.Set) > 0 {
		if err := d.update(picked, req); err != nil {
			return api.Outcome{}, err
		}
	}
	return gather(picked, func(in *instance) (api.Started, string) {
		s := in.proc.Snapshot()
		in.proc.Restart("")
		return api.Started{ID: in.id, After: s.Incarnation}, api.DidRestart
	}), nil
}

// update gives the apps of some instances new fields or a new environment.
func (d *Daemon) update(picked []*instance, req api.Targets) error {
	t := d.table.Load()
	var changed []ready
	for _, a := range t.apps {
		if !slices.ContainsFunc(picked, func(in *instance) bool { return slices.Contains(a.instances, in) }) {
			continue
		}
		next, err := d.updated(a, req)
		if err != nil {
			return api.Errorf(api.KindInvalid, "%v", err)
		}
		changed = append(changed, next)
	}
	for _, r := range changed {
		for _, in := range r.app.instances {
			if err := d.adjust(r, in); err != nil {
				return err
			}
		}
		t = t.with(r.app)
	}
	d.table.Store(t)
	d.limits.look()
	return nil
}

func (d *Daemon) updated(a *app, req api.Targets) (ready, error) {
	next := *a
	if len(req.Set) > 0 {
		spec, _, err := ecosystem.Override(a.spec, req.Set, ecosystem.Options{Environ: req.Environ, Dir: req.Cwd, CPUs: cpus()})
		if err != nil {
			return ready{}, err
		}
		if spec.Name != a.spec.Name || spec.Scale.Instances != a.spec.Scale.Instances {
			return ready{}, fmt.Errorf("%s: restart cannot change the name or the number of instances; change the file and start it", a.spec.Name)
		}
		next.spec = spec
	}
	if req.Update {
		next.inherited = ecosystem.Inherited(req.Environ, next.spec.Env)
	}
	return d.prepare(&next)
}

// stop stops the targets and returns when they are down.
func (d *Daemon) stop(ctx context.Context, req api.Targets) (api.Outcome, error) {
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	out := gather(picked, func(in *instance) (api.Started, string) {
		s := in.proc.Snapshot()
		did := api.DidStop
		if isDown(s) && s.NextTry.IsZero() {
			did = api.IsStopped
		}
		in.proc.Stop()
		return api.Started{ID: in.id, After: s.Incarnation}, did
	})
	for _, in := range picked {
		if _, err := in.proc.Await(ctx, isStopped); err != nil {
			return out, err
		}
	}
	return out, nil
}

// remove deletes the targets, stopping them first.
func (d *Daemon) remove(ctx context.Context, req api.Targets) (api.Outcome, error) {
	if _, err := d.stop(ctx, req); err != nil { // outside the turn: it may take as long as kill_timeout
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
	d.table.Store(t.without(picked))
	d.disposeAll(picked)
	return gather(picked, func(in *instance) (api.Started, string) {
		return api.Started{ID: in.id}, api.DidDelete
	}), nil
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
			out.Apps = append(out.Apps, api.AppOutcome{Name: in.name, Did: did})
		}
		a := &out.Apps[i]
		a.Instances = append(a.Instances, started)
		if did != api.IsRunning && did != api.IsStopped {
			a.Did = did
		}
	}
	return out
}

package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// What a command asks for is done in the order that depends_on gives.

// inOrder starts what was asked for as far as it may be started now, and what that needs
// and is down. It adds that to the outcome, and returns it. It is called by who has the
// turn.
func (d *Daemon) inOrder(out *api.Outcome, asked []*instance) (more []*instance) {
	t := d.table.Load()
	isHeld := func(in *instance) bool { return in.waits.Load() != nil }
	if !slices.ContainsFunc(asked, func(in *instance) bool {
		a := in.app.Load()
		return isHeld(in) || a != nil && a.waitsFirst()
	}) {
		return nil
	}
	heard(asked) // until then they seem to be what they were
	seen := map[string]bool{}
	for _, name := range appNames(asked) {
		if a := t.app(name); a != nil {
			more = append(more, d.fetch(t, out, a, seen)...)
		}
	}
	heard(more)
	d.conduct()
	all := slices.Concat(asked, more)
	for i, a := range out.Apps {
		for _, in := range all {
			if w := in.waits.Load(); w != nil && in.name == a.Name {
				out.Apps[i].Waits = lackText(w.lacks)
			}
		}
	}
	return more
}

// actedOn are the instances that something was done with.
func (d *Daemon) actedOn(out api.Outcome) []*instance {
	return d.table.Load().where(func(_ *app, in *instance) bool {
		return slices.ContainsFunc(out.Apps, func(a api.AppOutcome) bool {
			return a.Name == in.name && slices.ContainsFunc(a.Instances, func(s api.Started) bool { return s.ID == in.id })
		})
	})
}

// fetch starts what an app needs and is down, and what that needs. What has done what is
// waited for is not started again.
func (d *Daemon) fetch(t *table, out *api.Outcome, dependent *app, seen map[string]bool) (started []*instance) {
	for _, need := range dependent.spec.DependsOn.Apps {
		a := t.app(need.App)
		lacks := lacking([]ecosystem.Dependency{need}, t.facts)
		if a == nil || seen[need.App] || len(lacks) == 0 {
			continue
		}
		seen[need.App] = true
		if isStuck(lacks) {
			started = append(started, d.fetchApp(out, a, need, dependent.spec.Name)...)
		}
		started = append(started, d.fetch(t, out, a, seen)...)
	}
	return started
}

func (d *Daemon) fetchApp(out *api.Outcome, a *app, need ecosystem.Dependency, dependent string) (started []*instance) {
	did := api.AppOutcome{Name: a.spec.Name, Did: api.DidStart, For: dependent, MinUptime: a.spec.Restart.MinUptime.Milliseconds(), ReadyMS: readyLimit(a.spec)}
	for _, in := range a.instances {
		s := in.proc.Snapshot()
		if !isDown(s) || in.waits.Load() != nil || in.fact(a.spec).meets(need.Until) {
			continue
		}
		did.Instances = append(did.Instances, api.Started{ID: in.id, After: s.Incarnation})
		did.Did = d.begins(in)
		started = append(started, in)
	}
	if len(started) > 0 {
		out.Apps = append(out.Apps, did)
	}
	return started
}

// checkOrder refuses apps that depend on what there isn't, or on themselves.
func checkOrder(t *table, apps []ecosystem.App, origin string) error {
	g, origins := t.order(), map[string]string{}
	known := t.names()
	for _, a := range t.apps {
		origins[a.spec.Name] = a.origin
	}
	for _, a := range apps {
		g.add(a)
		known = append(known, a.Name)
		origins[a.Name] = origin
	}
	for _, a := range apps {
		for _, need := range a.DependsOn.Apps {
			if !slices.Contains(known, need.App) {
				return api.Errorf(api.KindInvalid, "%s: depends_on: there is no app %q, neither with it nor in the list; start that first, or correct the name", a.Name, need.App)
			}
		}
		if way := g.cycle(a.Name); way != nil {
			var from []string
			for _, name := range way[1:] {
				from = append(from, fmt.Sprintf("%s is of %s", name, firstOf(origins[name], "the command line")))
			}
			return api.Errorf(api.KindInvalid, "%s: depends_on: nobody could be first in %s (%s)", a.Name, strings.Join(way, " → "), strings.Join(from, ", "))
		}
	}
	return nil
}

// orderOf is what is shown of an app's place among those that depend on each other.
func (t *table) orderOf(spec ecosystem.App) (o api.Order) {
	for _, need := range spec.DependsOn.Apps {
		n := api.Need{App: need.App, Until: need.Until}
		for _, l := range lacking([]ecosystem.Dependency{need}, t.facts) {
			n.State = l.state
		}
		o.Needs = append(o.Needs, n)
	}
	for _, a := range t.apps {
		if slices.ContainsFunc(a.spec.DependsOn.Apps, func(need ecosystem.Dependency) bool { return need.App == spec.Name }) {
			o.NeededBy = append(o.NeededBy, a.spec.Name)
		}
	}
	return o
}

// endInOrder tells instances to end, each when nothing of the apps that depend on its own
// is left, as far as they are among them. It returns when all have been told, which is at
// once if nobody waits for it any more.
func (d *Daemon) endInOrder(ctx context.Context, todo []*instance, tell func(*instance)) {
	g := d.table.Load().order()
	if len(g) == 0 {
		for _, in := range todo {
			tell(in)
		}
		return
	}
	changes := d.hub.subscribe()
	defer d.hub.unsubscribe(changes)
	due := map[*instance]time.Time{} // of those that were told: when they are waited for no longer
	all := slices.Clone(todo)
	isOver := func(in *instance) bool {
		at, isTold := due[in]
		return isTold && (isStopped(in.proc.Snapshot()) || time.Now().After(at))
	}
	for {
		free := g.free(appNames(todo), appNames(slices.DeleteFunc(slices.Clone(all), isOver)))
		todo = slices.DeleteFunc(todo, func(in *instance) bool {
			if ctx.Err() == nil && !slices.Contains(free, in.name) {
				return false
			}
			tell(in)
			due[in] = time.Now().Add(in.endLimit())
			return true
		})
		if len(todo) == 0 {
			return
		}
		late := time.NewTimer(time.Until(soonest(due, isOver)))
		select {
		case <-changes.wake:
			changes.take()
		case <-late.C:
		case <-ctx.Done():
		}
		late.Stop()
	}
}

// intend notes that instances are going to be ended, those later that others depend on:
// the next daemon ends them, should this one die meanwhile.
func (d *Daemon) intend(all []*instance) {
	if len(d.table.Load().order()) == 0 {
		return // all are told at once
	}
	for _, in := range all {
		in.doomed.Store(true)
	}
	d.store.commit()
}

// soonest is when the next of those that were told is waited for no longer.
func soonest(due map[*instance]time.Time, isOver func(*instance) bool) (at time.Time) {
	for in, its := range due {
		if !isOver(in) && (at.IsZero() || its.Before(at)) {
			at = its
		}
	}
	return at
}

// endLimit is how long the end of an instance takes at most, unless the kernel holds it.
func (in *instance) endLimit() time.Duration {
	const grace = 5 * time.Second
	a := in.version.Load()
	return a.policy.KillTimeout + a.policy.PreStop + grace
}

// appNames are those of the apps that some instances are of.
func appNames(all []*instance) (names []string) {
	seen := map[string]bool{}
	for _, in := range all {
		if !seen[in.name] {
			seen[in.name] = true
			names = append(names, in.name)
		}
	}
	return names
}

// followers are the instances that are stopped with some others: those whose apps say so
// (on_dependency_exit: stop). The apps that run on without are named.
func (t *table) followers(picked []*instance) (all []*instance, notes []string) {
	going := slices.Clone(picked)
	for again := true; again; {
		again = false
		for _, a := range t.apps {
			if a.spec.DependsOn.OnExit != ecosystem.OnExitStop || !t.loses(a.spec, going) {
				continue
			}
			for _, in := range a.instances {
				if s := in.proc.Snapshot(); !slices.Contains(going, in) && s.Want && !isDown(s) {
					going, all, again = append(going, in), append(all, in), true
				}
			}
		}
	}
	for _, a := range t.apps {
		isLeft := slices.ContainsFunc(a.instances, func(in *instance) bool {
			return !slices.Contains(going, in) && in.proc.Snapshot().Want && !isDown(in.proc.Snapshot())
		})
		switch lost := t.loses(a.spec, going); {
		case lost && isLeft && a.spec.DependsOn.OnExit == ecosystem.OnExitRestart:
			notes = append(notes, fmt.Sprintf("%s depends on what is stopped: it goes on, and is restarted when that is there again", a.spec.Name))
		case lost && isLeft:
			notes = append(notes, fmt.Sprintf("%s depends on what is stopped, and goes on without it", a.spec.Name))
		}
	}
	for _, name := range appNames(all) {
		notes = append(notes, fmt.Sprintf("%s is stopped with what it depends on, and started with it", name))
	}
	return all, notes
}

// resume lets the followers wait, now that what they depend on is down.
func (d *Daemon) resume(followers []*instance) {
	for _, in := range followers {
		if w := in.waits.Load(); w != nil && w.paused && in.waits.CompareAndSwap(w, &wait{from: w.from}) {
			d.hub.tell(in)
		}
	}
}

// asMeant are the apps of a request less those that are there already and were only added
// because others need them.
func (t *table) asMeant(req api.Apply) []ecosystem.App {
	return slices.DeleteFunc(slices.Clone(req.Apps), func(a ecosystem.App) bool {
		return slices.Contains(req.Needed, a.Name) && t.app(a.Name) != nil
	})
}

// loses says whether an app depends on one of which all that runs is going.
func (t *table) loses(spec ecosystem.App, going []*instance) bool {
	return slices.ContainsFunc(spec.DependsOn.Apps, func(need ecosystem.Dependency) bool {
		a := t.app(need.App)
		if a == nil || need.Until == ecosystem.UntilCompleted {
			return false
		}
		goes := slices.ContainsFunc(a.instances, func(in *instance) bool { return slices.Contains(going, in) && !isDown(in.proc.Snapshot()) })
		return goes && !slices.ContainsFunc(a.instances, func(in *instance) bool { return !slices.Contains(going, in) && !isDown(in.proc.Snapshot()) })
	})
}

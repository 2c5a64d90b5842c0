package daemon

import (
	"context"
	"slices"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// reload replaces the processes of the targets by new ones. Those that are clustered
// are exchanged one after the other without a gap, by a roll that goes on after the
// answer; the others, and apps that are down, are restarted.
func (d *Daemon) reload(ctx context.Context, req api.Targets) (api.Outcome, error) {
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	var hard []*instance
	soft, up := map[*app][]*instance{}, map[string]bool{}
	for _, in := range picked {
		if err := d.rolls.refusal(in.name); err != nil {
			return api.Outcome{}, err
		}
		if a := in.app.Load(); reloadable(a) && isUp(a) {
			soft[a] = append(soft[a], in)
			continue
		}
		hard = append(hard, in)
		up[in.name] = up[in.name] || !isDown(in.proc.Snapshot())
	}
	all, warnings, err := d.successors(soft, req)
	if err != nil {
		return api.Outcome{}, err
	}
	if req.Update || len(req.Set) > 0 {
		more, err := d.update(hard, req)
		if err != nil {
			return api.Outcome{}, err
		}
		warnings = append(warnings, more...)
	}
	out := gather(hard, func(in *instance) (api.Started, string) {
		s := in.proc.Snapshot()
		return api.Started{ID: in.id, After: s.Incarnation}, d.renews(in, s)
	})
	hard = append(hard, d.inOrder(&out, hard)...)
	for i, a := range out.Apps {
		out.Apps[i].Gap = up[a.Name]
	}
	for _, r := range all {
		out.Apps = append(out.Apps, d.beginRoll(r, nil))
	}
	out.Warnings = warnings
	return out, d.keepWishes(ctx, hard)
}

// successors prepares the rolls of some apps, in the order of the table.
func (d *Daemon) successors(soft map[*app][]*instance, req api.Targets) (all []*roll, warnings []string, err error) {
	for _, a := range d.table.Load().apps {
		if soft[a] == nil {
			continue
		}
		next, problems, err := d.updated(a, req)
		if err != nil {
			return nil, nil, api.Errorf(api.KindInvalid, "%v", err)
		}
		for _, p := range problems {
			if p.Severity >= ecosystem.SeverityWarning {
				warnings = append(warnings, p.String())
			}
		}
		all = append(all, d.newRoll(doReload, next, soft[a]))
	}
	return all, warnings, nil
}

// beginRoll begins one, and is what the command is told.
func (d *Daemon) beginRoll(r *roll, changes []string) api.AppOutcome {
	out := api.AppOutcome{Name: r.name, Did: api.DidReload, Changes: changes}
	for _, s := range r.seats {
		out.Instances = append(out.Instances, api.Started{ID: s.old.id})
	}
	d.rolls.begin(r)
	out.Roll = r.number
	return out
}

// apart takes the reloads out of what is to be done.
func apart(todo []decision) (gentle, rest []decision) {
	for _, dec := range todo {
		if dec.did == api.DidReload {
			gentle = append(gentle, dec)
		} else {
			rest = append(rest, dec)
		}
	}
	return gentle, rest
}

// exchange begins the reload of an app to a new version. If that has another number of
// instances, it is scaled when all of them are exchanged.
func (d *Daemon) exchange(dec decision, next ready, req api.Apply) api.AppOutcome {
	olds := slices.Clone(next.app.instances)
	want := dec.want.Scale.Total()
	r := d.newRoll(doReload, next, olds)
	if want != len(olds) {
		next.app.spec.Scale = scaleFor(dec.want.Scale, len(olds), dec.want.Scale.Spares)
		if want == dec.want.Scale.Instances {
			r.seats = r.seats[:min(want, len(olds))] // the highest numbers go; with spares that isn't known yet
		}
		r.then = func() error {
			end, err := d.begin(r.ctx)
			if err != nil {
				return err
			}
			defer end()
			_, err = d.converge(api.Apply{Apps: []ecosystem.App{dec.want}, Origin: req.Origin, Takeover: req.Takeover})
			return err
		}
	}
	return d.beginRoll(r, dec.changes)
}

// departs says whether the instances that an app loses are drained first: they are not
// when the others are restarted anyway.
func (st stage) departs() bool { return !st.restart && isClustered(st.app.spec) }

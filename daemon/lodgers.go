package daemon

import (
	"context"
	"encoding/json"
	"math"
	"slices"

	"gopm/cluster"
	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// Lodgers are instances that run without being in the list, when a daemon begins: the
// one before it died in the middle of a reload, of scaling down, or of a delete. The
// list says what was decided: what is in it stays, be it the old process of a reload or
// the new one; lodgers are drained and ended.

// lodgers are those of which the keeper knows. Without its list they can't be told from
// the others.
func (old legacy) lodgers() (all []lifeID) {
	if old.estate.state == nil {
		return nil
	}
	for id := range old.estate.runs {
		all = append(all, id)
	}
	return slices.DeleteFunc(all, func(id lifeID) bool {
		return slices.ContainsFunc(old.state.Apps, func(a api.SavedApp) bool {
			return slices.ContainsFunc(a.Instances, func(in api.SavedInstance) bool { return lifeID{in.ID, in.Life} == id })
		})
	})
}

// lodge makes heirs of the lodgers.
func (d *Daemon) lodge(old legacy, heirs []*heir) (lodgers []*heir) {
	for _, id := range old.lodgers() {
		var where note
		_ = json.Unmarshal(old.estate.runs[id].Note, &where) // nothing: then it has no process either
		r := d.hostOf(where.Name)
		h := old.lodger(r, id, where.Index)
		others := slices.Concat(heirs, lodgers)
		if i := slices.IndexFunc(others, func(o *heir) bool { return o.in.id == id.id }); i >= 0 {
			h.twin = others[i]
		}
		lodgers = append(lodgers, h)
	}
	return lodgers
}

// lodger is an heir of no place.
func (old legacy) lodger(r ready, id lifeID, index int) *heir {
	h := old.heir(r, api.SavedInstance{ID: id.id, Life: id.life, Index: index})
	h.in.app.Store(nil)
	h.in.pidFile.Store(new(string))
	h.lodges = true
	return h
}

// lodgeStrays is lodge where the keeper has died with the daemon: these processes are in
// the list with another life, and so a reload had not ended them yet.
func (d *Daemon) lodgeStrays(old legacy, strays []supervise.Stray, heirs []*heir) (lodgers []*heir) {
	for _, s := range strays {
		i := slices.IndexFunc(heirs, func(h *heir) bool { return h.in.id == s.ID && h.in.name == s.Name })
		if i < 0 || s.Dead || heirs[i].in.life == s.Life {
			continue
		}
		h := old.lodger(d.hostOf(s.Name), lifeID{s.ID, s.Life}, heirs[i].in.index)
		h.twin, h.found = heirs[i], s.Run
		lodgers = append(lodgers, h)
	}
	return lodgers
}

// hostOf is the app of a lodger. One that was deleted is made up, and ended at once.
func (d *Daemon) hostOf(name string) ready {
	if a := d.table.Load().app(name); a != nil {
		own := *a // a version is not changed any more
		if r, err := d.prepare(&own); err == nil {
			return r
		}
	}
	a := &app{spec: ecosystem.App{Name: name}}
	a.spec.Drain.Mode = ecosystem.DrainOff
	if r, err := d.prepare(a); err == nil {
		return r
	}
	return ready{app: a}
}

// tidy ends the lodgers, and starts what was ended for a successor that never came.
func (d *Daemon) tidy(heirs []*heir) {
	all := map[string][]*heir{}
	for _, h := range heirs {
		switch {
		case h.lodges:
			all[h.in.name] = append(all[h.in.name], h)
			d.tell(h.in.event(api.EventStop, "is not in the list: the daemon before has ended in the middle of a change; it is drained and ended"))
		case h.was.Doomed:
			d.tell(h.in.event(api.EventStop, "was to be stopped by the daemon before"))
			h.in.stop()
		case h.in.restedBy() == restedForRoll:
			d.tell(h.in.event(api.EventReload, "was ended by a reload, and the daemon before its successor was started"))
			h.in.start()
		}
	}
	for _, lodgers := range all {
		d.rolls.begin(d.evict(lodgers))
	}
}

// evict is a roll in which the lodgers of an app are drained and ended.
func (d *Daemon) evict(lodgers []*heir) *roll {
	var olds []*instance
	for _, h := range lodgers {
		olds = append(olds, h.in)
	}
	r := d.newRoll(doTidy, lodgers[0].ready, olds)
	for _, s := range r.seats {
		_, _ = s.old.proc.Await(context.Background(), adopted) // an error: it is closed
		s.look()
		s.phase = cluster.SeatDraining
		s.trial.inc = math.MaxUint64 // who is in the list is not on trial
		if i := slices.IndexFunc(lodgers, func(h *heir) bool { return h.in == s.old }); lodgers[i].twin != nil {
			s.new = lodgers[i].twin.in
		}
		d.rolls.besides(s.old)
	}
	return r
}

// adopted is said of any process by its own goroutine, whose first work is to adopt what was
// found. Until then it seems to have none, which would not be drained.
func adopted(supervise.Snapshot) bool { return true }

// doTidy is what such a roll is, for people.
const doTidy = "clean-up after the daemon's death"

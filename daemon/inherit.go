package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/logs"
)

// A daemon begins with what another one has left. If the keeper has lived on, that
// is everything, up to the last transition: the new daemon goes on as if it had never
// been away. If the keeper has died too, the state file says what there was and /proc
// what of it still lives. And after an orderly end or a reboot nothing lives: the apps
// are listed and rest until they are asked for.

// legacy is what was left.
type legacy struct {
	state  api.State
	estate estate
	rested string // why everything is at rest; "": what lives is adopted, and what has died was not meant to
}

// inherit takes over what was left and puts it into the table. It returns what the
// user has to be told.
func (d *Daemon) inherit(e estate) (sequence uint64, warnings []string, err error) {
	began := time.Now()
	old := legacy{estate: e}
	d.talk.inherit(e.lines, e.notify)
	for _, problem := range d.host.Adopt(e.cluster) {
		d.tellOfDaemon("%v", problem)
	}
	old.state, warnings, err = d.recall(e)
	if d.front.isFresh(e) && len(old.state.Alive()) == 0 {
		old.state.Apps = nil // of an earlier run, as before docker restart: what is ordered is all
	}
	d.store.done.revivals = old.state.Revivals
	if how := d.cfg.Estate.Before; how != "" && how != keeper.HandedOver {
		d.store.done.revivals++
	}
	if isKept := e.state != nil; d.leavesHooks(old.state, isKept) {
		d.endStrayHooks(isKept)
	}
	if err != nil || len(old.state.Apps) == 0 && len(old.lodgers()) == 0 {
		if e.state == nil && old.state.Boot == api.BootID() && old.state.Ended == "" {
			warnings = append(warnings, d.nobodys()...)
		}
		if err == nil {
			d.host.Resume() // nobody's places are closed
			d.host.Retain(nil)
		}
		return old.state.Sequence, warnings, err
	}
	old.rested = restedBy(old.state, len(e.runs) > 0)
	heirs, problems, err := d.rebuild(old)
	if err != nil {
		return 0, warnings, err
	}
	for _, h := range heirs {
		h.in.avoidStill()
	}
	d.host.Resume() // each has its place again
	d.host.Retain(d.table.Load().names())
	d.revive(heirs)
	d.tidy(heirs)
	d.tellOfDaemon("took over %d instances in %v", len(heirs), time.Since(began).Round(time.Millisecond))
	return old.state.Sequence, append(warnings, problems...), nil
}

// recall is the newest state there is. A file that can't be used is put aside.
func (d *Daemon) recall(e estate) (s api.State, warnings []string, err error) {
	if e.state != nil {
		if s, err = api.ParseState(e.state); err != nil {
			err = fmt.Errorf("cannot read the state that the daemon before has left: %v", err)
		}
		return s, nil, err
	}
	s, err = d.cfg.Home.LoadState()
	var damaged *api.DamagedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.State{}, nil, nil
	case errors.As(err, &damaged):
		aside := fmt.Sprintf("%s.damaged-%s", damaged.Path, time.Now().Format("20060102-150405"))
		if err := os.Rename(damaged.Path, aside); err != nil {
			return s, nil, fmt.Errorf("%v; and it can't be put aside: %v", damaged, err)
		}
		text := fmt.Sprintf("%v; it was put aside as %s, and gopm begins without apps", damaged, aside)
		return api.State{}, append([]string{text}, d.nobodys()...), nil
	}
	return s, nil, err
}

// restedBy says whether everything is at rest, and why.
func restedBy(s api.State, resumed bool) string {
	switch {
	case resumed, s.Boot == api.BootID() && (s.Ended == "" || len(s.Alive()) > 0):
		return ""
	case s.Ended != "":
		return s.Ended
	}
	return "reboot"
}

// heir is an instance on its way back.
type heir struct {
	in      *instance
	was     api.SavedInstance
	ready   ready
	machine supervise.Machine
	found   supervise.Run // its process that the machine doesn't know; zero: none
	trusted bool          // the keeper has its pipes
	slot    uint64        // its place in the cluster
	twin    *heir         // in the list, with the same streams; nil: none
	lodges  bool          // it is in no list, and is to be ended
}

// environment is a file of env/, or why it can't be read.
type environment struct {
	vars []string
	err  error
}

// rebuild makes the table, with all streams open and nothing supervised yet.
func (d *Daemon) rebuild(old legacy) (heirs []*heir, warnings []string, err error) {
	t := &table{}
	envs := map[string]environment{}
	for _, was := range old.state.Apps {
		env, is := envs[was.Env]
		if !is {
			env.vars, env.err = readEnv(d.cfg.Home.Env(), was.Env, old.estate.envs)
			envs[was.Env] = env
		}
		if env.err != nil {
			warnings = append(warnings, fmt.Sprintf("%s: cannot read the environment that it inherited: %v; gopm restart -a %s gives it a new one", was.Spec.Name, env.err, was.Spec.Name))
		}
		r := d.reprepare(was, env.vars)
		for _, in := range was.Instances {
			h := old.heir(r, in)
			r.app.instances = append(r.app.instances, h.in)
			heirs = append(heirs, h)
		}
		t.apps = append(t.apps, r.app)
	}
	d.table.Store(t)
	heirs = append(heirs, d.lodge(old, heirs)...)
	more, problems := d.findStrays(old, heirs)
	heirs, warnings = append(heirs, more...), append(warnings, problems...)
	warnings = append(warnings, d.returnPlaces(old, heirs)...)
	return heirs, warnings, d.reopenStreams(old, heirs)
}

// reprepare is prepare for an app that was there: one that can't be started any more
// stays in the list, and says why.
func (d *Daemon) reprepare(was api.SavedApp, env []string) ready {
	a := &app{spec: was.Spec, origin: was.Origin, inherited: env, user: was.User, created: was.Created}
	if k := d.loadKept(a); k != nil {
		a.values = k.Good
	}
	r, err := d.prepare(a)
	if err != nil {
		a.fault = err
		return ready{app: a}
	}
	return r
}

func (old legacy) heir(r ready, was api.SavedInstance) *heir {
	h := &heir{in: &instance{id: was.ID, index: was.Index, life: was.Life, name: r.app.spec.Name}, was: was, ready: r}
	h.in.tally = newTally(was.Tally)
	h.in.setPidFile(r.app.spec)
	h.in.app.Store(r.app)
	where := noteOf(was, old)
	h.machine, h.slot = where.Machine, where.Slot
	h.in.restoreMarks(where.Marks)
	h.in.restorePermit(where.Permit)
	h.in.recall(was.Health)
	switch {
	case was.Rested != "":
		h.in.rest(was.Rested)
	case was.Want && old.rested != "":
		h.in.rest(old.rested)
	case was.Wait != nil && was.Wait.From == h.machine.Inc:
		h.in.waits.Store(&wait{from: was.Wait.From, again: was.Wait.Again})
	}
	h.in.restoreTimes(was.Timed, h.machine.Inc)
	return h
}

// noteOf is where an instance was. What is at rest keeps its counts and its last exit.
func noteOf(in api.SavedInstance, old legacy) note {
	n := note{Marks: in.Marks}
	n.Permit = readPermit(in.Permit)
	text := []byte(in.Machine)
	if run, is := old.estate.run(in); is {
		text, n.Permit = run.Note, nil
	}
	if json.Unmarshal(text, &n) != nil {
		n = note{Marks: in.Marks}
	}
	if m := n.Machine; old.rested != "" {
		n.Machine = supervise.Machine{Inc: m.Inc, Count: m.Count, LastExit: m.LastExit}
		n.Slot = 0
		if n.Permit != nil { // its session may be there still
			n.Permit.Inc, n.Permit.Fence, n.Permit.Until = 0, 0, 0
		}
	}
	return n
}

// reopenStreams gives the instances their streams again: what waits in a pipe that
// is still there goes on to its file.
func (d *Daemon) reopenStreams(old legacy, heirs []*heir) error {
	var all []logs.Adoption
	killed := d.cfg.Estate.Before != keeper.HandedOver
	for _, h := range heirs {
		if h.twin != nil {
			old.pipes(h) // they are the twin's
			continue
		}
		out, err := targets(h.ready.app.spec, h.in, h.ready.account, d.logPlace())
		pipes := old.pipes(h)
		for i, a := range []logs.Adoption{{Target: out, Count: stats(h.was.Out)}, {Target: err, Count: stats(h.was.Err)}} {
			a.Pipe, a.Second, a.Killed = pipes[i], old.estate.seconds[a.Target.Key], killed
			all = append(all, a)
		}
	}
	streams, err := d.pump.AdoptAll(all)
	if err != nil {
		return fmt.Errorf("cannot take the logs over: %w", err)
	}
	for _, h := range heirs { // twins come after whose they are
		if t := h.twin; t != nil {
			h.in.out, h.in.err = t.in.out, t.in.err
			continue
		}
		h.in.out, h.in.err, streams = streams[0], streams[1], streams[2:]
	}
	return nil
}

func stats(l api.SavedLog) logs.Stats {
	return logs.Stats{Bytes: l.Bytes, Dropped: l.Dropped, DroppedSince: l.DroppedSince, Rotations: l.Rotations, Error: l.Refused}
}

// revive has every instance supervised again, from where it was.
func (d *Daemon) revive(heirs []*heir) {
	for _, h := range heirs {
		if h.trusted {
			h.in.trusted = d.trust.link.Load()
		}
		cfg := d.processConfig(h.ready, h.in, h.machine.Snapshot())
		cfg.Made = func(p *supervise.Process) { h.in.proc = p }
		supervise.Restore(cfg, h.machine, h.found)
		if !h.trusted {
			h.in.proc.Renew() // the keeper knows nothing of it yet
		}
		h.in.lookReady() // it may have become so while no daemon was there
		d.talk.resume(h.in)
		h.in.listenAgain()
	}
}

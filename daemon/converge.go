package daemon

import (
	"slices"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// decision is what a convergence does with one app.
type decision struct {
	want    ecosystem.App
	did     string   // api.Did…
	changes []string // the user's names of what differs
	restart bool     // running instances are restarted
}

// plan compares what runs with what is wanted. It is a pure function; running
// says whether an app has an instance that should be up. An app whose name
// belongs to another file is an error, before anything is done.
func plan(t *table, req api.Apply, running func(*app) bool) ([]decision, error) {
	var todo []decision
	for _, want := range req.Apps {
		have := t.app(want.Name)
		if have == nil {
			todo = append(todo, decision{want: want, did: startedOr(want)})
			continue
		}
		if have.origin != "" && have.origin != req.Origin && !req.Takeover { // a file may name what was started by hand
			return nil, api.Errorf(api.KindConflict, "%s: this name belongs to %s; give the app another name, or take it over with --takeover", have.spec.Name, have.origin)
		}
		todo = append(todo, compare(have, want, req, running(have)))
	}
	return todo, nil
}

func startedOr(want ecosystem.App) string {
	switch {
	case !want.Autostart:
		return api.IsNotStarted
	case want.Times.IsJob():
		return api.DidSchedule
	}
	return api.DidStart
}

func compare(have *app, want ecosystem.App, req api.Apply, running bool) decision {
	d := decision{want: want}
	diff := ecosystem.Diff(have.spec, want)
	for _, c := range diff {
		d.changes = append(d.changes, c.Field)
	}
	switch {
	case want.Times.IsJob():
		return compareJob(d, have.spec, req, running)
	case have.spec.Times.IsJob() && running: // it becomes one that runs always
		d.did, d.restart = api.DidRestart, true
	case !running && (want.Autostart || req.Act):
		d.did = api.DidStart
	case !running:
		d.did = api.IsNotStarted
	case req.Reload && reloadable(have) && isClustered(want):
		d.did = api.DidReload
	case req.Act || req.Update || diff.Effort() == ecosystem.EffortRestart:
		d.did, d.restart = api.DidRestart, true
	case diff.Effort() == ecosystem.EffortScale:
		d.did = api.DidScale
	case diff.Effort() == ecosystem.EffortApply:
		d.did = api.DidApply
	default:
		d.did = api.DidNothing
	}
	return d
}

// orphans are the apps of a file that the file no longer names.
func orphans(t *table, req api.Apply) []*app {
	var gone []*app
	if req.Origin == "" {
		return nil
	}
	for _, a := range t.apps {
		if a.origin == req.Origin && !slices.Contains(req.Names, a.spec.Name) {
			gone = append(gone, a)
		}
	}
	return gone
}

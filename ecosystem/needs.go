package ecosystem

import (
	"slices"
	"strings"
)

// This file checks what the apps of one file need of each other. An app that the file
// doesn't have may be one that the daemon has: see foreign.go.

// need is a dependency as it was written.
type need struct {
	Dependency
	path string // behind the field's name: ".db", "[1]"
	at   place
}

// needs are the dependencies between the drafts of a file.
type needs struct {
	*reader
	byName map[string]*draft // by all names that they can have
	begun  []*draft          // the way to the draft that is looked at
	done   map[*draft]bool
}

// needs checks the dependencies of all apps of a file.
func (f *File) needs(r *reader) {
	n := &needs{reader: r, byName: map[string]*draft{}, done: map[*draft]bool{}}
	envs := f.envs()
	for _, d := range f.drafts {
		for _, env := range append([]string{""}, envs...) {
			n.byName[d.nameWith(env)] = d
		}
	}
	for _, d := range f.drafts {
		n.follow(d)
	}
}

// follow looks at what an app needs, and what that needs.
func (n *needs) follow(d *draft) {
	if n.done[d] {
		return
	}
	n.begun = append(n.begun, d)
	for _, need := range d.said.needs {
		other := n.byName[need.App]
		at := slices.Index(n.begun, other)
		switch label := n.label(d, d.written("depends_on")) + need.path; {
		case !d.has("depends_on"):
		case other == nil: // it may be an app of another file: see Unknown
		case other == d: // life has said it
		case at >= 0:
			var way []string
			for _, x := range append(n.begun[at:len(n.begun):len(n.begun)], other) {
				way = append(way, x.app.Name)
			}
			n.errorf(need.at, label, "apps that wait for each other never start: %s", strings.Join(way, " → "))
		default:
			if text := other.app.neverIs(need.Until); text != "" && !other.given["health"].bad {
				n.errorf(need.at, label, "%s", text)
			}
			n.follow(other)
		}
	}
	n.begun = n.begun[:len(n.begun)-1]
	n.done[d] = true
}

// neverIs says why an app can't be what another waits for; "" = it can.
func (a *App) neverIs(until string) string {
	switch {
	case until == UntilHealthy && !a.Health.IsChecked() && a.Health.Watchdog == 0:
		return a.Name + ` has no health check, so it is never healthy: give it health, or want "ready"`
	case until == UntilCompleted && a.Restart.Auto && len(a.Restart.StopExitCodes) == 0:
		return a.Name + " is started again when it ends, so it is never completed: give it autorestart: false"
	}
	return ""
}

// needed is what an app needs, by the names that the apps have under --env.
func (f *File) needed(a App, env string) []Dependency {
	all := slices.Clone(a.DependsOn.Apps)
	for i := range all {
		for _, d := range f.drafts {
			if d.app.Name == all[i].App {
				all[i].App = d.nameWith(env)
			}
		}
	}
	return all
}

package daemon

import (
	"fmt"
	"slices"
	"strings"

	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// Apps may depend on others (depends_on): they are started when those are there, and
// ended before them. Here is what is decided from what there is to see; conductor.go
// does it.

// fact is what of an instance matters to those that depend on its app.
type fact struct {
	status  supervise.Status
	runs    bool // it has a process
	wanted  bool // to run, or to have run
	ended   bool // its last run ended as it should, by itself
	healthy bool
	armed   bool   // it is a job, and runs when it is due
	waits   bool   // it is to be started, or restarted, when others are there
	stuck   bool   // and these do not come by themselves
	needs   string // their names
	exit    string // how it ended last, for people: "exit 1"; "" = it has not, or by command
}

// meets says whether an instance is what somebody who depends on it waits for.
func (f fact) meets(until string) bool {
	online := f.status == supervise.StatusOnline && !f.waits
	switch until {
	case ecosystem.UntilCompleted:
		return f.ended
	case ecosystem.UntilStarted: // who ends quickly may never be seen running
		return f.ended || online || f.status == supervise.StatusLaunching && f.runs && !f.waits
	case ecosystem.UntilHealthy:
		return online && f.healthy
	}
	return online
}

// moves says whether an instance that is not what is waited for may become it without
// anybody's help. One that is tried again half a minute later is taken for down.
func (f fact) moves(until string) bool {
	switch {
	case f.stuck:
		return false
	case f.waits, f.armed:
		return true
	}
	switch f.status {
	case supervise.StatusLaunching, supervise.StatusWaiting, supervise.StatusOnline:
		return true
	case supervise.StatusStopping:
		return f.wanted
	}
	return false
}

// text says what it is while it is not what is waited for.
func (f fact) text(until string) string {
	switch {
	case f.waits && f.needs != "":
		return "waits for " + f.needs
	case f.waits:
		return "waits"
	case f.armed && !f.runs:
		return "scheduled"
	case f.ended:
		return "has ended; if it is meant to, depends_on has to say completed"
	case until == ecosystem.UntilCompleted && f.status == supervise.StatusOnline:
		return "still runs"
	case until == ecosystem.UntilHealthy && f.status == supervise.StatusOnline:
		return "not healthy"
	case f.exit != "" && (f.status == supervise.StatusErrored || f.status == supervise.StatusStopped):
		return fmt.Sprintf("%s, %s", f.status, f.exit)
	}
	return string(f.status)
}

// counted are the instances of an app that count: not those that were stopped, unless all
// were.
func counted(all []fact) []fact {
	some := slices.DeleteFunc(slices.Clone(all), func(f fact) bool { return f.status == supervise.StatusStopped && !f.wanted && !f.armed && !f.ended })
	if len(some) > 0 {
		return some
	}
	return all
}

// isGone says that an app is down, and stays so if nobody helps.
func isGone(all []fact) bool {
	return !slices.ContainsFunc(all, func(f fact) bool {
		isDown := f.status == supervise.StatusStopped || f.status == supervise.StatusErrored
		return !isDown || f.armed || f.waits && !f.stuck
	})
}

// lack is an app that is not yet what somebody needs.
type lack struct {
	app   string
	state string // for people
	stuck bool   // it does not become that by itself
}

// lacking are the dependencies that are not met. of has the facts of an app; none: there
// is no such app.
func lacking(needs []ecosystem.Dependency, of func(app string) []fact) (all []lack) {
	for _, need := range needs {
		facts := counted(of(need.App))
		if len(facts) == 0 {
			all = append(all, lack{need.App, "not in the list", true})
			continue
		}
		var l lack
		for _, f := range facts {
			if f.meets(need.Until) {
				continue
			}
			stuck := !f.moves(need.Until)
			if l.app == "" || stuck && !l.stuck { // what does not come by itself is told first
				l = lack{need.App, f.text(need.Until), stuck}
			}
		}
		if l.app != "" {
			all = append(all, l)
		}
	}
	return all
}

// lackText is "db (launching), migrate (stopped)".
func lackText(all []lack) string {
	var parts []string
	for _, l := range all {
		parts = append(parts, fmt.Sprintf("%s (%s)", l.app, l.state))
	}
	return strings.Join(parts, ", ")
}

func lackNames(all []lack) (names []string) {
	for _, l := range all {
		names = append(names, l.app)
	}
	return names
}

func isStuck(all []lack) bool {
	return slices.ContainsFunc(all, func(l lack) bool { return l.stuck })
}

// graph has, by name, the apps that an app depends on itself.
type graph map[string][]string

func (g graph) add(spec ecosystem.App) {
	delete(g, spec.Name)
	for _, need := range spec.DependsOn.Apps {
		g[spec.Name] = append(g[spec.Name], need.App)
	}
}

// reaches says whether an app depends on another, be it through others.
func (g graph) reaches(from, to string) bool {
	return slices.Contains(g.below(from), to)
}

// below are the apps that an app depends on, also through others.
func (g graph) below(name string) (all []string) {
	for todo := slices.Clone(g[name]); len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		if !slices.Contains(all, next) {
			all = append(all, next)
			todo = append(todo, g[next]...)
		}
	}
	return all
}

// cycle is a way from an app back to itself, both ends included; nil: there is none.
func (g graph) cycle(name string) []string {
	tried := map[string]bool{}
	var walk func(way []string) []string
	walk = func(way []string) []string {
		for _, next := range g[way[len(way)-1]] {
			if next == name {
				return append(slices.Clone(way), name)
			}
			if tried[next] {
				continue
			}
			tried[next] = true
			if found := walk(append(way, next)); found != nil {
				return found
			}
		}
		return nil
	}
	return walk([]string{name})
}

// sorted puts apps behind those they depend on. In a cycle somebody is first.
func (g graph) sorted(names []string) (all []string) {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, below := range g[name] {
			visit(below)
		}
		if slices.Contains(names, name) {
			all = append(all, name)
		}
	}
	for _, name := range names {
		visit(name)
	}
	return all
}

// free are those of some apps that may be ended now: nobody who is up depends on them,
// but for those that they depend on themselves.
func (g graph) free(todo, up []string) (names []string) {
	for _, name := range todo {
		if !slices.ContainsFunc(up, func(o string) bool { return o != name && g.reaches(o, name) && !g.reaches(name, o) }) {
			names = append(names, name)
		}
	}
	return names
}

package ecosystem

import (
	"maps"
	"slices"
	"strings"
)

// Change is one field in which two versions of an app differ.
type Change struct {
	Field    string // the user's name of the field: "args", "env.PORT", "instances"
	Old, New string // shown to the user; values of env are not shown
}

// Effort is what it takes to make one version of a running app into another; a
// larger one includes the smaller ones.
type Effort int

const (
	EffortNone    Effort = iota // they are the same
	EffortApply                 // the daemon goes by the new values from now on
	EffortScale                 // instances or spares are added or taken away; the others run on
	EffortRestart               // all processes are replaced
)

// Effort returns what the changes need together.
func (cs Changes) Effort() Effort {
	all := EffortNone
	for _, c := range cs {
		one := EffortRestart
		if f := byName()[c.Field]; f != nil {
			one = f.effort.orRestart()
		}
		if part, is := strings.CutPrefix(c.Field, "consul."); is {
			one = consulEffort(part)
		}
		if c.Field == "ready" && c.New == ReadyMessage {
			one = EffortRestart // what it sends a message by it has from its start
		}
		all = max(all, one)
	}
	return all
}

// orRestart is the effort of a field: where the table names none it is a restart.
func (e Effort) orRestart() Effort {
	if e == EffortNone {
		return EffortRestart
	}
	return e
}

// Changes are the fields in which two versions of an app differ.
type Changes []Change

// Diff compares two versions of an app; Version, and what the inherited
// environment holds, never count.
func Diff(old, new App) Changes {
	old.Complete()
	new.Complete()
	var changes Changes
	for i := range table {
		f := &table[i]
		if f.at == nil {
			continue
		}
		before, after := f.show(&old), f.show(&new)
		switch f.name {
		case "max_restarts":
			before, after = orDefault(before, old.Restart.MaxExplicit), orDefault(after, new.Restart.MaxExplicit)
		case "ready_timeout":
			before, after = orDefault(before, old.Ready.Given), orDefault(after, new.Ready.Given)
		}
		if before == after {
			continue
		}
		if f.kind == standbyValue || f.kind == healthValue {
			before, after = hidden(before, after)
		}
		changes = append(changes, Change{f.name, before, after})
	}
	changes = append(changes, diffConsul(old.Consul, new.Consul)...)
	return append(changes, diffVars(old.Env, new.Env)...)
}

// hidden is what is shown of values that may hold a password.
func hidden(before, after string) (string, string) {
	switch {
	case before == "":
		return "", "set"
	case after == "":
		return "set", ""
	}
	return "set", "set to another value"
}

// orDefault tells a given value from the default, where that is not the same.
func orDefault(shown string, isGiven bool) string {
	if !isGiven {
		shown += " (default)"
	}
	return shown
}

// diffVars compares variables, whose values are nobody's business.
func diffVars(old, new Env) []Change {
	names := map[string]bool{}
	for _, e := range []Env{old, new} {
		for name := range e.Vars {
			names[name] = true
		}
		for _, entry := range e.Filter {
			if name, ok := wholeName(entry); ok {
				names[name] = true
			}
		}
	}
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, after := varState(old, name), varState(new, name)
		if before == "set" && after == "set" && old.Vars[name] != new.Vars[name] {
			_, after = hidden(before, after)
		}
		if before != after {
			changes = append(changes, Change{"env." + name, before, after})
		}
	}
	return changes
}

// varState is what a person is told about a variable.
func varState(e Env, name string) string {
	if _, set := e.Vars[name]; set {
		return "set"
	}
	if slices.Contains(e.Filter, "="+name+"=") {
		return "removed (null)"
	}
	return ""
}

// wholeName is the name in an entry "=NAME=" of a filter, which a null in env
// makes; others are parts of names.
func wholeName(entry string) (string, bool) {
	if len(entry) < 3 || entry[0] != '=' || entry[len(entry)-1] != '=' {
		return "", false
	}
	return entry[1 : len(entry)-1], true
}

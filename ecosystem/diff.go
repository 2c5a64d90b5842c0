package ecosystem

import (
	"maps"
	"slices"
)

// Change is one field in which two versions of an app differ.
type Change struct {
	Field    string // the user's name of the field: "args", "env.PORT", "instances"
	Old, New string // shown to the user; values of env are not shown
}

// Diff lists what a convergence has to restart for; Version, and what the
// inherited environment holds, never count.
func Diff(old, new App) []Change {
	var changes []Change
	for i := range table {
		f := &table[i]
		if f.at == nil {
			continue
		}
		before, after := f.show(&old), f.show(&new)
		if f.name == "max_restarts" {
			before, after = showMaxRestarts(before, old), showMaxRestarts(after, new)
		}
		if before != after {
			changes = append(changes, Change{f.name, before, after})
		}
	}
	return append(changes, diffVars(old.Env, new.Env)...)
}

// showMaxRestarts tells a given value from the default: the first is final.
func showMaxRestarts(shown string, a App) string {
	if !a.Restart.MaxExplicit {
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
			after = "set to another value"
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

package ecosystem

import (
	"slices"
	"strings"
)

// Needed are the apps of the file that those named need, also through others, and that
// are not named themselves.
func (f *File) Needed(env string, only []string) (names []string) {
	todo := f.wanted(&reader{name: f.name, world: f.world}, env, only) // what it can't find is an error of Select
	for seen := slices.Clone(todo); len(todo) > 0; {
		d := todo[0]
		todo = todo[1:]
		for _, need := range d.app.DependsOn.Apps {
			if next := f.draft(need.App, env); next != nil && !slices.Contains(seen, next) {
				seen, todo = append(seen, next), append(todo, next)
				names = append(names, next.nameWith(env))
			}
		}
	}
	return names
}

// Foreign are the names in depends_on that are no apps of the file.
func (f *File) Foreign() (names []string) {
	own := f.Names()
	for _, d := range f.drafts {
		for _, need := range d.app.DependsOn.Apps {
			if !slices.Contains(own, need.App) && !slices.Contains(names, need.App) {
				names = append(names, need.App)
			}
		}
	}
	return names
}

// Unknown is an error for each of the names of Foreign that is not known elsewhere either;
// nil: all are.
func (f *File) Unknown(known []string) error {
	r := &reader{name: f.name, world: f.world}
	foreign, own := f.Foreign(), f.Names()
	for _, d := range f.drafts {
		for _, need := range d.said.needs {
			if slices.Contains(foreign, need.App) && !slices.Contains(known, need.App) {
				others := slices.DeleteFunc(slices.Concat(own, known), func(name string) bool { return name == d.app.Name })
				advice := "; if it is of another file, start that first"
				if hint := didYouMean(need.App, others); hint != "" {
					advice = hint + " If it is of another file, start that first"
				}
				r.errorf(need.at, r.label(d, d.written("depends_on"))+need.path, "no app %q in the file (it has %s) or in the list%s", need.App, strings.Join(own, ", "), advice)
			}
		}
	}
	if problems := r.done(); problems.failed() {
		return problems
	}
	return nil
}

// draft is the app of a name, with env_<env> or without.
func (f *File) draft(name, env string) *draft {
	for _, d := range f.drafts {
		if name == d.app.Name || name == d.nameWith(env) {
			return d
		}
	}
	return nil
}

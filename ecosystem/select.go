package ecosystem

import (
	"slices"
	"strings"
)

// Select makes the apps with env_<env> layered over env; env "" or "default"
// means env alone. The warnings say what --env X could not do; an X that no app
// of the file has is an error when other env_* exist (with the nearest name).
// only, when not empty, keeps the apps named in it; an unknown name is an error.
func (f *File) Select(env string, only []string) ([]App, Problems, error) {
	if env == "default" {
		env = ""
	}
	r := &reader{name: f.name, dir: "", world: f.world}
	switch names := f.envs(); {
	case env == "" || slices.Contains(names, env):
	case len(names) == 0:
		r.warnf(place{}, "", "--env %s changes nothing: the file has no env_* blocks", env)
		env = ""
	default:
		r.errorf(place{}, "", "--env %s: no app has env_%s%s (the file has %s)",
			env, env, didYouMean(env, names), strings.Join(names, ", "))
	}
	wanted := f.wanted(r, env, only)
	var apps []App
	taken := map[string]bool{}
	for _, d := range wanted {
		a := r.selected(d, env)
		a.DependsOn.Apps = f.needed(a, env)
		if taken[a.Name] { // names are unique in the file, but append_env_to_name makes new ones
			r.errorf(place{}, "", "--env %s: two apps get the name %q", env, a.Name)
		}
		taken[a.Name] = true
		apps = append(apps, a)
	}
	problems := r.problems
	if problems.failed() {
		return nil, nil, problems
	}
	return apps, problems, nil
}

// wanted are the drafts that only names, in the order of the file.
func (f *File) wanted(r *reader, env string, only []string) []*draft {
	if len(only) == 0 {
		return f.drafts
	}
	var drafts []*draft
	used := map[string]bool{}
	for _, d := range f.drafts {
		for _, name := range []string{d.app.Name, d.nameWith(env)} {
			if slices.Contains(only, name) && !used[name] {
				used[name] = true
				if len(drafts) == 0 || drafts[len(drafts)-1] != d {
					drafts = append(drafts, d)
				}
			}
		}
	}
	for _, name := range only {
		if !used[name] {
			r.errorf(place{}, "", "no app %q%s (the file has %s)", name, didYouMean(name, f.Names()), strings.Join(f.Names(), ", "))
		}
	}
	return drafts
}

// nameWith is the app's name under --env.
func (d *draft) nameWith(env string) string {
	if d.appendEnv && env != "" {
		return d.app.Name + "-" + env
	}
	return d.app.Name
}

// selected is the app with env_<env>. The program is looked for again when the
// chosen variables change PATH.
func (r *reader) selected(d *draft, env string) App {
	a := d.app
	a.Name = d.nameWith(env)
	if _, has := d.envs[env]; has {
		a.Env.Selected = env
	}
	if vars := d.vars(env); vars["PATH"] != d.vars("")["PATH"] {
		p, fault := r.world.plan(r.request(d, vars))
		if fault != nil {
			r.errorf(d.where(fault.field), join(d.path, d.written(fault.field)), "with env_%s: %s", env, fault.text)
		}
		a.Command.Interpreter = p.command.Interpreter
		if !p.command.isShell() { // a command line is the same whatever PATH
			a.Command.Script = p.command.Script
		}
	}
	a.Env.Vars, a.Env.Filter = d.environment(env)
	if d.said.usualReady { // PORT may be another, or be there at all
		a.Ready.By = a.usualReady()
	}
	a.completeFleet()
	return a
}

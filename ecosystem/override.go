package ecosystem

import (
	"maps"
	"os"
	"slices"
)

// FromCommand makes one app from a command line: script is what the user typed
// (a path, a program on PATH, or a command with spaces), args follow `--`, set
// holds the fields given as options, by field name ("max_memory_restart": "200M").
func FromCommand(script string, args []string, set map[string]string, o Options) (App, Problems, error) {
	r := commandReader(o)
	if script == "" {
		r.errorf(place{}, "", "nothing to start: name a file, a script or a command")
		return r.result(App{})
	}
	n := &node{kind: kindObject, members: []member{{name: "script", value: textNode(script)}}}
	if len(args) > 0 {
		list := &node{kind: kindList}
		for _, arg := range args {
			list.items = append(list.items, textNode(arg))
		}
		n.members = append(n.members, member{name: "args", value: list})
	}
	n.members = append(n.members, setMembers(set)...)
	d := r.app(n, "", false)
	return r.result(d.app)
}

// Override applies fields given as options to an app that exists already
// (`gopm restart web --max-restarts 3`).
func Override(a App, set map[string]string, o Options) (App, Problems, error) {
	r := commandReader(o)
	wasFork := a.Scale.ExecMode == "fork" && a.Scale.Instances <= 1
	d := &draft{app: a, given: map[string]given{}, envs: map[string]layer{}}
	for _, m := range setMembers(set) {
		r.field(d, m, false)
	}
	if r.problems.failed() { // what follows needs valid values
		return r.result(a)
	}
	if d.has("cwd") {
		d.app.Command.Cwd = r.world.abs(r.dir, d.cwd)
	}
	r.envFiles(d)
	d.keepVars(a)
	r.replan(d, a.Command)
	r.names(d, "")
	r.paths(d)
	r.users(d)
	d.logFormat()
	r.restart(d)
	d.app.Env.Vars, d.app.Env.Filter = d.environment("")
	if d.filter.all {
		d.app.Env.Inherit = Inherit{}
	}
	if d.has("instances") || d.has("exec_mode") {
		if wasFork && !d.has("exec_mode") {
			d.app.Scale.ExecMode = ""
		}
		r.rescale(d)
	}
	return r.result(d.app)
}

func commandReader(o Options) *reader {
	return &reader{commandLine: true, dir: o.Dir, world: newWorld(o)}
}

// setMembers are options as the members of an app, in the order of the table.
func setMembers(set map[string]string) []member {
	var members []member
	rest := maps.Clone(set)
	for i := range table {
		for _, name := range table[i].names() {
			if value, ok := rest[name]; ok {
				members = append(members, member{name: name, value: textNode(value)})
				delete(rest, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		members = append(members, member{name: name, value: textNode(rest[name])})
	}
	return members
}

// result is what was made, or the errors.
func (r *reader) result(a App) (App, Problems, error) {
	problems := r.done()
	if problems.failed() {
		return App{}, nil, problems
	}
	return a, problems, nil
}

// keepVars makes the variables that a has the ones that d begins with; they win
// over a new env_file, as env does in a file.
func (d *draft) keepVars(a App) {
	vars := layer{}
	for name, value := range a.Env.Vars {
		vars[name] = variable{value: value}
	}
	for _, entry := range a.Env.Filter {
		if name, ok := wholeName(entry); ok {
			vars[name] = variable{unset: true}
		} else if !d.has("filter_env") {
			d.filter.parts = append(d.filter.parts, entry)
		}
	}
	d.env = d.env.over(vars)
}

// replan looks for the program again when an option asks for another.
func (r *reader) replan(d *draft, was Command) {
	if was.isShell() && !d.has("script") {
		r.replanShell(d, was)
		return
	}
	if !d.has("script") && !d.has("interpreter") && !d.has("interpreter_args") && !d.has("cwd") {
		return
	}
	q := r.request(d, d.vars(""))
	if was.isShell() && !d.has("interpreter_args") {
		q.interpreterArgs = nil // its -c
	}
	if !d.has("script") {
		q.script = was.Script
		if !d.has("interpreter") {
			q.interpreter = was.Interpreter
		}
		if q.interpreter == "" && !d.has("interpreter_args") {
			q.interpreter = "none"
		}
	}
	d.script = q.script
	p, fault := r.world.plan(q)
	r.planned(d, p, fault)
}

// replanShell keeps a command line for a shell: its parts can't be changed.
func (r *reader) replanShell(d *draft, was Command) {
	for _, name := range []string{"interpreter", "args", "interpreter_args"} {
		if d.has(name) {
			r.errorf(place{}, r.label(d, d.written(name)), "%q is a command line for a shell: start it anew instead", was.Script)
		}
	}
	if info, err := os.Stat(d.app.Command.Cwd); d.has("cwd") && (err != nil || !info.IsDir()) {
		r.errorf(place{}, r.label(d, "cwd"), "no such folder: %s", d.app.Command.Cwd)
	}
}

// rescale decides on cluster mode anew.
func (r *reader) rescale(d *draft) {
	if !d.has("exec_mode") && d.app.Scale.ExecMode != "" {
		d.given["exec_mode"] = given{name: "exec_mode"}
	}
	r.scale(d)
}

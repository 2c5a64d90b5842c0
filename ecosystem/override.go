package ecosystem

import (
	"maps"
	"os"
	"slices"
	"strings"
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
	d.app.completeFleet()
	return r.result(d.app)
}

// Override applies fields given as options to an app that exists already
// (`gopm restart web --max-restarts 3`).
func Override(a App, set map[string]string, o Options) (App, Problems, error) {
	r := commandReader(o)
	wasFork := a.Scale.ExecMode == "fork" && a.Scale.Instances <= 1
	d := &draft{app: a, given: map[string]given{}, sources: sources{envs: map[string]layer{}}}
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
	if wasFork && d.has("instances") && !d.has("exec_mode") { // else the mode stays as it is
		d.scale()
	}
	d.keepLife(a)
	r.life(d)
	d.drainMode()
	r.cluster(d)
	d.keepFleet(a)
	r.fleet(d)
	d.app.completeFleet()
	if d.said.usualReady { // else it was said, and stays
		d.app.Ready.By = d.app.usualReady()
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
				members = append(members, member{name: name, value: table[i].typed(value)})
				delete(rest, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		members = append(members, member{name: name, value: textNode(rest[name])})
	}
	return members
}

// typed is what was typed as an option's value: where a file has a list it is words,
// and as in pm2 watch_delay counts seconds.
func (f *field) typed(value string) *node {
	switch f.name {
	case "ignore_watch", "depends_on", "watch":
		list := &node{kind: kindList}
		for _, word := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' }) {
			list.items = append(list.items, textNode(word))
		}
		if len(list.items) > 1 {
			return list
		}
	case "watch_delay":
		if number, unit := splitUnit(value); unit == "" {
			value = number + "s"
		}
	}
	return textNode(value)
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

package ecosystem

import (
	"errors"
	"fmt"
	"strings"
)

// draft is an app in the making: what its fields said, over the defaults.
type draft struct {
	app         App
	path        string           // in the file: apps[1]
	at          place            // of the app
	given       map[string]given // the fields that were given, by the table's name
	script      string           // as written, like the next two
	interpreter string
	cwd         string
	sources
	python bool // a python program: its output must not wait in a buffer
	said   said
}

// sources are what a draft's variables are made of.
type sources struct {
	port      string // as written
	env       layer
	envs      map[string]layer // env_<name>
	envFiles  []string
	fileVars  layer // what is in envFiles
	filter    filter
	appendEnv bool
}

// given is a field as it was written.
type given struct {
	name  string // the alias that was used
	value place
	bad   bool // it has no valid value, which was reported
}

// guessed stands in given for a name that was probably meant to be the script's.
const guessed = "?"

// app checks one app. top says that it is the whole file, so that deploy and
// such may stand beside its fields.
func (r *reader) app(n *node, path string, top bool) *draft {
	d := &draft{app: defaults(), path: path, at: n.place, given: map[string]given{}, sources: sources{envs: map[string]layer{}}}
	d.app.Consul = r.consul
	if n.kind != kindObject {
		r.errorf(n.place, path, "want an app as an object, got %s", n.describe())
		return d
	}
	for _, m := range n.members {
		switch {
		case strings.HasPrefix(m.name, "x-"):
		case top && (m.name == "$schema" || m.name == "deploy" || m.name == "static" || m.name == "pm2"):
		default:
			r.field(d, m, top)
		}
	}
	_, ok := d.given["script"]
	if _, typo := d.given[guessed]; !ok && !typo {
		r.errorf(n.place, path, "it has no script: say what to run")
	}
	r.finish(d)
	return d
}

// field takes one field of an app.
func (r *reader) field(d *draft, m member, top bool) {
	label := r.label(d, m.name)
	f := byName()[m.name]
	if f == nil {
		if name, ok := strings.CutPrefix(m.name, "env_"); ok && name != "" {
			r.envBlock(d, m, name)
			return
		}
		r.unknown(d, m, top)
		return
	}
	if first, twice := d.given[f.name]; twice {
		if first.name != m.name { // the same name twice was reported already
			r.errorf(m.place, label, "is the same field as %q, which is given too", first.name)
		}
		return
	}
	if m.value.kind == kindNull {
		return
	}
	if f.stage != stageNow {
		r.noteUnused(f, label, m.place)
		d.given[f.name] = given{name: m.name, value: m.value.place}
		return
	}
	err := f.assign(d, m.value, r.world.room)
	d.given[f.name] = given{m.name, m.value.place, err != nil}
	r.parts(label, m.value.place, err)
}

// parts reports what is wrong with a value, each part at its place.
func (r *reader) parts(label string, at place, err error) {
	var parts partErrors
	if !errors.As(err, &parts) && err != nil {
		parts = partErrors{{"", at, err}}
	}
	for _, e := range parts {
		r.errorf(e.at, label+e.path, "%v", e.err)
	}
}

// envBlock takes env_<name>.
func (r *reader) envBlock(d *draft, m member, name string) {
	label := r.label(d, m.name)
	if m.value.kind != kindObject {
		hint := didYouMean(m.name, []string{"env_file", "env"})
		r.errorf(m.value.place, label, "want an object of variables, got %s%s", m.value.describe(), hint)
		return
	}
	vars, err := parseVars(m.value)
	if err != nil {
		r.errorf(m.value.place, label, "%v", err)
	}
	d.envs[name] = vars
}

// partOf has the names that are no fields, but are found inside of one.
var partOf = map[string]string{
	"overlap": "schedule", "retries": "health", "on_fail": "health", "start_period": "health", "watchdog": "health",
	"cpu": "limits", "memory": "limits", "pids": "limits", "nofile": "rlimits", "nproc": "rlimits", "core": "rlimits",
	"gitignore": "watch", "poll": "watch", "follow_links": "watch",
	"tags": "consul", "checks": "consul", "weights": "consul", "deregister_after": "consul", "deregister_delay": "consul",
	"on_change": "consul", "debounce": "consul", "service": "consul", "fleet": "consul", "lock": "singleton", "on_lost": "singleton",
}

// unknown reports a name that no field has.
func (r *reader) unknown(d *draft, m member, top bool) {
	candidates := fieldNames()
	if top {
		candidates = append(candidates, topNames()...)
	}
	guess := nearest(m.name, candidates)
	hint := ""
	if owner := partOf[m.name]; owner != "" {
		guess, hint = "", fmt.Sprintf("; it is a part of %s: {%q: …}", owner, m.name)
	}
	if guess != "" {
		hint = `, did you mean "` + guess + `"?`
	}
	r.errorf(m.place, r.label(d, m.name), "unknown field%s", hint)
	if guess == "apps" || guess != "" && byName()[guess] == byName()["script"] {
		// Not another error about the script that is missing now.
		d.given[guessed] = given{name: m.name, bad: true}
	}
}

// label is how a field is named in messages: apps[1].name, or --name.
func (r *reader) label(d *draft, name string) string {
	if !r.commandLine {
		return join(d.path, name)
	}
	f := byName()[name]
	switch {
	case f == nil:
		return join("", name)
	case f.name == "script":
		return ""
	case len(f.flags) > 0:
		return "--" + f.flags[0].name
	}
	return f.name
}

// where is where a field's value was written, else the app.
func (d *draft) where(name string) place {
	if g, ok := d.given[name]; ok {
		return g.value
	}
	return d.at
}

// written is the name a field was given by, else its own.
func (d *draft) written(name string) string {
	if g, ok := d.given[name]; ok {
		return g.name
	}
	return name
}

// has says whether a field was given with a valid value.
func (d *draft) has(name string) bool {
	g, ok := d.given[name]
	return ok && !g.bad
}

package ecosystem

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// drainMode decides who ends the connections when nobody said it: the program, if it
// tells gopm about its life anyway, else gopm.
func (d *draft) drainMode() {
	if d.app.Drain.Mode != "" {
		return
	}
	d.app.Drain.Mode = DrainOutside
	if d.app.Ready.By == ReadyMessage {
		d.app.Drain.Mode = DrainSignal
	}
}

// cluster checks the fields of cluster mode.
func (r *reader) cluster(d *draft) {
	for _, err := range []struct {
		field string
		text  string
	}{
		{"hang_timeout", atLeast(d.app.Cluster.Hang, minHang, true)},
		{"listen_timeout", atLeast(d.app.Reload.Ready, minReady, false)},
		{"backlog", inRange(d.app.Cluster.Backlog, 1, maxBacklog)},
		{"spares", inRange(d.app.Scale.Spares, 0, maxInstances-d.app.Scale.Instances)},
		{"port_step", inRange(d.app.Scale.PortStep, 0, maxPort)},
	} {
		if d.has(err.field) && err.text != "" {
			r.errorf(d.where(err.field), r.label(d, d.written(err.field)), "%s", err.text)
			d.spoil(err.field)
		}
	}
	r.listens(d)
	r.increment(d)
	r.portStep(d)
	r.useless(d)
}

// What is less is seconds meant and milliseconds written, or would take a program
// for hung that is only waiting for a turn on a busy machine.
const (
	minHang    = 200 * time.Millisecond
	minReady   = 100 * time.Millisecond
	maxBacklog = 1<<31 - 1 // what listen(2) can be told
)

func atLeast(t, least time.Duration, orNone bool) string {
	if t >= least || orNone && t == 0 {
		return ""
	}
	return fmt.Sprintf(`want at least %v, got %v; a number is milliseconds, write "5s" for seconds`, least, t)
}

func inRange(n, least, most int) string {
	if n >= least && n <= most {
		return ""
	}
	return fmt.Sprintf("want %d to %d, got %d", least, most, n)
}

// spoil marks a field's value as one that others needn't be checked against.
func (d *draft) spoil(name string) {
	g := d.given[name]
	g.bad = true
	d.given[name] = g
}

// maxSocketPath is what fits into an address of the kernel, with a zero behind it.
const maxSocketPath = 107

// listens makes the paths of unix sockets absolute.
func (r *reader) listens(d *draft) {
	if !d.has("listen") {
		return
	}
	for i, l := range d.app.Cluster.Listen {
		if l.Network != "unix" {
			continue
		}
		path := l.Address
		if path[0] != '@' { // a name in the kernel, no path
			path = r.world.abs(d.app.Command.Cwd, path)
		}
		if len(path) > maxSocketPath {
			r.errorf(d.where("listen"), r.label(d, d.written("listen")),
				"the path of a unix socket can have at most %d bytes, this has %d: %s", maxSocketPath, len(path), path)
		}
		d.app.Cluster.Listen[i].Address = path
	}
}

// envNames are "" for env alone and the names of the env_<name>: what holds of an
// app's variables has to hold with each of them.
func (d *draft) envNames() []string {
	return append([]string{""}, slices.Sorted(maps.Keys(d.envs))...)
}

// withEnv says in a message that it is about the variables of one env_<name>.
func withEnv(name string) string {
	if name == "" {
		return ""
	}
	return " with env_" + name
}

// increment checks that the variable of increment_var is a number.
func (r *reader) increment(d *draft) {
	name := d.app.Scale.IncrementVar
	if !d.has("increment_var") {
		return
	}
	label := r.label(d, d.written("increment_var"))
	if err := checkVar(name, ""); err != nil {
		r.errorf(d.where("increment_var"), label, "%v", err)
		return
	}
	if name == d.app.Scale.InstanceVar {
		r.errorf(d.where("increment_var"), label, "%s holds the instance's number already (instance_var)", name)
	}
	for _, env := range d.envNames() {
		v, set := d.vars(env)[name]
		if _, err := strconv.Atoi(v.value); set && !v.unset && err != nil {
			r.errorf(d.where("increment_var"), label, "the variable %s isn't a whole number%s", name, withEnv(env))
			return
		}
	}
}

// portStep checks that each instance gets a port.
func (r *reader) portStep(d *draft) {
	s := d.app.Scale
	if !d.has("port_step") && !d.has("port") && !d.has("instances") || s.PortStep <= 0 || s.PortStep > maxPort {
		return
	}
	where, label := d.where("port_step"), r.label(d, d.written("port_step"))
	if s.IncrementVar == "PORT" {
		r.errorf(where, label, "increment_var raises PORT already: leave one of them out")
		return
	}
	for _, env := range d.envNames() {
		first, err := strconv.Atoi(d.vars(env)["PORT"].value)
		if err != nil || first < 1 {
			r.errorf(where, label, "it needs the port of the first instance%s: set port", withEnv(env))
			return
		}
		if last := first + (s.Instances-1)*s.PortStep; last > maxPort {
			r.errorf(where, label, "instance %d would get port %d%s: the last there is is %d", s.Instances-1, last, withEnv(env), maxPort)
			return
		}
	}
}

// useless warns of fields that do nothing because of what another says.
func (r *reader) useless(d *draft) {
	plain := defaults()
	for i := range table {
		f := &table[i]
		isOff := f.kind == drainValue && d.app.Drain.Mode == DrainOff
		if f.kind == standbyValue && d.app.Singleton.IsSet() { // it tells who holds the lock, in fork mode too
			continue
		}
		if !f.cluster || !d.has(f.name) || d.app.IsCluster() || isOff || f.show(&d.app) == f.show(&plain) {
			continue
		}
		todo := `set exec_mode: "cluster", or leave it out`
		switch {
		case f.name == "listen_timeout" && d.app.Ready.By != ReadyUptime: // what pm2 has it for
			todo = "how long a start may take says ready_timeout"
		case r.commandLine:
			todo = "-i 2 or more makes it cluster mode"
		}
		r.warnf(d.where(f.name), r.label(d, d.written(f.name)), "no effect in fork mode: %s", todo)
	}
	if d.app.IsCluster() && d.has("standby") && d.app.Scale.Total() < 2 && !d.app.Singleton.IsSet() {
		r.warnf(d.where("standby"), r.label(d, d.written("standby")), "there is nobody to stand by: set spares, or leave it out")
	}
}

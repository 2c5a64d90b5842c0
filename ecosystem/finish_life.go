package ecosystem

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// life settles and checks the fields about an app's life between start and stop.
func (r *reader) life(d *draft) {
	r.job(d)
	r.ready(d)
	r.health(d)
	r.commands(d)
	r.watch(d)
	if d.has("depends_on") {
		d.app.DependsOn.Apps = nil
		for _, n := range d.said.needs {
			if n.App == d.app.Name {
				r.errorf(n.at, r.label(d, d.written("depends_on"))+n.path, "%s can't wait for itself", n.App)
			}
			d.app.DependsOn.Apps = append(d.app.DependsOn.Apps, n.Dependency)
		}
	}
}

// wrong reports what is wrong with a field of an app.
func (r *reader) wrong(d *draft, field, format string, args ...any) {
	r.errorf(d.where(field), r.label(d, d.written(field)), format, args...)
}

// saysReady says whether the app's fields say what makes it ready.
func (d *draft) saysReady() bool {
	return d.has("ready") || d.has("wait_ready") && d.said.waitReady
}

// usualReady is what makes an instance ready when nobody said it: what is there.
func (a *App) usualReady() string {
	switch {
	case a.Times.IsJob():
		return ReadyUptime
	case a.Health.IsChecked():
		return ReadyHealth
	case len(a.Cluster.Listen) > 0: // its sockets listen before it does
		return ReadyUptime
	case a.IsCluster() && len(a.NamedPorts()) > 0:
		return ReadyPort
	}
	return ReadyUptime
}

// ready settles what makes the app ready, where it is said.
func (r *reader) ready(d *draft) {
	ready := &d.app.Ready
	if text := atLeast(ready.Timeout, minReady, false); d.has("ready_timeout") && text != "" {
		r.wrong(d, "ready_timeout", "%s", text)
		d.spoil("ready_timeout")
	}
	ready.Given = ready.Given || d.has("ready_timeout")
	switch waits := d.said.waitReady; {
	case !d.has("wait_ready"):
	case d.has("ready") && waits != (ready.By == ReadyMessage):
		r.wrong(d, "wait_ready", "%t, but ready says %q: leave one of them out", waits, byName()["ready"].show(&d.app))
		return
	case waits:
		*ready = Ready{By: ReadyMessage, Timeout: ready.Timeout, Given: ready.Given}
	case ready.By == ReadyMessage: // of an app that had it
		d.said.usualReady = true
	}
	if d.saysReady() {
		d.said.usualReady = false
	}
	if !d.said.usualReady {
		r.canBeReady(d)
	}
}

// canBeReady checks that what makes the app ready can happen.
func (r *reader) canBeReady(d *draft) {
	field := "ready"
	if !d.has(field) && d.has("wait_ready") {
		field = "wait_ready"
	}
	switch a := &d.app; {
	case a.Times.IsJob() && a.Ready.By != ReadyUptime:
		r.wrong(d, field, "a job (schedule) is done when it has ended: leave it out")
	case a.Ready.By == ReadyLog && a.Logs.Disabled:
		r.wrong(d, field, "its output is not looked at with disable_logs: leave one of them out")
	case a.Ready.By == ReadyHealth && !a.Health.IsChecked():
		r.wrong(d, field, "there is no health check: give health http, tcp or exec")
	case a.Ready.By != ReadyPort:
	case a.Ready.Port == 0 && len(a.Cluster.Listen) > 0, a.Ready.Port != 0 && slices.Contains(a.givenPorts(), a.Ready.Port):
		r.wrong(d, field, "gopm opens the sockets of listen before the program runs, so they don't tell that it is ready: name another way")
	case a.Ready.Port == 0 && !a.IsCluster() && !d.hasPort():
		r.wrong(d, field, `which port? Set port, or write the number: {"port": 3000}`)
	}
}

// givenPorts are the ports of listen.
func (a *App) givenPorts() []int {
	only := App{Sharing: Sharing{Cluster: Cluster{Listen: a.Cluster.Listen}}, Scale: Scale{Instances: 1}}
	return only.NamedPorts()
}

// hasPort says whether the app's variables have a PORT, at least with one env_<name>.
func (d *draft) hasPort() bool {
	return slices.ContainsFunc(d.envNames(), func(env string) bool {
		n, err := strconv.Atoi(d.vars(env)["PORT"].value)
		return err == nil && n > 0
	})
}

// health checks the health checks.
func (r *reader) health(d *draft) {
	h := d.app.Health
	if !d.has("health") {
		return
	}
	if strings.Contains(h.HTTP.URL+h.TCP, PortMark) && !d.app.IsCluster() && !d.hasPort() {
		r.wrong(d, "health", "%s stands for the app's port, and it has none: set port, or write the number", PortMark)
	}
	r.program(d, "health", h.Exec, "exec check")
}

// What a command may take that names no timeout.
const (
	usualCommandTimeout  = 10 * time.Second
	usualPreStartTimeout = time.Minute // it may be a migration, or a build
)

// commands settles and checks the commands around the app's processes.
func (r *reader) commands(d *draft) {
	for _, c := range []struct {
		field string
		hook  *Hook
		usual time.Duration
	}{
		{"pre_start", &d.app.Hooks.PreStart, usualPreStartTimeout},
		{"post_start", &d.app.Hooks.PostStart, usualCommandTimeout},
		{"pre_stop", &d.app.Hooks.PreStop, usualCommandTimeout},
		{"on_errored", &d.app.Hooks.OnErrored, usualCommandTimeout},
	} {
		if !d.has(c.field) || !c.hook.IsSet() {
			continue
		}
		if c.hook.Timeout == 0 {
			c.hook.Timeout = c.usual
		}
		r.program(d, c.field, c.hook.Exec, "command")
	}
}

// program checks that the program of a command line for a shell is there, if it is
// named by a path; the rest only the shell can know.
func (r *reader) program(d *draft, field, line, what string) {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !strings.Contains(word, "/") || strings.ContainsAny(word, "$`*?(){}[];&|<>'\"\\~=#\n\t") {
		return
	}
	path := r.world.abs(d.app.Command.Cwd, word)
	info, err := r.world.stat(path)
	switch {
	case err != nil:
		r.wrong(d, field, "%s not found: %s", what, path)
	case !executable(info):
		r.wrong(d, field, "%s can't be run: %s is not an executable file: chmod +x it", what, path)
	}
}

// job settles what follows from being a job.
func (r *reader) job(d *draft) {
	a := &d.app
	if !a.Times.IsJob() {
		return
	}
	at := func(field string) string {
		if d.has(field) {
			return field
		}
		return "schedule"
	}
	switch {
	case d.has("autorestart") && a.Restart.Auto:
		r.wrong(d, "autorestart", "a job (schedule) runs when it is due, and not again when it ends: leave it out")
	case a.Scale.Instances > 1:
		r.wrong(d, at("instances"), "a job (schedule) runs as one process, not as %d", a.Scale.Instances)
	case a.IsCluster():
		r.wrong(d, at("exec_mode"), "a job (schedule) has no port to share: leave exec_mode out")
	case a.Times.Restart != "":
		r.wrong(d, at("cron_restart"), "a job (schedule) isn't restarted: leave cron_restart or schedule out")
	}
	a.Restart.Auto = false
}

// usualWatchDelay is long enough for an editor or a checkout to be done with a file.
const usualWatchDelay = 200 * time.Millisecond

// watch settles what is watched.
func (r *reader) watch(d *draft) {
	w, said, o := &d.app.Watch, d.said.watch, d.said.options
	if d.has("watch") {
		if said.object {
			w.Gitignore, w.Poll, w.Follow = said.more.Gitignore, said.more.Poll, said.more.Follow
		}
		w.Paths = r.watchPaths(d, said.paths)
	}
	if d.has("watch_options") {
		if o.more.Poll > 0 {
			w.Poll = o.more.Poll
		}
		w.Follow = w.Follow || o.more.Follow
		if len(o.unused) > 0 {
			r.add(SeverityNote, d.where("watch_options"), r.label(d, d.written("watch_options")), "no effect here: %s", strings.Join(o.unused, ", "))
		}
	}
	if ignore := slices.Concat(said.more.Ignore, d.said.ignore, o.more.Ignore); len(ignore) > 0 {
		w.Ignore = nil // their order counts: a later one may begin with "!"
		for _, pattern := range ignore {
			if strings.TrimSpace(pattern) == "" {
				r.wrong(d, "ignore_watch", `want patterns like "*.tmp" or "/uploads", got %s`, quote(pattern))
			}
			w.Ignore = append(w.Ignore, d.inApp(pattern))
		}
	}
	switch {
	case d.has("watch_delay"):
		w.Delay = d.said.delay
	case said.more.Delay > 0:
		w.Delay = said.more.Delay
	}
	if w.Delay == 0 && len(w.Paths) > 0 { // pm2's 0 says no more than nothing
		w.Delay = usualWatchDelay
	}
}

// watchPaths are the paths as absolute ones, if all are there.
func (r *reader) watchPaths(d *draft, written []watchPath) []string {
	var all []string
	for _, p := range written {
		path := r.world.abs(d.app.Command.Cwd, p.text)
		if _, err := r.world.stat(path); err != nil {
			r.errorf(p.at, r.label(d, d.written("watch"))+p.label, "can't be watched, no such file or folder: %s", path)
		}
		all = append(all, path)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// inApp is a pattern as .gitignore in the app's folder would have it: a path below that
// begins there with "/".
func (d *draft) inApp(pattern string) string {
	if rest, isNot := strings.CutPrefix(pattern, "!"); isNot {
		return "!" + d.inApp(rest)
	}
	base := strings.TrimSuffix(d.app.Command.Cwd, "/") + "/"
	if rest, isBelow := strings.CutPrefix(pattern, base); isBelow {
		return "/" + rest
	}
	if rest, isDot := strings.CutPrefix(pattern, "./"); isDot {
		return "/" + strings.TrimLeft(rest, "/")
	}
	return pattern
}

// keepLife takes care of what depends on a field that an option has changed since was.
func (d *draft) keepLife(was App) {
	d.said.usualReady = was.Ready.By == was.usualReady()
	if was.Times.IsJob() && !d.app.Times.IsJob() && !d.has("autorestart") {
		d.app.Restart.Auto = true // that it was not followed from being a job
	}
	old, now := was.Command.Cwd, d.app.Command.Cwd
	if i := slices.Index(was.Watch.Paths, old); i >= 0 && old != now && !d.has("watch") {
		d.app.Watch.Paths = slices.Clone(was.Watch.Paths)
		d.app.Watch.Paths[i] = filepath.Clean(now)
	}
}

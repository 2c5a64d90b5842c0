package ecosystem

import (
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// finish decides what depends on more than one field, and checks it. It is used
// for new apps; override does the same for what was given anew.
func (r *reader) finish(d *draft) {
	d.cwd = r.world.abs(r.dir, d.cwd)
	d.app.Command.Cwd = d.cwd
	r.envFiles(d)
	var p plan
	if d.script != "" { // else what is wrong with it was said
		var f *fault
		p, f = r.world.plan(r.request(d, d.vars("")))
		r.planned(d, p, f)
	}
	r.names(d, p.name)
	r.paths(d)
	r.users(d)
	d.logFormat()
	r.restart(d)
	d.scale()
	d.said.usualReady = true
	r.life(d)
	if !d.has("drain") {
		d.app.Drain.Mode = ""
	}
	d.drainMode()
	r.cluster(d)
	r.fleet(d)
	d.app.Env.Vars, d.app.Env.Filter = d.environment("")
	if d.filter.all {
		d.app.Env.Inherit = Inherit{}
	}
	if d.said.usualReady {
		d.app.Ready.By = d.app.usualReady()
	}
}

// request says what a draft's fields ask to run. In a command line the script
// may also be relative to where the user is, whatever --cwd says.
func (r *reader) request(d *draft, vars layer) request {
	q := request{
		script: d.script, interpreter: d.interpreter, cwd: d.app.Command.Cwd,
		args: d.app.Command.Args, interpreterArgs: d.app.Command.InterpreterArgs,
		path: r.world.path(),
	}
	if v, ok := vars["PATH"]; ok && !v.unset {
		q.path = v.value
	}
	if r.commandLine {
		q.also = r.dir
	}
	return q
}

// planned takes over how the program runs, and what follows from the program.
func (r *reader) planned(d *draft, p plan, f *fault) {
	if f != nil {
		r.errorf(d.where(f.field), r.label(d, d.written(f.field)), "%s", f.text)
	}
	if r.commandLine && f == nil && isConfigModule(p.command.Script) {
		r.errorf(place{}, "", "%s is a configuration, not an app: rename it to %s.config.js and start that",
			p.command.Script, baseName(p.command.Script))
	}
	if f == nil && p.plain && d.has("interpreter_args") && len(d.app.Command.InterpreterArgs) > 0 {
		r.warnf(d.where("interpreter_args"), r.label(d, d.written("interpreter_args")),
			"ignored: %s runs without an interpreter; set interpreter", d.script)
	}
	c := &d.app.Command
	c.Script, c.Args = p.command.Script, p.command.Args
	c.Interpreter, c.InterpreterArgs = p.command.Interpreter, p.command.InterpreterArgs
	d.python = strings.HasPrefix(p.program, "python") || strings.HasPrefix(p.program, "pypy")
	if d.has("kill_signal") {
		d.app.Stop.Given = true
	}
	if d.app.Stop.Signal == "" {
		d.app.Stop.Signal = "SIGTERM"
		if isNode(p.program) {
			d.app.Stop.Signal = "SIGINT"
		}
	}
	if f == nil {
		d.app.Version = r.world.version(p.home)
	}
	if f == nil && d.app.Talk.ShutdownMessage && !c.RunsNode() {
		r.warnf(d.where("shutdown_with_message"), r.label(d, d.written("shutdown_with_message")),
			"no effect: only what node or bun runs gets messages; %s gets %s", d.script, d.app.Stop.Signal)
	}
}

// names checks the names of the app; without one it is called byDefault.
func (r *reader) names(d *draft, byDefault string) {
	if _, given := d.given["name"]; !given && byDefault != "" {
		d.app.Name = byDefault
		if err := checkName(byDefault); err != nil {
			r.errorf(d.where("script"), r.label(d, "name"), "give one: from the script it would be %s, and %v", quote(byDefault), err)
		}
	}
	for _, f := range []struct{ field, value string }{{"name", d.app.Name}, {"namespace", d.app.Namespace}} {
		if d.has(f.field) {
			if err := checkName(f.value); err != nil {
				r.errorf(d.where(f.field), r.label(d, f.field), "%v", err)
			}
		}
	}
	if err := checkVar(d.app.Scale.InstanceVar, ""); d.has("instance_var") && err != nil {
		r.errorf(d.where("instance_var"), r.label(d, d.written("instance_var")), "%v", err)
	}
}

// checkName refuses names that a command could not tell from something else.
func checkName(name string) error {
	_, numberErr := strconv.Atoi(name)
	switch {
	case name == "" || strings.TrimSpace(name) != name:
		return fmt.Errorf("a name can't be empty, or begin or end with a blank")
	case !isPrintable(name):
		return fmt.Errorf("a name can't have control characters")
	case len(name) > 128:
		return fmt.Errorf("a name can have at most 128 bytes, this has %d", len(name))
	case name == "all":
		return fmt.Errorf(`"all" means all apps`)
	case numberErr == nil:
		return fmt.Errorf("a number means an id")
	case name[0] == '-' || name[0] == '/':
		return fmt.Errorf("a name can't begin with %q", name[0])
	}
	return nil
}

func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// paths makes the paths of logs and pid file absolute.
func (r *reader) paths(d *draft) {
	for _, f := range []struct {
		field string
		path  *string
	}{{"out_file", &d.app.Logs.Out}, {"error_file", &d.app.Logs.Err}, {"log_file", &d.app.Logs.Combined}, {"pid_file", &d.app.PidFile}} {
		switch {
		case !d.has(f.field):
		case f.field == "log_file" && (*f.path == "" || *f.path == DefaultLog):
		case *f.path == "NULL":
			*f.path = "/dev/null"
		default:
			*f.path = r.world.abs(d.app.Command.Cwd, *f.path)
		}
	}
}

// timeFormat is the log_date_format that `time` stands for.
const timeFormat = "YYYY-MM-DDTHH:mm:ss"

// logFormat settles `time` and log_date_format; as in pm2 the first wins.
func (d *draft) logFormat() {
	l := &d.app.Logs
	switch {
	case d.has("time") && l.Time:
		l.DateFormat = timeFormat
	case d.has("log_date_format"):
		l.Time = false
	case d.has("time"): // --time=false of an app that had it
		l.DateFormat = ""
	}
}

// users checks that user and group exist; numbers need no name.
func (r *reader) users(d *draft) {
	c := &d.app.Command
	if _, err := strconv.ParseUint(c.User, 10, 32); d.has("uid") && c.User != "" && err != nil {
		if _, err := user.Lookup(c.User); err != nil {
			r.errorf(d.where("uid"), r.label(d, d.written("uid")), "no user %q on this machine", c.User)
		}
	}
	if _, err := strconv.ParseUint(c.Group, 10, 32); d.has("gid") && c.Group != "" && err != nil {
		if _, err := user.LookupGroup(c.Group); err != nil {
			r.errorf(d.where("gid"), r.label(d, d.written("gid")), "no group %q on this machine", c.Group)
		}
	}
}

// minUptime is pm2's lower limit: less is seconds meant and milliseconds written.
const minUptime = 100 * time.Millisecond

// restart settles the fields of the restart policy among each other.
func (r *reader) restart(d *draft) {
	p := &d.app.Restart
	if d.has("max_restarts") {
		p.MaxExplicit = true
	}
	if d.has("min_uptime") && p.MinUptime < minUptime {
		r.errorf(d.where("min_uptime"), r.label(d, d.written("min_uptime")),
			`want at least %v, got %v; a number is milliseconds, write "5s" for seconds`, minUptime, p.MinUptime)
	}
	if !d.has("exp_backoff_restart_delay") {
		return
	}
	if p.BackoffInitial == 0 { // pm2's way to say no; here the brake stays
		p.BackoffInitial = defaults().Restart.BackoffInitial
		return
	}
	if p.Delay > 0 {
		p.Delay = 0
		if d.has("restart_delay") {
			r.warnf(d.where("restart_delay"), r.label(d, d.written("restart_delay")),
				"ignored, because exp_backoff_restart_delay is given too")
		}
	}
}

// scale decides on cluster mode.
func (d *draft) scale() {
	s := &d.app.Scale
	switch {
	case d.has("exec_mode"):
	case s.Instances > 1:
		s.ExecMode = "cluster"
	default:
		s.ExecMode = "fork"
	}
}

// envFiles reads the env_file or files; a later one wins.
func (r *reader) envFiles(d *draft) {
	for _, name := range d.envFiles {
		data, err := readLimited(r.world.abs(d.app.Command.Cwd, name))
		if err != nil {
			r.errorf(d.where("env_file"), r.label(d, d.written("env_file")), "cannot read %s: %v", name, err)
			continue
		}
		vars, err := parseDotenv(data)
		if err != nil {
			r.errorf(d.where("env_file"), r.label(d, d.written("env_file")), "%s:%v", name, err)
			continue
		}
		d.fileVars = vars.over(d.fileVars)
	}
}

// vars are the draft's variables: env_file < env < env_<selected> < port.
func (d *draft) vars(selected string) layer {
	vars := d.envs[selected].over(d.env.over(d.fileVars))
	if d.port != "" {
		vars["PORT"] = variable{value: d.port}
	}
	if _, set := vars["PYTHONUNBUFFERED"]; d.python && !set {
		vars["PYTHONUNBUFFERED"] = variable{value: "1"}
	}
	return vars
}

// environment is what an App has of vars: those with a value, and the filter
// for inherited ones, to which unset variables go by their whole names.
func (d *draft) environment(selected string) (vars map[string]string, filter []string) {
	filter = append(filter, d.filter.parts...)
	vars = map[string]string{}
	for name, v := range d.vars(selected) {
		if v.unset {
			filter = append(filter, "="+name+"=")
		} else {
			vars[name] = v.value
		}
	}
	slices.Sort(filter)
	return vars, filter
}

// isConfigModule says whether a script is an ecosystem file under a name that
// makes it an app, like pm2 users' ecosystem.js.
func isConfigModule(script string) bool {
	switch filepath.Ext(script) {
	case ".js", ".cjs", ".mjs":
	default:
		return false
	}
	if baseName(script) == "ecosystem" {
		return true
	}
	data, err := readLimited(script)
	if err != nil {
		return false
	}
	for _, start := range []string{"module.exports", "export default"} {
		_, rest, found := strings.Cut(string(data), start)
		rest = strings.TrimLeft(rest, " \t\r\n=")
		if after, ok := strings.CutPrefix(rest, "{"); found && ok {
			after = strings.TrimLeft(after, " \t\r\n'\"")
			if word, ok := strings.CutPrefix(after, "apps"); ok && strings.HasPrefix(strings.TrimLeft(word, " '\""), ":") {
				return true
			}
		}
	}
	return false
}

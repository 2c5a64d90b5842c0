package ecosystem

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFromCommand(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, c := range []struct {
		script string
		args   []string
		set    map[string]string
		name   string
		argv   string
		cwd    string
	}{
		{"app.js", nil, nil, "app", "$BIN/node $DIR/app.js", ""},
		{"./app.js", []string{"--x", "y z"}, nil, "app", "$BIN/node $DIR/app.js --x y z", ""},
		{p.dir + "/server.py", nil, map[string]string{"name": "py"}, "py", "$BIN/python3 $DIR/server.py", ""},
		{"npm", []string{"start"}, map[string]string{"name": "web"}, "web", "$BIN/npm start", ""},
		{"npm run start", []string{"--port", "1 2"}, nil, "npm", "$BIN/bash -c npm run start --port '1 2'", ""},
		{"tool", nil, map[string]string{"interpreter": "python3", "interpreter_args": "-u -X 'a'"}, "tool", "$BIN/python3 -u -X a $DIR/tool", ""},
		{"worker.js", nil, map[string]string{"cwd": "sub"}, "worker", "$BIN/node $DIR/sub/worker.js", "/sub"},
		{"app.js", nil, map[string]string{"cwd": "sub"}, "app", "$BIN/node $DIR/app.js", "/sub"},
		{"run.sh", nil, map[string]string{"interpreter": "bash"}, "run", "$BIN/bash $DIR/run.sh", ""},
	} {
		a, problems, err := FromCommand(c.script, c.args, c.set, p.options())
		if err != nil || len(problems) != 0 {
			t.Errorf("%s: %v, %v", c.script, err, problems)
			continue
		}
		if argv := p.hide(strings.Join(a.Command.Argv(), " ")); a.Name != c.name || argv != c.argv || a.Command.Cwd != p.dir+c.cwd {
			t.Errorf("%s: name %s, cwd %s, argv %s; want %+v", c.script, a.Name, a.Command.Cwd, argv, c)
		}
	}
}

func TestFromCommandMistakes(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file("ecosystem.js", "1")
	p.file("conf.js", "'use strict'\nmodule.exports = {\n  apps : [{ script: 'x' }] }")
	p.file("ok.js", "module.exports = { application: 1, apps: 2 }")
	for _, c := range []struct {
		script string
		set    map[string]string
		want   []string
	}{
		{"nope", nil, []string{"no such file: $DIR/nope, and no program of that name on PATH"}},
		{"", nil, []string{"nothing to start"}},
		{"ecosystem.js", nil, []string{"$DIR/ecosystem.js is a configuration, not an app: rename it to ecosystem.config.js"}},
		{"conf.js", nil, []string{"rename it to conf.config.js"}},
		{"app.js", map[string]string{"max_memory_restart": "10Q", "instances": "x", "name": "7"},
			[]string{"--max-memory-restart: want bytes", "--instances: want a number", "--name: a number means an id"}},
		{"app.js", map[string]string{"kill_tmeout": "1"}, []string{`kill_tmeout: unknown field, did you mean "kill_timeout"?`}},
		{"app.js", map[string]string{"cwd": "nope"}, []string{"--cwd: no such folder: $DIR/nope"}},
		{"app.js", map[string]string{"interpreter": "nope"}, []string{`--interpreter: no program "nope" on PATH`}},
		{"app.js", map[string]string{"env_file": "nope"}, []string{`--env-file: cannot read nope: no such file or directory`}},
	} {
		_, _, err := FromCommand(c.script, nil, c.set, p.options())
		for _, want := range c.want {
			if err == nil || !strings.Contains(p.hide(err.Error()), want) {
				t.Errorf("%s %v: %v, want %s", c.script, c.set, err, want)
			}
		}
	}
	if _, _, err := FromCommand("ok.js", nil, nil, p.options()); err != nil {
		t.Error(err)
	}
}

func TestFromCommandWarnings(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, problems, err := FromCommand("app.js", nil, map[string]string{"source_map_support": "true", "spares": "2", "vizion": "false"}, p.options())
	must(t, err)
	var got []string
	for _, x := range problems {
		got = append(got, x.String())
	}
	want := []string{
		"--spares: no effect in fork mode: -i 2 or more makes it cluster mode",
		"--source-map-support: pm2's internals and services, no effect here: source_map_support, vizion",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems:\n%s", strings.Join(got, "\n"))
	}
}

func TestOverride(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file("vars", "A=file\nNEW=file\n")
	base := p.app(`"name": "web", "args": "x", "env": {"A": "1", "B": null}, "restart_delay": 100, "filter_env": "S"`, "")
	for _, c := range []struct {
		set    map[string]string
		change func(a *App) // what is to become of base
	}{
		{nil, func(a *App) {}},
		{map[string]string{"max_restarts": "3"}, func(a *App) { a.Restart.MaxRestarts, a.Restart.MaxExplicit = 3, true }},
		{map[string]string{"name": "api"}, func(a *App) { a.Name = "api" }},
		{map[string]string{"maxMemoryRestart": "1G"}, func(a *App) { a.Restart.MaxMemory = 1 << 30 }},
		{map[string]string{"instances": "3"}, func(a *App) { a.Scale.Instances, a.Scale.ExecMode = 3, "cluster" }},
		{map[string]string{"instances": "3", "exec_mode": "fork"}, func(a *App) { a.Scale.Instances = 3 }},
		{map[string]string{"port": "80"}, func(a *App) { a.Env.Vars = map[string]string{"A": "1", "PORT": "80"} }},
		{map[string]string{"env_file": "vars"}, func(a *App) { a.Env.Vars = map[string]string{"A": "1", "NEW": "file"} }},
		{map[string]string{"filter_env": "X"}, func(a *App) { a.Env.Filter = []string{"=B=", "X"} }},
		{map[string]string{"filter_env": "true"}, func(a *App) { a.Env.Filter, a.Env.Inherit.All = []string{"=B="}, false }},
		{map[string]string{"out_file": "o.log"}, func(a *App) { a.Logs.Out = p.dir + "/o.log" }},
		{map[string]string{"cwd": "sub"}, func(a *App) { a.Command.Cwd = p.dir + "/sub" }},
		{map[string]string{"args": "y 'z z'"}, func(a *App) { a.Command.Args = []string{"y", "z z"} }},
		{map[string]string{"interpreter_args": "--a --b"}, func(a *App) { a.Command.InterpreterArgs = []string{"--a", "--b"} }},
		{map[string]string{"interpreter": "python3"}, func(a *App) {
			a.Command.Interpreter = p.bin + "/python3"
			a.Env.Vars = map[string]string{"A": "1", "PYTHONUNBUFFERED": "1"}
		}},
		{map[string]string{"script": "tool"}, func(a *App) { a.Command.Script, a.Command.Interpreter = p.dir+"/tool", "" }},
		{map[string]string{"script": "sub/worker.js"}, func(a *App) { a.Command.Script = p.dir + "/sub/worker.js" }},
		{map[string]string{"exp_backoff_restart_delay": "50"}, func(a *App) { a.Restart.Delay, a.Restart.BackoffInitial = 0, 50*time.Millisecond }},
		{map[string]string{"kill_timeout": "1s", "kill_signal": "hup", "autorestart": "false"}, func(a *App) {
			a.Stop.Timeout, a.Stop.Signal, a.Restart.Auto = time.Second, "SIGHUP", false
		}},
	} {
		want := base
		c.change(&want)
		got, _, err := Override(base, c.set, p.options())
		if err != nil {
			t.Errorf("%v: %v", c.set, err)
			continue
		}
		if changes := Diff(want, got); changes != nil || got.Name != want.Name {
			t.Errorf("%v: %v", c.set, changes)
		}
		if !reflect.DeepEqual(base, p.app(`"name": "web", "args": "x", "env": {"A": "1", "B": null}, "restart_delay": 100, "filter_env": "S"`, "")) {
			t.Fatalf("%v changed the app that was given", c.set)
		}
	}
}

func TestOverrideCommandLine(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	shell, _, err := FromCommand("npm run x", nil, nil, p.options())
	must(t, err)
	got, _, err := Override(shell, map[string]string{"cwd": "sub", "max_restarts": "1"}, p.options())
	must(t, err)
	if got.Command.Cwd != p.dir+"/sub" || got.Command.Script != "npm run x" || !got.Command.isShell() {
		t.Errorf("command = %+v", got.Command)
	}
	got, _, err = Override(shell, map[string]string{"script": "app.js"}, p.options())
	if err != nil || p.hide(strings.Join(got.Command.Argv(), " ")) != "$BIN/node $DIR/app.js" {
		t.Errorf("command = %+v, %v", got.Command, err)
	}
	_, _, err = Override(shell, map[string]string{"args": "x"}, p.options())
	mentions(t, err, `args: "npm run x" is a command line for a shell: start it anew instead`)
}

func TestOverrideMistakes(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	base := p.app(`"name": "web"`, "")
	for field, c := range map[string][2]string{
		"instances":   {"x", "--instances: want a number"},
		"cwd":         {"nope", "--cwd: no such folder: $DIR/nope"},
		"script":      {"nope", "no such file: $DIR/nope"},
		"interpreter": {"nope", `--interpreter: no program "nope" on PATH`},
		"name":        {"all", `--name: "all" means all apps`},
		"uid":         {"no-such-user", `--uid: no user "no-such-user"`},
		"min_uptime":  {"5", "--min-uptime: want at least 100ms"},
	} {
		_, _, err := Override(base, map[string]string{field: c[0]}, p.options())
		if err == nil || !strings.Contains(p.hide(err.Error()), c[1]) {
			t.Errorf("%s: %v, want %s", field, err, c[1])
		}
	}
}

// TestOverrideTime: `time` and log_date_format replace one another.
func TestOverrideTime(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	a, _, err := FromCommand("app.js", nil, map[string]string{"time": "true", "log_file": "all.log"}, p.options())
	must(t, err)
	if a.Logs.Combined != p.dir+"/all.log" {
		t.Errorf("log file %s", a.Logs.Combined)
	}
	for _, step := range []struct {
		field, value, format, diff string
	}{
		{"max_size", "1M", timeFormat, "max_size"},
		{"time", "true", timeFormat, ""},
		{"log_date_format", "HH:mm", "HH:mm", "log_date_format"},
		{"time", "true", timeFormat, "log_date_format"},
		{"time", "false", "", "log_date_format"},
		{"log_file", "true", "", "log_file"},
	} {
		b, _, err := Override(a, map[string]string{step.field: step.value}, p.options())
		must(t, err)
		var fields []string
		for _, c := range Diff(a, b) {
			fields = append(fields, c.Field)
		}
		if b.Logs.DateFormat != step.format || strings.Join(fields, " ") != step.diff {
			t.Errorf("--%s %s: format %q, changes %q; want %+v", step.field, step.value, b.Logs.DateFormat, fields, step)
		}
		a = b
	}
	if a.Logs.Combined != DefaultLog {
		t.Errorf("log file %s", a.Logs.Combined)
	}
}

package ecosystem

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// everyLife is an app that says something about all of Life but a job's schedule.
const everyLife = `"name": "web", "port": 80, "ready": {"log": "up"}, "ready_timeout": "2m",
	"health": {"http": {"url": "http://x/{port}", "headers": {"a": "b"}, "method": "HEAD", "body": "c"}, "interval": "9s", "timeout": "1s", "retries": 2, "start_period": "5s", "on_fail": "restart", "watchdog": "7s"},
	"depends_on": {"db": "started", "cache": "completed"}, "on_dependency_exit": "stop",
	"pre_start": "true", "post_start": {"exec": "true", "timeout": 1}, "pre_stop": {"exec": "true", "timeout": 2}, "on_errored": {"exec": "true", "timeout": 3},
	"cron_restart": "@daily", "stdin": true, "shutdown_with_message": true,
	"watch": {"paths": ["sub"], "ignore": ["a", "b"], "gitignore": true, "delay": "1s", "poll": "3s", "follow_links": true}`

const aJob = `"name": "job", "env": {"A": 1}, "schedule": {"at": "@daily", "overlap": "kill", "timeout": "1s"}`

// TestLifeTravels: what the daemon gets is what the file says, and nothing of it is
// taken for missing there.
func TestLifeTravels(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, fields := range []string{everyLife, aJob} {
		app := p.app(fields, "")
		b, err := json.Marshal(app)
		must(t, err)
		var back App
		must(t, json.Unmarshal(b, &back))
		if back.Complete(); !reflect.DeepEqual(app, back) {
			t.Errorf("%+v\nbecame\n%+v", app, back)
		}
	}
}

// TestLifeDiff: a change of any part of a field is seen, under the field's name, and
// takes no more than it needs; what may hold a password is not shown.
func TestLifeDiff(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for change, field := range map[string]string{
		`"up">"down"`: "ready", `{"log": "up"}>3000`: "ready", `"ready_timeout": "2m">"ready_timeout": "1m"`: "ready_timeout",
		`, "ready_timeout": "2m">`: "ready_timeout", `http://x>https://x`: "health", `"a": "b">"a": "secret"`: "health", `HEAD>GET`: "health",
		`"body": "c">"body": "d"`: "health", `"9s">"8s"`: "health", `"retries": 2>"retries": 3`: "health", `"5s">"6s"`: "health",
		`"on_fail": "restart">"on_fail": "mark"`: "health", `"7s">"8s"`: "health", `"timeout": "1s">"timeout": "4s"`: "health",
		`"started">"ready"`: "depends_on", `"cache">"mail"`: "depends_on", `"stop">"restart"`: "on_dependency_exit", `"pre_start": "true">"pre_start": "false"`: "pre_start",
		`"timeout": 1}>"timeout": 9}`: "post_start", `"timeout": 2}>"timeout": 9}`: "pre_stop", `"timeout": 3}>"timeout": 9}`: "on_errored",
		`@daily>@hourly`: "cron_restart", `["sub"]>["app.js"]`: "watch", `["a", "b"]>["b", "a"]`: "ignore_watch", `"gitignore": true, >`: "watch",
		`"delay": "1s">"delay": "2s"`: "watch_delay", `"poll": "3s", >`: "watch", `"follow_links": true>"follow_links": false`: "watch",
		`"stdin": true, >`: "stdin", `"shutdown_with_message": true,>`: "shutdown_with_message", `{"log": "up"}>"message"`: "ready",
		`"timeout": "1s"}>"timeout": "2s"}`: "schedule", `"kill">"queue"`: "schedule", `"at": "@daily">"at": "@weekly"`: "schedule",
	} {
		before, after, _ := strings.Cut(change, ">")
		fields := everyLife
		if field == "schedule" {
			fields = aJob
		}
		if !strings.Contains(fields, before) {
			t.Fatalf("no %s", before)
		}
		changes := Diff(p.app(fields, ""), p.app(strings.Replace(fields, before, after, 1), ""))
		if after == `"message"` { // with which the program ends its connections itself
			changes = changes[1:]
		}
		if len(changes) != 1 || changes[0].Field != field || strings.Contains(changes[0].New, "secret") {
			t.Errorf("%s: %v, want one of %s", change, changes, field)
		}
		want := EffortApply
		if field == "stdin" || field == "shutdown_with_message" || after == `"message"` {
			want = EffortRestart
		}
		if got := changes.Effort(); got != want {
			t.Errorf("%s: effort %d, want %d", change, got, want)
		}
	}
}

// TestUsualReady: when nobody says it, what is there makes an app ready.
func TestUsualReady(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, c := range []struct{ fields, env, want string }{
		{`"args": "x"`, "", ReadyUptime},
		{`"port": 3000`, "", ReadyUptime},
		{`"instances": 2`, "", ReadyUptime},
		{`"instances": 2, "port": 3000`, "", ReadyPort},
		{`"exec_mode": "cluster", "cluster_ports": 80`, "", ReadyPort},
		{`"instances": 2, "port": 3000, "listen": ":3000"`, "", ReadyUptime},
		{`"instances": 2, "env_qa": {"PORT": 3000}`, "", ReadyUptime},
		{`"instances": 2, "env_qa": {"PORT": 3000}`, "qa", ReadyPort},
		{`"instances": 2, "port": 3000, "health": 3000`, "", ReadyHealth},
		{`"health": {"watchdog": "1s"}`, "", ReadyUptime},
		{`"instances": 2, "port": 3000, "ready": "uptime"`, "", ReadyUptime},
		{`"instances": 2, "env_qa": {"PORT": 3000}, "ready": "uptime"`, "qa", ReadyUptime},
		{`"health": 3000, "wait_ready": true`, "", ReadyMessage},
		{`"health": 3000, "wait_ready": false`, "", ReadyHealth},
		{`"health": 3000, "schedule": "@daily"`, "", ReadyUptime},
		{`"ready": "port", "env_qa": {"PORT": 3000}`, "", ReadyPort},
	} {
		if a := p.app(c.fields, c.env); a.Ready.By != c.want {
			t.Errorf("%s, env %q: ready by %q, want %q", c.fields, c.env, a.Ready.By, c.want)
		}
	}
}

// TestOverrideLife: options of an app that exists are checked as those of a file, what
// makes it ready follows them if nobody said it, and the rest stays.
func TestOverrideLife(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	every := p.app(everyLife, "")
	plain := p.app(`"name": "web", "instances": 2, "port": 3000`, "")
	for _, c := range []struct {
		base   App
		set    map[string]string
		change func(a *App) // what is to become of base
	}{
		{every, map[string]string{"name": "api"}, func(a *App) { a.Name = "api" }},
		{every, map[string]string{"ready_timeout": "5s"}, func(a *App) { a.Ready.Timeout = 5 * time.Second }},
		{every, map[string]string{"watch": "false"}, func(a *App) { a.Watch.Paths = nil }},
		{every, map[string]string{"watch": "true"}, func(a *App) { a.Watch.Paths = []string{p.dir} }},
		{every, map[string]string{"watch": "sub,app.js"}, func(a *App) { a.Watch.Paths = []string{p.dir + "/app.js", p.dir + "/sub"} }},
		{every, map[string]string{"watch_delay": "4"}, func(a *App) { a.Watch.Delay = 4 * time.Second }},
		{every, map[string]string{"watch_delay": "4ms"}, func(a *App) { a.Watch.Delay = 4 * time.Millisecond }},
		{every, map[string]string{"ignore_watch": "a ./b"}, func(a *App) { a.Watch.Ignore = []string{"a", "/b"} }},
		{every, map[string]string{"cron_restart": "0"}, func(a *App) { a.Times.Restart = "" }},
		{every, map[string]string{"depends_on": "b a"}, func(a *App) { a.DependsOn.Apps = []Dependency{{"a", UntilReady}, {"b", UntilReady}} }},
		{every, map[string]string{"ready": "message"}, func(a *App) { a.Ready.By, a.Ready.Log = ReadyMessage, "" }},
		{plain, map[string]string{"wait_ready": "true"}, func(a *App) { a.Ready.By = ReadyMessage }},
		{plain, map[string]string{"health": "3000"}, func(a *App) {
			a.Health, a.Ready.By = usualHealth(), ReadyHealth
			a.Health.TCP = "127.0.0.1:3000"
		}},
		{plain, map[string]string{"exec_mode": "fork"}, func(a *App) { a.Scale.ExecMode, a.Ready.By = "fork", ReadyUptime }},
		{plain, map[string]string{"watch": "true", "cwd": "sub"}, func(a *App) {
			a.Command.Cwd, a.Watch.Paths, a.Watch.Delay = p.dir+"/sub", []string{p.dir + "/sub"}, usualWatchDelay
		}},
		{p.app(`"watch": ["sub", "."]`, ""), map[string]string{"cwd": "sub/.."}, func(a *App) {}},
		{p.app(`"watch": true`, ""), map[string]string{"cwd": "sub"}, func(a *App) {
			a.Command.Cwd, a.Watch.Paths = p.dir+"/sub", []string{p.dir + "/sub"}
		}},
		{p.app(`"wait_ready": true, "health": 3000, "drain": "outside"`, ""), map[string]string{"wait_ready": "false"}, func(a *App) { a.Ready.By = ReadyHealth }},
		{p.app(`"health": 3000`, ""), map[string]string{"health": "true"}, func(a *App) { a.Health.TCP, a.Health.Exec = "", "true" }},
		{p.app(`"args": "x"`, ""), map[string]string{"schedule": "@daily"}, func(a *App) { a.Times.Schedule, a.Restart.Auto = "@daily", false }},
		{p.app(aJob, ""), map[string]string{"schedule": "0"}, func(a *App) { a.Times, a.Restart.Auto = Times{}, true }},
		{p.app(aJob, ""), map[string]string{"schedule": "@weekly"}, func(a *App) { a.Times = Times{Schedule: "@weekly"} }},
	} {
		want := c.base
		c.change(&want)
		got, _, err := Override(c.base, c.set, p.options())
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v:\n%+v, want\n%+v", c.set, got, want)
		}
	}
	for _, c := range []struct {
		base               App
		field, value, want string
	}{
		{every, "ready_timeout", "1", "--ready-timeout: want at least 100ms, got 1ms"},
		{every, "disable_logs", "true", "--ready: its output is not looked at with disable_logs"},
		{every, "watch", "sub nowhere", "--watch[1]: can't be watched, no such file or folder: "},
		{every, "schedule", "@daily", "--schedule: a job (schedule) isn't restarted"},
		{every, "cron_restart", "x", "--cron: want a schedule like"},
		{every, "depends_on", "web", "--depends-on: web can't wait for itself"},
		{every, "health", "./nowhere", "--health: exec check not found: " + p.dir + "/nowhere"},
		{plain, "schedule", "@daily", "--schedule: a job (schedule) runs as one process, not as 2"},
		{plain, "ready", "health", "--ready: there is no health check"},
		{p.app(aJob, ""), "autorestart", "true", "--no-autorestart: a job (schedule) runs when it is due"},
		{p.app(aJob, ""), "wait_ready", "true", "--wait-ready: a job (schedule) is done when it has ended"},
	} {
		_, _, err := Override(c.base, map[string]string{c.field: c.value}, p.options())
		mentions(t, err, c.want)
	}
}

// TestHookPrograms: only the program that a command line names by its path is looked
// for; what a shell makes of the rest nobody knows.
func TestHookPrograms(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, line := range []string{"./tool", "tool", "nowhere", "[ -f /nowhere ]", "A=/nowhere true", "$HOME/nowhere", "cd sub && ./nowhere", "'./my tool'", "./tool;true", "~/nowhere", "(./nowhere)"} {
		for _, field := range []string{"health", "pre_start", "on_errored"} {
			p.app(`"`+field+`": `+jsonString(line), "")
		}
	}
	for _, line := range []string{"./nowhere", " sub/nowhere x", p.dir + "/nowhere", "./sub", "./notes"} {
		_, err := p.read("e.json", `[{"script": "app.js", "pre_stop": `+jsonString(line)+`}]`)
		mentions(t, err, "[0].pre_stop: command ")
	}
}

// TestMisplaced: a name that belongs into another field is told so, and what can have no
// effect is not passed over.
func TestMisplaced(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, err := p.read("eco.json", `{"apps": [{"script": "app.js", "schedule": "@daily", "overlap": "kill", "on_fail": "restart"}]}`)
	mentions(t, err, `overlap: unknown field; it is a part of schedule: {"overlap": …}`, `on_fail: unknown field; it is a part of health: {"on_fail": …}`)

	for script, warns := range map[string]bool{"app.js": false, "binary": true} {
		f, err := p.read("eco.json", `{"apps": [{"script": "`+script+`", "shutdown_with_message": true}]}`)
		must(t, err)
		if got := fmt.Sprintf("%+v", []Problem(f.Problems)); strings.Contains(got, "gets messages; binary gets SIGTERM") != warns {
			t.Errorf("%s: %s", script, got)
		}
	}
}

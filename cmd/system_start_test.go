package cmd_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// quick shortens the wait of start: an app counts as up after 100 ms, the least that is allowed.
const quick = `"min_uptime": "100ms"`

// crashes is for the start of a program that ends at once: however busy the machine
// is, that is before its min_uptime. slowly is the same as a field.
func crashes(args ...string) []string {
	return append(args, "--min-uptime", "30s", "--wait", "30s")
}

const slowly = `"min_uptime": "30s"`

// eco writes an ecosystem file of apps, each a script "run" with some fields.
func (g *gopm) eco(name string, apps ...string) string {
	g.Helper()
	g.sleeper("run")
	var all []string
	for _, a := range apps {
		if !strings.Contains(a, "min_uptime") {
			a = quick + ", " + a
		}
		all = append(all, fmt.Sprintf(`    {"script": "run", %s}`, a))
	}
	return g.file(name, "{\n  \"apps\": [\n"+strings.Join(all, ",\n")+"\n  ]\n}\n")
}

func TestStartFileLeavesUnchangedAppsAlone(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`)
	contains(t, "start", g.run("start", "eco.json"), "App [a] launched (1 instance", "App [b] launched", "eco.json")
	before := g.pids()
	out := g.run("start", "eco.json")
	contains(t, "start again", out, "a: unchanged, left running; new code? gopm restart a", "b: unchanged, left running")
	if after := g.pids(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("pids changed: %v, then %v", before, after)
	}
}

func TestStartFileRestartsWhatChangedAndNamesIt(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "args": ["1"]`, `"name": "b"`)
	g.run("start", "eco.json")
	before := g.pids()
	g.eco("eco.json", `"name": "a", "args": ["2"], "kill_timeout": "3s"`, `"name": "b"`)
	contains(t, "start", g.run("start", "eco.json"), "a: restarted (changed: ", "args", "kill_timeout", "b: unchanged")
	after := g.pids()
	if after["a:0"] == before["a:0"] || after["b:0"] != before["b:0"] {
		t.Errorf("want a new pid for a only: %v, then %v", before, after)
	}
}

func TestStartFileTakesAwayRemovedVariables(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "env": {"KEPT": "1", "REMOVED": "1"}`)
	g.run("start", "eco.json")
	g.eco("eco.json", `"name": "a", "env": {"KEPT": "1"}`)
	contains(t, "start", g.run("start", "eco.json"), "a: restarted (changed: env.REMOVED)")
	env := environOf(t, g.app("a").Pid)
	if _, has := env["REMOVED"]; has || env["KEPT"] != "1" {
		t.Errorf("want KEPT without REMOVED, got %v", env)
	}
}

func TestStartFileReportsAndPrunesWhatIsGone(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "old"`)
	g.eco("other.json", `"name": "stranger"`)
	g.run("start", "eco.json")
	g.run("start", "other.json")
	old := g.app("old").Pid
	g.eco("eco.json", `"name": "a"`)
	contains(t, "start", g.run("start", "eco.json"), "old: not in the file any more", "--prune")
	if g.app("old").Pid != old {
		t.Error("old was restarted")
	}
	contains(t, "start --prune", g.run("start", "eco.json", "--prune"), "old: deleted")
	eventually(t, soon, gone(old))
	if names := g.pids(); len(names) != 2 || names["stranger:0"] == 0 {
		t.Errorf("want a and stranger, got %v", names)
	}
}

func TestNameOfAnotherFileIsRefusedUnlessTakenOver(t *testing.T) {
	g := newGopm(t)
	first := g.eco("first.json", `"name": "a"`)
	g.eco("second.json", `"name": "new"`, `"name": "a", "args": ["2"]`)
	g.run("start", "first.json")
	pid := g.app("a").Pid
	g.fail(2, []string{"a: ", first, "--takeover"}, "start", "second.json")
	if pids := g.pids(); len(pids) != 1 || pids["a:0"] != pid {
		t.Errorf("want nothing done, got %v", pids)
	}
	g.run("start", "second.json", "--takeover")
	contains(t, "ls", g.run("ls"), "second.json: ")
	g.fail(2, []string{"second.json"}, "start", "first.json")
}

func TestScalingByFileKeepsTheOthers(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "instances": "2", "exec_mode": "fork"`)
	g.run("start", "eco.json")
	two := g.pids()
	if len(two) != 2 || two["a:0"] == 0 || two["a:1"] == 0 {
		t.Fatalf("want two instances, got %v", two)
	}
	g.eco("eco.json", `"name": "a", "instances": 3, "exec_mode": "fork"`)
	g.run("start", "eco.json")
	three := g.pids()
	if len(three) != 3 || three["a:0"] != two["a:0"] || three["a:1"] != two["a:1"] {
		t.Errorf("scaling up touched the old instances: %v, then %v", two, three)
	}
	g.eco("eco.json", `"name": "a", "instances": 1, "exec_mode": "fork"`)
	g.run("start", "eco.json")
	if one := g.pids(); len(one) != 1 || one["a:0"] != two["a:0"] {
		t.Errorf("scaling down touched instance 0: %v, then %v", two, one)
	}
	eventually(t, soon, gone(three["a:2"]))
}

func TestInstancesHaveNumbers(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "instances": "2"`)
	r := g.try("start", "eco.json")
	if r.code != 0 || len(g.list()) != 2 {
		t.Errorf("want two instances: %v", r)
	}
	for _, e := range g.list() {
		if got := environOf(t, e.Pid)["NODE_APP_INSTANCE"]; got != fmt.Sprint(e.Env.Instance) {
			t.Errorf("%v: NODE_APP_INSTANCE=%s", e, got)
		}
	}
}

func TestStartFileStartsStoppedAndErroredApps(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "broken", "max_restarts": 1, "min_uptime": "3s"`)
	g.script("run", `[ "$name" = broken ] && [ ! -e repaired ] && exit 1; exec sleep 1000`)
	g.fail(1, []string{"broken"}, "start", "eco.json")
	g.awaitStatus("broken", "errored")
	g.run("stop", "a")
	g.file("repaired", "")
	out := g.run("start", "eco.json")
	contains(t, "start", out, "[a] launched", "[broken] launched")
	for _, name := range []string{"a", "broken"} {
		if e := g.app(name); e.Env.Status != "online" {
			t.Errorf("%v", e)
		}
	}
}

func TestOnly(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`, `"name": "c"`)
	g.run("start", "eco.json", "--only", "a,c")
	if pids := g.pids(); len(pids) != 2 || pids["b:0"] != 0 {
		t.Errorf("want a and c, got %v", pids)
	}
	lacks(t, "start --only", g.run("start", "eco.json", "--only", "b"), "not in the file")
	if len(g.list()) != 3 {
		t.Errorf("want all three: %v", g.list())
	}
	g.fail(2, []string{"nosuch"}, "start", "eco.json", "--only", "nosuch")
}

func TestOnlySuggests(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "server"`)
	g.fail(2, []string{"servr", `"server"`}, "start", "eco.json", "--only", "servr")
}

func TestAutostartFalse(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "autostart": false`)
	g.run("start", "eco.json")
	if e := g.app("a"); e.Env.Status != "stopped" || e.Pid != 0 {
		t.Errorf("want it stopped: %v", e)
	}
	g.run("start", "a")
	if e := g.app("a"); e.Env.Status != "online" {
		t.Errorf("want it online: %v", e)
	}
}

func TestStartOrRestartAlwaysActs(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("startOrRestart", "eco.json")
	first := g.app("a").Pid
	g.run("startOrRestart", "eco.json")
	second := g.app("a")
	if second.Pid == first || second.Env.Restarts != 1 {
		t.Errorf("want a restart of pid %d: %v", first, second)
	}
	g.fail(2, []string{"startOrRestart", "a"}, "startOrRestart", "a")
}

func TestRestartLeavesTheOthers(t *testing.T) {
	g := newGopm(t)
	g.eco("one.json", `"name": "a"`, `"name": "b"`)
	g.eco("two.json", `"name": "c"`)
	g.run("start", "one.json")
	g.run("start", "two.json")
	before := g.pids()
	g.run("restart", "one.json")
	after := g.pids()
	if after["a:0"] == before["a:0"] || after["b:0"] == before["b:0"] || after["c:0"] != before["c:0"] {
		t.Errorf("restart FILE: %v, then %v", before, after)
	}
	g.run("restart", "a")
	last := g.pids()
	if last["a:0"] == after["a:0"] || last["b:0"] != after["b:0"] || last["c:0"] != after["c:0"] {
		t.Errorf("restart NAME: %v, then %v", after, last)
	}
}

func TestRestartTakesFields(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	g.run("restart", "a", "--kill-timeout", "7s", "--max-restarts", "5")
	contains(t, "info", g.run("info", "a"), "SIGKILL after 7s", "errored after 5 ")
}

func TestScriptContentIsNoChange(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	pid := g.app("a").Pid
	g.script("run", "exec sleep 2000")
	g.run("start", "eco.json")
	if g.app("a").Pid != pid {
		t.Error("new content of the script restarted it")
	}
}

func TestChangedScriptIsTaken(t *testing.T) {
	g := newGopm(t)
	g.sleeper("one")
	g.sleeper("two")
	g.file("eco.json", `{"name": "a", "script": "one", `+quick+`}`)
	g.run("start", "eco.json")
	g.file("eco.json", `{"name": "a", "script": "two", `+quick+`}`)
	contains(t, "start", g.run("start", "eco.json"), "a: restarted (changed: script)")
	contains(t, "info", g.run("info", "a"), g.dir+"/two")
}

func TestStartNameOfRunningApp(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	pid := g.app("a").Pid
	contains(t, "start a", g.run("start", "a"), "a: runs already", "gopm restart a")
	if g.app("a").Pid != pid {
		t.Error("it was restarted")
	}
}

func TestStartWithoutArgument(t *testing.T) {
	g := newGopm(t)
	g.fail(2, []string{"no ecosystem file", "ecosystem.config.js", "ecosystem.json"}, "start")
	if _, err := os.Stat(g.home); err == nil {
		t.Error("a daemon was started for nothing")
	}
	g.eco("ecosystem.json", `"name": "json"`)
	g.run("start")
	g.app("json")
	g.sleeper("run")
	g.file("ecosystem.config.js", `module.exports = {apps: [{name: "js", script: "./run", min_uptime: 100}]}`)
	g.run("start")
	g.app("js")
}

func TestStartFromStandardInput(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	cmd := g.command("start", "-")
	cmd.Stdin = strings.NewReader(`[{"name": "a", "script": "./run", "min_uptime": 100}]`)
	if r := g.execute(cmd); r.code != 0 {
		t.Fatal(r)
	}
	if e := g.app("a"); e.Env.Status != "online" {
		t.Error(e)
	}
	cmd = g.command("start", "-")
	cmd.Stdin = strings.NewReader(`{"name": "a", "scrpt": "./run"}`)
	r := g.execute(cmd)
	if r.code != 2 {
		t.Errorf("want exit code 2: %v", r)
	}
	contains(t, "stderr", r.err, `-:1:15: scrpt: unknown field, did you mean "script"?`)
}

// What can be refused is refused before anything is started.
func TestHalfAFileIsNotStarted(t *testing.T) {
	g := newGopm(t)
	for _, wrong := range []string{`"out_file": "."`, `"error_file": "/proc/nowhere/x.log"`, `"gid": "no-such-group"`} {
		g.eco("eco.json", `"name": "good"`, `"name": "bad", `+wrong)
		if r := g.try("start", "eco.json"); r.code == 0 || !strings.Contains(r.err, "bad") && !strings.Contains(r.err, "apps[1]") {
			t.Errorf("%s: %v", wrong, r)
		}
		if all := g.list(); len(all) != 0 {
			t.Errorf("%s: it started %v", wrong, all)
			g.run("delete", "all")
		}
	}
}

func TestTwoStartsAtOnce(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b", "instances": 2, "exec_mode": "fork"`)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { // ends with its command
			if r, err := g.finish(g.command("start", "eco.json")); err != nil || r.code != 0 {
				t.Errorf("%v, %v", err, r)
			}
		})
	}
	all.Wait()
	if pids := g.pids(); len(pids) != 3 {
		t.Errorf("want three instances: %v", pids)
	}
	for _, e := range g.list() {
		if e.Env.Restarts != 0 || e.Env.Status != "online" {
			t.Error(e)
		}
	}
}

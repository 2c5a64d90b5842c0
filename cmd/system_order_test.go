package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Apps that depend on others: depends_on.

// noted writes an ecosystem file of apps that note in the file "order" when they begin and
// when they end.
func (g *gopm) noted(name string, apps ...string) string {
	g.Helper()
	path := g.eco(name, apps...)
	g.script("run", `trap 'echo "$name down" >> order; exit 0' TERM
[ "$1" = stay ] && trap 'echo "$name asked" >> order' TERM
echo "$name up" >> order
[ -e "$name.broken" ] && exit 1
[ "$1" = job ] && exit 0
while :; do sleep 0.02; done`)
	return path
}

// order is what the apps have noted.
func (g *gopm) order() []string {
	text, _ := os.ReadFile(filepath.Join(g.dir, "order")) // none yet
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// wantOrder waits for the notes: on a busy machine a program that is online may not have
// come so far.
func (g *gopm) wantOrder(want ...string) {
	g.Helper()
	eventually(g.T, soon, func() error {
		if got := g.order(); len(got) < len(want) {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
	if got := g.order(); !slices.Equal(got, want) {
		g.Errorf("it went %q, want %q", got, want)
	}
}

// forget lets the apps begin to note anew.
func (g *gopm) forget() {
	g.Helper()
	eventually(g.T, soon, func() error { return os.Remove(filepath.Join(g.dir, "order")) })
}

// chain is a file of web, which depends on api, which depends on db.
func (g *gopm) chain(more ...string) string {
	g.Helper()
	return g.noted("eco.json", append([]string{
		`"name": "web", "depends_on": ["api"]`,
		`"name": "api", "depends_on": {"db": "ready"}`,
		`"name": "db"`}, more...)...)
}

const upwards, downwards = "db up,api up,web up", "web down,api down,db down"

func TestStartGoesUpAndStopComesDown(t *testing.T) {
	g := newGopm(t)
	g.chain()
	contains(t, "start", g.run("start", "eco.json"), "App [web] launched (1 instances); it waits for api (waits for db)", "App [api] launched (1 instances); it waits for db (launching)")
	g.wantOrder(strings.Split(upwards, ",")...)
	contains(t, "ls", g.run("ls"), "online")
	g.forget()
	g.run("restart", "all")
	eventually(t, soon, func() error {
		if got := g.order(); len(got) < 6 {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	all := g.order()
	for i, name := range []string{"db", "api", "web"} { // who depends on others runs until these are there again
		if all[2*i] != name+" down" || all[2*i+1] != name+" up" {
			t.Errorf("restart all went %q", all)
		}
	}
	g.forget()
	g.run("stop", "all")
	g.wantOrder(strings.Split(downwards, ",")...)
	g.run("start", "all")
	g.forget()
	g.run("delete", "all")
	g.wantOrder(strings.Split(downwards, ",")...)
}

// The order of the file doesn't matter: who depends on one that is to be restarted waits for
// that.
func TestRestartGoesUpInAnyOrder(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "db"`, `"name": "api", "depends_on": {"db": "ready"}`, `"name": "web", "depends_on": ["api"]`)
	g.run("start", "eco.json")
	g.awaitNote("web up")
	g.forget()
	g.run("restart", "all")
	want := []string{"db down", "db up", "api down", "api up", "web down", "web up"}
	eventually(t, soon, func() error {
		if got := g.order(); len(got) < len(want) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	g.wantOrder(want...)
}

func TestKillAndShutdownComeDown(t *testing.T) {
	g := newGopm(t)
	g.chain()
	g.run("start", "eco.json")
	g.awaitNote("web up")
	g.forget()
	g.run("kill")
	g.wantOrder(strings.Split(downwards, ",")...)
	g.forget()
	g.run("resurrect")
	g.awaitStatus("web", "online")
	g.wantOrder(strings.Split(upwards, ",")...)
	g.forget()
	daemon, keeper := g.daemon()
	must(t, syscall.Kill(daemon, syscall.SIGTERM)) // as when a container is stopped
	eventually(t, 2*soon, gone(keeper))
	g.wantOrder(strings.Split(downwards, ",")...)
}

func TestStartBringsWhatIsNeeded(t *testing.T) {
	g := newGopm(t)
	g.chain(`"name": "other"`)
	out := g.run("start", "eco.json", "--only", "web")
	contains(t, "start --only", out, "App [db] launched", "App [api] launched")
	g.wantOrder(strings.Split(upwards, ",")...)
	if all := g.list(); len(all) != 3 {
		t.Errorf("want web and what it needs, got %v", all)
	}
	g.run("stop", "all")
	g.forget()
	contains(t, "start", g.run("start", "web"), "App [api] launched (1 instances) as web needs it", "App [db] launched (1 instances) as api needs it")
	g.wantOrder(strings.Split(upwards, ",")...)
	g.forget()
	pid := g.app("db").Pid
	g.run("restart", "web")
	g.wantOrder("web down", "web up")
	if g.app("db").Pid != pid {
		t.Error("what was there was restarted")
	}
}

func TestWhatNeedsAFailedAppIsNotStarted(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "api"`, `"name": "api", "depends_on": "db"`, slowly+`, "name": "db", "max_restarts": 2, "exp_backoff_restart_delay": 10`)
	g.file("db.broken", "")
	r := g.fail(1, []string{"db:0 failed", "code 1", "api:0 is not started: it waits for db (failed)", "web:0 is not started: it waits for api (not started)"}, "start", "eco.json", "--wait", "30s")
	contains(t, "the table", r.out, "launching (waits for db)", "launching (waits for api)")
	g.awaitStatus("db", "errored")
	if got := g.order(); slices.ContainsFunc(got, func(s string) bool { return s != "db up" }) {
		t.Errorf("it went %q", got)
	}
	must(t, os.Remove(filepath.Join(g.dir, "db.broken")))
	g.forget()
	g.edit2("eco.json", slowly, quick)
	g.run("start", "eco.json")
	g.awaitStatus("web", "online")
	g.wantOrder(strings.Split(upwards, ",")...)
}

// edit2 replaces something in a file.
func (g *gopm) edit2(name, old, with string) {
	g.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	must(g.T, err)
	g.file(name, strings.ReplaceAll(string(text), old, with))
}

func TestJobIsDoneBeforeOthers(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": {"migrate": "completed"}`, slowly+`, "name": "migrate", "args": ["job"], "autorestart": false`)
	g.run("start", "eco.json")
	g.wantOrder("migrate up", "web up")
	g.run("restart", "web") // it has been done
	g.run("stop", "all")
	g.run("start", "web")
	if n := strings.Count(strings.Join(g.order(), ","), "migrate"); n != 1 {
		t.Errorf("it was done %d times: %q", n, g.order())
	}
	g.forget()
	g.run("start", "eco.json") // what is down is started, as always; web runs, and is left alone
	g.wantOrder("migrate up")
	g.run("stop", "web")
	g.file("migrate.broken", "")
	g.forget()
	g.fail(1, []string{"migrate:0 failed", "web:0 is not started: it waits for migrate"}, "start", "eco.json")
	g.wantOrder("migrate up")
}

// A start that is held back is not lost with the daemon, nor made twice.
func TestWaitingOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "db"`, `"name": "db", "min_uptime": "3s"`)
	g.run("start", "eco.json", "--no-wait")
	g.awaitStatus("web", "launching")
	g.killDaemon()
	contains(t, "ls", g.run("ls"), "launching (waits for db)")
	g.wantOrder("db up")
	g.awaitStatus("web", "online")
	g.wantOrder("db up", "web up")
	g.killDaemon()
	g.awaitStatus("web", "online")
	g.wantOrder("db up", "web up")
}

// A file that changes starts nobody who waits, not even one that has failed before.
func TestAChangeStartsNobodyWhoWaits(t *testing.T) {
	g := newGopm(t)
	dir := filepath.Join(g.dir, "bin")
	g.script("bin/db", "[ -e ../good ] && echo good; exec sleep 1000")
	g.script("bin/web", "echo web up >>../order; exit 1")
	g.sleeper("bin/other")
	var apps []string
	for _, fields := range []string{`"web", "script": "./web", "depends_on": "db", "watch": true, "watch_delay": 100, "max_restarts": 1`,
		`"db", "script": "./db", "ready": {"log": "good"}, "ready_timeout": "1000s"`, `"other", "script": "./other", "watch": true, "watch_delay": 100`} {
		apps = append(apps, fmt.Sprintf(`{"cwd": %q, "min_uptime": "100ms", "name": %s}`, dir, fields))
	}
	g.file("good", "")
	g.try("start", g.file("eco.json", `{"apps": [`+strings.Join(apps, ",\n")+`]}`)) // web fails
	g.awaitStatus("web", "errored")
	must(t, os.Remove(filepath.Join(g.dir, "good")))
	g.run("restart", "db", "--no-wait")
	g.run("start", "web", "--no-wait")
	contains(t, "ls", g.run("ls"), "launching (waits for db)")
	g.file("bin/new", "")
	g.await("other", "a restart", func(e entry) bool { return e.Env.Restarts > 0 && e.Env.Status == "online" })
	g.wantOrder("web up")
}

func TestStopOfADependencyAlone(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "db"`, `"name": "db"`)
	g.run("start", "eco.json")
	g.awaitNote("web up")
	g.forget()
	r := g.try("stop", "db")
	contains(t, "stop", r.err, "web depends on what is stopped, and goes on without it")
	g.wantOrder("db down")
	g.awaitStatus("web", "online")
}

func TestOnDependencyExit(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "api", "on_dependency_exit": "stop"`, `"name": "api", "depends_on": "db", "on_dependency_exit": "stop"`,
		`"name": "worker", "depends_on": "db", "on_dependency_exit": "restart"`, `"name": "db"`)
	g.run("start", "eco.json")
	worker := g.app("worker").Pid
	g.forget()
	g.run("stop", "db")
	g.wantOrder("web down", "api down", "db down")
	contains(t, "ls", g.run("ls"), "online (waits for db)", "launching (waits for db)")
	g.killDaemon()
	if g.app("worker").Pid != worker {
		t.Error("worker does not run on")
	}
	g.forget()
	g.run("start", "db")
	g.awaitStatus("web", "online")
	g.await("worker", "another process", func(e entry) bool { return e.Pid != worker && e.Pid != 0 })
	got := slices.DeleteFunc(g.order(), func(s string) bool { return strings.HasPrefix(s, "worker") })
	if !slices.Equal(got, []string{"db up", "api up", "web up"}) {
		t.Errorf("it went %q", got)
	}
	g.run("stop", "web") // by its user: it does not come back with the others
	g.run("restart", "db")
	g.awaitStatus("web", "stopped")
}

func TestDependencyIsUnknownOrGoesRound(t *testing.T) {
	g := newGopm(t)
	g.noted("one.json", `"name": "store"`)
	g.noted("two.json", `"name": "site", "depends_on": "store"`)
	g.noted("three.json", `"name": "other", "depends_on": "nobody"`)
	g.fail(2, []string{"three.json:3:", "apps[0].depends_on", `no app "nobody"`}, "start", "three.json")
	g.fail(2, []string{"two.json:3:", "apps[0].depends_on", `no app "store"`}, "start", "two.json")
	g.run("start", "one.json")
	g.run("start", "two.json")
	g.noted("one.json", `"name": "store", "depends_on": "site"`)
	g.fail(2, []string{"store → site → store", "one.json", "two.json"}, "start", "one.json")
	if all := g.list(); len(all) != 2 || all[0].Env.Status != "online" || all[1].Env.Status != "online" {
		t.Errorf("something else was disturbed: %v", all)
	}
}

// Those that come later have their time, too: here that takes longer than start waits for
// anybody.
func TestStartIsPatientWithEachWave(t *testing.T) {
	g := newGopm(t)
	const slow = `"min_uptime": "2500ms", `
	g.noted("eco.json", slow+`"name": "web", "depends_on": "api"`, slow+`"name": "api", "depends_on": "db"`, slow+`"name": "db"`)
	r := g.try("start", "eco.json")
	if r.code != 0 || r.err != "" || strings.Count(r.out, "online") != 3 {
		t.Error(r)
	}
	g.run("stop", "all")
	r = g.try("start", "all", "--wait", "1s")
	contains(t, "start --wait 1s", r.err, "db:0 is still starting", "api:0 still waits for db", "web:0 still waits for api")
}

func TestDependencyThatFailsForGood(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "db", "on_dependency_exit": "stop"`, `"name": "db", "max_restarts": 1, "exp_backoff_restart_delay": 10`)
	g.run("start", "eco.json")
	g.killHard(g.app("db").Pid) // it is started again: that is no end
	g.await("db", "another run", func(e entry) bool { return e.Env.Status == "online" && e.Env.Restarts == 1 })
	web := g.app("web")
	if web.Env.Status != "online" || web.Env.Restarts != 0 {
		t.Errorf("a crash is no end: %v", web)
	}
	g.file("db.broken", "")
	g.killHard(g.app("db").Pid)
	g.awaitStatus("db", "errored")
	g.await("web", "its end", func(e entry) bool { return e.Pid == 0 })
	contains(t, "ls", g.run("ls"), "launching (waits for db)")
	contains(t, "info", g.run("info", "web"), "db (ready; now errored, exit 1)", "on dependency exit")
	contains(t, "info", g.run("info", "db"), "needed by")
	must(t, os.Remove(filepath.Join(g.dir, "db.broken")))
	g.run("restart", "db")
	g.awaitStatus("web", "online")
	g.run("delete", "db")
	g.await("web", "its end", func(e entry) bool { return e.Pid == 0 })
	g.fail(1, []string{"web:0 is not started: it waits for db (not in the list)"}, "start", "web")
	g.run("start", "eco.json")
	g.awaitStatus("web", "online")
}

// What is exchanged or scaled has not ended.
func TestReloadOfADependencyIsNoEnd(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "db", "on_dependency_exit": "restart"`, `"name": "worker", "depends_on": {"db": "started"}, "on_dependency_exit": "stop"`,
		`"name": "db", "exec_mode": "cluster", "instances": 2`)
	g.run("start", "eco.json")
	before := g.pids()
	g.run("reload", "db")
	g.run("scale", "db", "1")
	g.run("restart", "db")
	after := g.pids()
	if before["web:0"] != after["web:0"] || before["worker:0"] != after["worker:0"] || before["db:0"] == after["db:0"] {
		t.Errorf("before %v, after %v", before, after)
	}
	lacks(t, "gopm.log", g.log(), "is to be restarted when", "is stopped with")
}

func TestHealthyDependency(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": {"db": "healthy"}`, `"name": "db", "ready": "uptime", "health": {"exec": "test -e well", "interval": "100ms", "retries": 1}`)
	g.run("start", "eco.json", "--no-wait")
	g.awaitStatus("db", "online")
	eventually(t, soon, func() error {
		if out := g.run("info", "web"); !strings.Contains(out, "db (healthy; now not healthy)") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	g.wantOrder("db up")
	g.file("well", "")
	g.awaitStatus("web", "online")
}

// What had run without an app before a reboot runs without it afterwards.
func TestResurrectDoesNotWaitForWhatWasStopped(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "api"`, `"name": "api", "depends_on": "db"`, `"name": "db"`)
	g.run("start", "eco.json")
	g.run("stop", "db")
	g.run("kill")
	g.forget()
	g.run("resurrect")
	g.awaitStatus("web", "online")
	g.wantOrder("api up", "web up")
}

// Neither keeper nor daemon know any more that it was to be started: the file does.
func TestWaitingOutlivesBoth(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "db"`, `"name": "db", "min_uptime": "3s"`)
	g.run("start", "eco.json", "--no-wait")
	g.awaitStatus("web", "launching")
	g.killBoth()
	g.run("resurrect")
	g.awaitStatus("web", "online")
	g.wantOrder("db up", "web up")
}

// stubborn is a file of db and of web, which depends on it and takes long to end.
func (g *gopm) stubborn() {
	g.Helper()
	g.noted("eco.json", `"name": "web", "args": ["stay"], "depends_on": "db", "kill_timeout": "8s"`, `"name": "db"`)
	g.run("start", "eco.json")
	eventually(g.T, soon, func() error { // else the signal may come before the trap
		if got := g.order(); len(got) < 2 {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

func (g *gopm) awaitNote(note string) {
	g.Helper()
	eventually(g.T, soon, func() error {
		if got := g.order(); !slices.Contains(got, note) {
			return fmt.Errorf("no %q in %q", note, got)
		}
		return nil
	})
}

// Who breaks a stop off has asked for it all the same: the rest is told at once.
func TestStopThatIsBrokenOff(t *testing.T) {
	g := newGopm(t)
	g.stubborn()
	cmd := g.command("stop", "all")
	must(t, cmd.Start())
	g.awaitNote("web asked")
	g.wantOrder("db up", "web up", "web asked")
	must(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait() // it was interrupted
	g.awaitNote("db down")
	g.awaitStatus("db", "stopped")
	g.awaitStatus("web", "stopped")
}

// A stop that has begun with those that depend on others is finished by the next daemon.
func TestStopOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.stubborn()
	cmd := g.command("stop", "all")
	must(t, cmd.Start())
	g.awaitNote("web asked")
	g.killDaemon()
	_ = cmd.Wait() // what it says is not meant here
	g.awaitStatus("db", "stopped")
	g.awaitStatus("web", "stopped")
	g.killDaemon()
	g.awaitStatus("db", "stopped")
}

// TestWhatIsLackingIsSaid: by the deletion of what others need, and by the restart of one
// of these.
func TestWhatIsLackingIsSaid(t *testing.T) {
	g := newGopm(t)
	g.noted("eco.json", `"name": "web", "depends_on": "db"`, `"name": "db"`)
	g.run("start", "eco.json")
	r := g.try("delete", "db")
	contains(t, "delete", r.err, "web depends on what is stopped, and goes on without it")
	r = g.fail(1, []string{"web:0 is not restarted yet: it waits for db (not in the list)"}, "restart", "web")
	contains(t, "restart", r.out, "web: to be restarted; it waits for db")
	g.run("delete", "web")
}

// TestStoppedWhileItsDependencyEnds: who is stopped in the moment in which what it depends
// on is found to be down does not come back with that.
func TestStoppedWhileItsDependencyEnds(t *testing.T) {
	g := newGopm(t)
	g.script("run", "exec sleep 1000")
	g.run("start", g.file("e.json", `{"apps": [{"name": "db", "script": "run", "min_uptime": "100ms"},
		{"name": "api", "script": "run", "min_uptime": "100ms", "depends_on": {"db": "started"}, "on_dependency_exit": "restart"}]}`))
	for round := range 15 {
		var both sync.WaitGroup
		both.Go(func() { g.try("stop", "db") })
		both.Go(func() { g.try("stop", "api") })
		both.Wait()
		for _, name := range []string{"db", "api"} {
			g.awaitStatus(name, "stopped")
		}
		g.run("start", "db")
		if e := g.app("api"); e.Env.Status != "stopped" {
			t.Fatalf("round %d: it is %s", round, e.Env.Status)
		}
		g.run("start", "api")
	}
}

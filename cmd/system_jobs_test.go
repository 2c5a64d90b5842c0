package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Jobs and cron_restart, with schedules of seconds.

// logSays waits until the daemon's log has a text, and returns the log.
func (g *gopm) logSays(want string) string {
	g.Helper()
	eventually(g.T, 3*soon, func() error {
		if !strings.Contains(g.log(), want) {
			return fmt.Errorf("the log doesn't say %q:\n%s", want, g.tail(g.log(), 20))
		}
		return nil
	})
	return g.log()
}

// logSaysTimes waits until the log has a text n times.
func (g *gopm) logSaysTimes(n int, want string) {
	g.Helper()
	eventually(g.T, 3*soon, func() error {
		if got := strings.Count(g.log(), want); got < n {
			return fmt.Errorf("the log says %q %d times, want %d:\n%s", want, got, n, g.tail(g.log(), 20))
		}
		return nil
	})
}

// inOrder fails if a log doesn't say those one after the other.
func inOrder(t *testing.T, log string, words ...string) {
	t.Helper()
	rest := log
	for _, word := range words {
		_, after, found := strings.Cut(rest, word)
		if !found {
			t.Errorf("no %q, in its order, in:\n%s", word, log)
			return
		}
		rest = after
	}
}

// gated is a job that goes on until there is a file, and takes that away; its folder is
// the working folder.
func (g *gopm) gated(name string) (open func()) {
	g.script(name, "echo begun $$; until [ -e "+name+".go ]; do sleep 0.02; done; rm "+name+".go; echo done $$")
	return func() { g.file(name+".go", "") }
}

func (g *gopm) job(name, schedule string) {
	g.Helper()
	g.file("jobs.json", fmt.Sprintf(`{"apps": [{"name": %q, "script": "./%s", "schedule": %s, "min_uptime": "100ms"}]}`, name, name, schedule))
}

// A job isn't run when it is started, but when it is due; how the last run ended is shown.
func TestJobsRunWhenTheyAreDue(t *testing.T) {
	g := newGopm(t)
	g.script("good", "echo ran")
	g.script("bad", "echo tried; exit 3")
	g.script("slow", "echo slow; exec sleep 1000")
	g.file("e.json", `{"apps": [
		{"name": "good", "script": "./good", "schedule": "* * * * * *"},
		{"name": "bad", "script": "./bad", "schedule": "* * * * * *", "on_errored": "echo $GOPM_EXIT_CODE $GOPM_REASON >> hits"},
		{"name": "slow", "script": "./slow", "min_uptime": "100ms", "schedule": {"at": "* * * * * *", "timeout": "300ms"}},
		{"name": "rare", "script": "./good", "schedule": "CRON_TZ=UTC 0 3 29 2 *"}]}`)
	out := g.run("start", "e.json")
	contains(t, "start", out, "App [good] scheduled, next run ", "App [rare] scheduled, next run 2028-02-29 ")
	lacks(t, "start", out, "launched")
	for _, app := range []string{"good", "bad", "slow"} {
		g.logSaysTimes(2, app+":0 (id "+fmt.Sprint(g.app(app).ID)+") is due: it is run")
	}
	good, rare := g.app("good"), g.app("rare")
	if rare.Env.Status != "stopped" || rare.Env.ExitCode != nil || rare.Pid != 0 || good.Env.Restarts != 0 {
		t.Errorf("a job that was not due: %v; a job that was: %v", rare, good)
	}
	g.fileSays(good.Env.Out, "ran\nran\n")
	eventually(t, soon, func() error {
		list := g.run("ls")
		for _, want := range []string{`good .* scheduled, next run \S+ *│`, `bad .* scheduled, next run \S+ \(last: exit 3\)`, `rare .* scheduled, next run 2028-02-29`} {
			if !regexp.MustCompile(want).MatchString(list) {
				return fmt.Errorf("ls has no %s:\n%s", want, list)
			}
		}
		return nil
	})
	eventually(t, soon, func() error { // at each run that fails
		if hits, err := os.ReadFile(filepath.Join(g.dir, "hits")); err != nil || strings.Count(string(hits), "3 exited with code 3") < 2 {
			return fmt.Errorf("on_errored has written: %q, %v", hits, err)
		}
		return nil
	})
	g.logSays("slow:0 (id 2) stopping: timed out after 300ms")
	g.logSays("was ended (timed out after 300ms) after ")
	contains(t, "info", g.run("info", "slow"), "schedule", "* * * * * *", "next run", "timeout", "300ms", "overlap", "skip", "last exit")
	contains(t, "jlist", g.run("jlist"), `"schedule":"* * * * * *"`, `"scheduled":true`, `"due_at":`)
	g.run("stop", "all")
	if slow := g.app("slow"); slow.Pid != 0 {
		t.Errorf("a run goes on after stop: %v", slow)
	}
	before := strings.Count(g.log(), "is due: it is run")
	lacks(t, "ls", g.run("ls"), "scheduled")
	contains(t, "start", g.run("start", "good"), "App [good] scheduled, next run")
	contains(t, "start again", g.run("start", "good"), "good: scheduled already")
	g.logSaysTimes(before+2, "is due: it is run")
	if got := strings.Count(g.log()[strings.LastIndex(g.log(), "stopped"):], "bad:0"); got > 0 {
		t.Error("a job that was stopped runs")
	}
}

// What becomes of a run that is due while the one before goes on.
func TestJobsOverlap(t *testing.T) {
	t.Run("skip", func(t *testing.T) {
		g := newGopm(t)
		open := g.gated("skip")
		g.job("skip", `"* * * * * *"`)
		g.run("start", "jobs.json")
		g.logSaysTimes(2, "is due, and skipped: the run before (pid ")
		lacks(t, "output", g.fileSays(g.app("skip").Env.Out, "begun"), "done")
		open()
		g.logSaysTimes(2, "is due: it is run")
		inOrder(t, g.log(), "is due: it is run", "is due, and skipped", "exited with code 0", "is due: it is run")
	})
	t.Run("queue", func(t *testing.T) {
		g := newGopm(t)
		open := g.gated("queue")
		g.job("queue", `{"at": "* * * * * *", "overlap": "queue"}`)
		g.run("start", "jobs.json")
		g.logSays("it is run afterwards")
		g.logSays("and another waits for its end")
		contains(t, "info", g.run("info", "queue"), "when the present one has ended")
		g.killDaemon() // who waits is known to the next one
		first := g.app("queue")
		open()
		second := g.await("queue", "the run that was waited for", func(e entry) bool { return e.Pid != 0 && e.Pid != first.Pid })
		if first.Pid == 0 {
			t.Errorf("%v before, %v after", first, second)
		}
		open()
	})
	t.Run("kill", func(t *testing.T) {
		g := newGopm(t)
		g.gated("kill")
		g.job("kill", `{"at": "*/2 * * * * *", "overlap": "kill"}`)
		g.run("start", "jobs.json")
		log := g.logSays("and is ended")
		inOrder(t, log, "is due: it is run", "is due: the run before (pid ", "and is ended")
		g.logSaysTimes(2, "is due: it is run")
		inOrder(t, g.log(), "and is ended", "was ended by SIG", "is due: it is run")
	})
}

// What is scheduled stays so when the daemon dies, and a run that is under way goes on;
// after kill it rests until it is asked for.
func TestJobsOutliveTheDaemon(t *testing.T) {
	g := newGopm(t)
	open := g.gated("work")
	g.script("idle", "echo idle")
	g.file("e.json", `{"apps": [
		{"name": "work", "script": "./work", "schedule": "* * * * * *", "min_uptime": "100ms"},
		{"name": "idle", "script": "./idle", "schedule": "@every 1h"}]}`)
	g.run("start", "e.json")
	before := g.await("work", "a run", func(e entry) bool { return e.Pid != 0 })
	due := dueOf(g.run("info", "idle"))
	g.killDaemon()
	if after := g.app("work"); after.Pid != before.Pid {
		t.Errorf("before the daemon's death %v, then %v", before, after)
	}
	if now := dueOf(g.run("info", "idle")); due == "" || now != due {
		t.Errorf("it was due at %q, and is at %q after the daemon's death", due, now)
	}
	open()
	g.await("work", "the next run", func(e entry) bool { return e.Pid != 0 && e.Pid != before.Pid })
	g.run("save")
	g.run("kill")
	contains(t, "ls", g.try("ls").out, "stopped (before kill: scheduled)")
	out := g.run("resurrect")
	contains(t, "resurrect", out, "App [work] scheduled", "App [idle] scheduled")
	g.await("work", "a run after it was resurrected", func(e entry) bool { return e.Pid != 0 })
	open()
	g.run("delete", "all")
	contains(t, "resurrect", g.run("resurrect", "--saved"), "App [work] scheduled")
	g.await("work", "a run after it was brought back", func(e entry) bool { return e.Pid != 0 })
}

// dueOf is when an app is due, as info says it.
func dueOf(info string) string {
	found := regexp.MustCompile(`next (?:run|cron restart) +│ (\S+ ?\S*) \(in`).FindStringSubmatch(info)
	if found == nil {
		return ""
	}
	return found[1]
}

// An app becomes a job, and a job an app, by its file.
func TestJobsAndServicesBecomeEachOther(t *testing.T) {
	g := newGopm(t)
	g.sleeper("app")
	g.file("e.json", `{"apps": [{"name": "app", "script": "./app", "min_uptime": "100ms"}]}`)
	g.run("start", "e.json")
	ran := g.awaitStatus("app", "online")
	g.file("e.json", `{"apps": [{"name": "app", "script": "./app", "min_uptime": "100ms", "schedule": "0 3 29 2 *"}]}`)
	contains(t, "start", g.run("start", "e.json"), "App [app] scheduled, next run 2028-02-29", "changed: ")
	eventually(t, soon, gone(ran.Pid))
	contains(t, "unchanged", g.run("start", "e.json"), "app: unchanged")
	g.fail(2, []string{"app", "job (schedule)"}, "scale", "app", "3")
	g.file("e.json", `{"apps": [{"name": "app", "script": "./app", "min_uptime": "100ms"}]}`)
	g.run("start", "e.json")
	g.awaitStatus("app", "online")
	lacks(t, "info", g.run("info", "app"), "schedule", "next run")
}

// cron_restart restarts what is up, one instance after the other, and nothing else.
func TestCronRestart(t *testing.T) {
	g := newGopm(t)
	g.sleeper("app")
	g.sleeper("down")
	g.file("e.json", `{"apps": [
		{"name": "app", "script": "./app", "instances": 2, "exec_mode": "fork", "min_uptime": "200ms", "cron_restart": "*/3 * * * * *"},
		{"name": "down", "script": "./down", "min_uptime": "100ms", "cron_restart": "* * * * * *"}]}`)
	g.run("start", "e.json")
	g.run("stop", "down")
	from := len(g.log())
	g.logSaysTimes(3, "app:1 (id 1) restarting: cron_restart */3 * * * * *")
	log := g.log()
	log = log[from:]
	log = log[strings.Index(log, "app:0 (id 0) restarting"):]
	inOrder(t, log, "app:0 (id 0) restarting: cron_restart", "app:0 (id 0) online", "app:1 (id 1) restarting: cron_restart", "app:1 (id 1) online",
		"app:0 (id 0) restarting: cron_restart", "app:0 (id 0) online", "app:1 (id 1) restarting: cron_restart")
	lacks(t, "what is down", log, "down:0")
	if e := g.app("down"); e.Env.Status != "stopped" {
		t.Errorf("it was stopped: %v", e)
	}
	contains(t, "info", g.run("info", "0"), "last restart because", "cron_restart */3 * * * * *", "next cron restart")
	contains(t, "jlist", g.run("jlist"), `"cron_restart":"*/3 * * * * *"`)
	g.run("restart", "app", "--cron-restart", "0")
	lacks(t, "info", g.run("info", "0"), "cron restart")
	g.run("start", "down", "--min-uptime", "100ms")
	is := strings.Count(g.log(), "app:1 (id 1) restarting")
	g.logSaysTimes(2, "down:0 (id 2) restarting: cron_restart * * * * * *")
	g.logSaysTimes(4, "down:0 (id 2) restarting")
	if now := strings.Count(g.log(), "app:1 (id 1) restarting"); now != is {
		t.Error("app is restarted though that was switched off")
	}
}

// A daemon that dies in the middle of a round leaves the rest of it to the next one.
func TestCronRestartOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.sleeper("app")
	g.file("e.json", `{"apps": [{"name": "app", "script": "./app", "instances": 3, "exec_mode": "fork", "min_uptime": "1s", "cron_restart": "*/15 * * * * *"}]}`)
	g.run("start", "e.json")
	g.logSays("app:0 (id 0) restarting: cron_restart")
	g.killDaemon()
	log := g.logSays("app:2 (id 2) restarting: cron_restart")
	_, after, _ := strings.Cut(log, "the one before was killed by SIGKILL")
	inOrder(t, after, "app:1 (id 1) restarting: cron_restart", "app:2 (id 2) restarting: cron_restart")
	lacks(t, "what was restarted before", after[:max(0, strings.Index(after, "app:2 (id 2) restarting"))], "app:0 (id 0) restarting")
	for _, e := range g.list() {
		if e.Env.Restarts != 1 {
			t.Errorf("restarted %d times: %v", e.Env.Restarts, e)
		}
	}
}

// A clustered app is reloaded at its times, and the daemon's death changes no plan.
func TestCronRestartOfClusteredApps(t *testing.T) {
	g := newGopm(t)
	g.sleeper("web")
	g.file("e.json", `{"apps": [{"name": "web", "script": "./web", "instances": 2, "min_uptime": "100ms", "exec_mode": "cluster", "cron_restart": "*/5 * * * * *"}]}`)
	g.run("start", "e.json")
	old := g.pids()
	g.logSays("web: reloading 2 instances: cron_restart */5 * * * * *")
	log := g.logSays("web: the reload is done")
	inOrder(t, log, "cron_restart", "web:0 (id 0, life 1) online", "it takes over from web:0 (id 0)", "web:1 (id 1, life 1) online", "the reload is done")
	for name, pid := range g.pids() {
		if pid == 0 || pid == old[name] {
			t.Errorf("%s has pid %d, as before (%v)", name, pid, old)
		}
	}
	contains(t, "info", g.run("info", "0"), "last restart because", "cron_restart */5 * * * * *")
	g.killDaemon()
	g.logSaysTimes(2, "web: reloading 2 instances")
	if text, err := os.ReadFile(filepath.Join(g.home, "state.json")); err != nil || !strings.Contains(string(text), `"due":"`) {
		t.Errorf("when it is due isn't in the state: %v\n%s", err, text)
	}
}

// Mistakes are told before anything is started.
func TestBadSchedules(t *testing.T) {
	g := newGopm(t)
	g.sleeper("app")
	for text, want := range map[string]string{
		`"cron_restart": "99 * * * *"`:                          "99",
		`"schedule": "CRON_TZ=Europe/Nowhere 0 3 * * *"`:        "Europe/Nowhere",
		`"schedule": {"at": "0 3 * * *", "overlap": "replace"}`: `"skip", "queue" or "kill"`,
		`"schedule": "0 3 * * *", "instances": 2`:               "one process",
		`"schedule": "0 0 30 2 *"`:                              "never comes",
	} {
		g.file("e.json", `{"apps": [{"name": "app", "script": "./app", `+text+`}]}`)
		g.fail(2, []string{"e.json:1:", want}, "start", "e.json")
	}
	contains(t, "ls", g.run("ls"), "no apps")
}

// What docs/lifecycle.md shows.
func TestExampleJobs(t *testing.T) {
	g := newGopm(t)
	must(t, os.CopyFS(g.dir, os.DirFS("../examples/jobs")))
	must(t, os.Chmod(filepath.Join(g.dir, "report.sh"), 0o755))
	contains(t, "start", g.run("start"), "App [report] scheduled, next run ", "App [cache] launched (1 instances)")
	if r := g.try("run", "report"); r.code != 3 || r.out != "counting\n12 orders\n" || r.err != "no printer\n" {
		t.Errorf("run: %v", r)
	}
	contains(t, "ls", g.run("ls"), "scheduled, next run ", "(last: exit 3)")
	contains(t, "info", g.run("info", "cache"), "0 4 * * 0", "next cron restart")
}

// A job that needs what isn't there is left out when it is due, and says so.
func TestJobsNeedWhatTheyDependOn(t *testing.T) {
	g := newGopm(t)
	g.sleeper("db")
	g.script("backup", "echo backed up")
	g.file("e.json", `{"apps": [
		{"name": "db", "script": "./db", "min_uptime": "100ms"},
		{"name": "backup", "script": "./backup", "schedule": "* * * * * *", "depends_on": ["db"]}]}`)
	g.run("start", "e.json")
	g.logSays("backup:0 (id 1) is due: it is run")
	g.run("stop", "db")
	g.logSays("backup:0 (id 1) is due, and skipped: it needs db (stopped)")
	g.fail(1, []string{"backup needs db (stopped): gopm start db first"}, "run", "backup")
	g.run("start", "db")
	from := strings.Count(g.log(), "is due: it is run")
	g.logSaysTimes(from+1, "is due: it is run")
}

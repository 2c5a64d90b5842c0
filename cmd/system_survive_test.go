package cmd_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What commands do while gopm itself dies, and what they say afterwards.

// killDaemon kills the daemon and returns when its successor answers.
func (g *gopm) killDaemon() {
	g.Helper()
	old, _ := g.daemon()
	g.killHard(old)
	if now, _ := g.daemon(); now == old {
		g.Errorf("daemon %d still answers", old)
	}
}

// killBoth kills keeper and daemon, so that neither notices the other's death.
func (g *gopm) killBoth() {
	g.Helper()
	daemon, keeper := g.daemon()
	must(g.T, syscall.Kill(keeper, syscall.SIGSTOP))
	must(g.T, syscall.Kill(daemon, syscall.SIGSTOP))
	g.killHard(keeper)
	g.killHard(daemon)
	for _, pid := range []int{keeper, daemon} {
		eventually(g.T, soon, gone(pid))
	}
}

// Every line is shown once and in order, whatever becomes of the daemon meanwhile.
func TestLogsOutliveTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.script("count", `i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.002; done`)
	g.run("start", "./count", "--min-uptime", "100ms")
	out := g.app("count").Env.Out
	f := g.follow("count", "--raw", "--lines", "100000")
	f.says("line 1\n")
	for range 3 {
		g.killDaemon()
		f.says(g.later(out))
	}
	f.end()
	countedLines(t, f.text())
}

// later is a line that will be written to a log some time after now.
func (g *gopm) later(path string) string {
	g.Helper()
	text, err := os.ReadFile(path)
	must(g.T, err)
	lines := strings.Count(string(text), "\n")
	_, last, _ := strings.Cut(strings.Split(string(text), "\n")[max(0, lines-1)], " ")
	n, err := strconv.Atoi(last)
	must(g.T, err)
	return fmt.Sprintf("line %d\n", n+100)
}

// countedLines fails unless a text is line 1, line 2, … without a gap.
func countedLines(t *testing.T, text string) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if want := fmt.Sprintf("line %d", i+1); line != want {
			t.Fatalf("got %q, want %q", line, want)
		}
	}
}

func TestStartWaitsWhileTheDaemonDies(t *testing.T) {
	g := newGopm(t)
	g.script("slow", `echo begun; exec sleep 1000`)
	g.script("bad", `echo sorry; sleep 1; exit 3`)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	for _, tt := range []struct {
		script string
		code   int
		says   string
	}{{"./slow", 0, "online"}, {"./bad", 1, "sorry"}} {
		r := g.startAndKillDaemon(tt.script)
		for strings.Contains(r.err, "before it answered") { // the order itself: this is about the wait after it
			g.run("delete", strings.TrimPrefix(tt.script, "./"))
			r = g.startAndKillDaemon(tt.script)
		}
		if r.code != tt.code || !strings.Contains(r.out+r.err, tt.says) {
			t.Errorf("%s: %v", tt.script, r)
		}
	}
}

// startAndKillDaemon starts an app, and kills the daemon once it is launched.
func (g *gopm) startAndKillDaemon(script string) result {
	g.Helper()
	done := make(chan result)
	cmd := g.command("start", script, "--min-uptime", "2s", "--wait", "20s")
	go func() { // ends with the command; waited for below
		r, err := g.finish(cmd)
		if err != nil {
			g.Error(err)
		}
		done <- r
	}()
	eventually(g.T, soon, func() error {
		all := g.list()
		if !slices.ContainsFunc(all, func(e entry) bool { return e.Name == strings.TrimPrefix(script, "./") && e.Pid != 0 }) {
			return fmt.Errorf("not yet launched: %v", all)
		}
		return nil
	})
	g.killDaemon()
	return <-done
}

// What a program wrote before it failed is told apart from its earlier runs by the
// daemon after the next, too, and after the death of both.
func TestLastWordsOutliveTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.script("run", `n=$(cat runs | wc -l); echo >> runs; echo "words $n" >&2; [ -e fail ] && exit 3; exec sleep 1000`)
	g.file("runs", "")
	g.run("start", "./run", "--min-uptime", "100ms", "--no-autorestart")
	g.run("restart", "run")
	g.file("fail", "")
	g.fail(1, []string{"words 2"}, "restart", "run")
	for _, kill := range []func(){g.killDaemon, g.killBoth} {
		kill()
		g.run("resurrect")
		out := g.run("info", "run")
		contains(t, "info", out, "words 2")
		lacks(t, "info", out, "words 0", "words 1")
	}
}

func TestListWhileDaemonsDie(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`)
	g.run("start", "eco.json")
	killed, listed := make(chan struct{}), make(chan int)
	go func() { // ends after the last kill; waited for through listed
		n := 0
		defer func() { listed <- n }()
		for {
			select {
			case <-killed:
				return
			default:
			}
			r, err := g.finish(g.command("jlist"))
			if err != nil || r.code != 0 || strings.Count(r.out, `"online"`) != 2 {
				t.Errorf("jlist: %v, %v", err, r)
			}
			n++
		}
	}()
	for range 3 {
		g.killDaemon()
	}
	close(killed)
	if n := <-listed; n == 0 {
		t.Error("nothing was listed meanwhile")
	}
}

func TestListWithoutDaemonAndKeeper(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b", "instances": 2`)
	g.run("start", "eco.json")
	g.run("stop", "a")
	before := g.list()
	b := before[1].Pid
	g.killBoth()
	words := []string{"daemon not running, 1 app still alive: run gopm resurrect"}
	r := g.fail(1, words, "ls")
	contains(t, "ls", r.out, "stopped", "online", strconv.Itoa(b))
	r = g.fail(1, words, "info", "b")
	contains(t, "info", r.out, "online", "b-out-0.log")
	r = g.fail(1, words, "jlist")
	contains(t, "jlist", r.out, fmt.Sprintf(`"pid":%d`, b))
	r = g.fail(1, words, "pid", "b")
	contains(t, "pid", r.out, fmt.Sprintf("%d\n", b))
	for _, args := range [][]string{{"logs", "b"}, {"env", "b"}, {"ping"}} {
		g.fail(1, words, args...)
	}
	g.fail(1, []string{`no app or namespace named "nosuch"; there are: a, b`}, "info", "nosuch")
	contains(t, "report", g.run("report"), "1 app still alive", "2 apps in ")
	contains(t, "resurrect", g.run("resurrect"), "nothing to start", strconv.Itoa(b))
	for i, now := range g.list() {
		if was := before[i]; now.Pid != was.Pid || now.Env.Status != was.Env.Status || now.Env.Restarts != 0 {
			t.Errorf("%v, was %v", now, was)
		}
	}
}

// Orders take over what lives first; nothing is started twice.
func TestOrdersTakeOverWhatLives(t *testing.T) {
	for _, order := range []string{"stop b", "restart b", "delete b", "scale b 1", "start b", "start eco.json", "reset b", "save", "kill"} {
		t.Run(order, func(t *testing.T) {
			g := newGopm(t)
			g.script("run", `echo "$$" >> pids.$name.$NODE_APP_INSTANCE; exec sleep 1000`)
			g.file("eco.json", `{"apps": [{"name": "a", "script": "./run", `+quick+`}, {"name": "b", "script": "./run", "instances": 2, "exec_mode": "fork", `+quick+`}]}`)
			g.run("start", "eco.json")
			a := g.app("a")
			g.killBoth()
			g.run(strings.Fields(order)...)
			if order == "kill" {
				if left := belongingTo(g.home); len(left) != 0 {
					t.Errorf("left: %v", left)
				}
				return
			}
			if now := g.app("a"); now.Pid != a.Pid || now.Env.Restarts != 0 {
				t.Errorf("was %v, is %v", a, now)
			}
			want := map[string]string{"stop b": "stopped", "restart b": "online", "delete b": "", "scale b 1": "online"}
			if text := fmt.Sprint(g.list()); order == "delete b" && strings.Contains(text, "|b ") || order == "stop b" && strings.Contains(text, "|b online") {
				t.Errorf("after %s: %s, want %q", order, text, want[order])
			}
			runs := strings.Count(g.fileSays(filepath.Join(g.dir, "pids.b.0"), "\n"), "\n")
			if expected := map[bool]int{true: 2, false: 1}[order == "restart b"]; runs != expected {
				t.Errorf("b:0 was started %d times, want %d", runs, expected)
			}
		})
	}
}

func TestResurrectAfterKill(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`, `"name": "c"`)
	g.fail(1, []string{"nothing to resurrect"}, "resurrect")
	g.run("start", "eco.json")
	g.run("stop", "c")
	g.run("kill")
	r := g.try("ls")
	contains(t, "ls after kill", r.out, "stopped (before kill: online)")
	contains(t, "ls after kill", r.err, "daemon not running", "gopm resurrect")
	if r.code != 0 {
		t.Error(r)
	}
	g.fail(1, []string{"daemon not running"}, "stop", "a")
	g.run("start", "a")
	if got := g.statuses(); got != "a online, b stopped, c stopped" {
		t.Error(got)
	}
	contains(t, "ls", g.run("ls"), "stopped (before kill: online)")
	contains(t, "resurrect", g.run("resurrect"), "App [b] launched (1 instances)")
	if got := g.statuses(); got != "a online, b online, c stopped" {
		t.Error(got)
	}
	contains(t, "resurrect again", g.run("resurrect"), "nothing to start")
}

// statuses is the list in a few words.
func (g *gopm) statuses() string {
	g.Helper()
	var all []string
	for _, e := range g.list() {
		all = append(all, e.Name+" "+e.Env.Status)
	}
	return strings.Join(all, ", ")
}

func TestSavedSnapshot(t *testing.T) {
	g := newGopm(t)
	g.fail(1, []string{"daemon not running"}, "save")
	g.eco("eco.json", `"name": "a"`, `"name": "b"`)
	g.run("start", "eco.json")
	g.run("stop", "b")
	contains(t, "save", g.run("save"), "saved 2 apps in ")
	g.run("delete", "all")
	g.fail(2, []string{"no apps", "--force"}, "save")
	contains(t, "resurrect", g.run("resurrect"), "nothing to start")
	contains(t, "resurrect --saved", g.run("resurrect", "--saved"), "App [a] launched")
	if got := g.statuses(); got != "a online, b stopped" {
		t.Error(got)
	}
	contains(t, "cleardump", g.run("cleardump"), "deleted ")
	contains(t, "cleardump again", g.run("cleardump"), "no snapshot")
	g.fail(1, []string{"nothing was saved"}, "resurrect", "--saved")
	contains(t, "dump", g.run("dump", "--json"), `"apps": 2`)
}

func TestUpdate(t *testing.T) {
	g := newGopm(t)
	other, err := otherVersion()
	must(t, err)
	g.fail(1, []string{"daemon not running"}, "update")
	path := filepath.Join(g.dir, "bin", "gopm")
	install := func(from string) {
		t.Helper()
		text, err := os.ReadFile(from)
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path+".new", text, 0o755))
		must(t, os.Rename(path+".new", path))
	}
	ours := g.binary
	install(ours)
	g.binary = path
	g.script("count", `i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.002; done`)
	g.run("start", "./count", "--min-uptime", "100ms")
	app := g.app("count")
	_, keeper := g.daemon()
	f := g.follow("count", "--raw", "--lines", "100000")
	f.says("line 1\n")

	g.script("bin/gopm.new", "exit 7")
	must(t, os.Rename(path+".new", path))
	g.binary = ours
	g.fail(1, []string{path}, "update")
	contains(t, "ping", g.run("ping"), "daemon v0.0.0-test")

	install(other)
	began := time.Now()
	contains(t, "update", g.run("update"), "v0.0.0-test", "v0.0.9-other", path)
	t.Logf("update took %v", time.Since(began))
	g.binary = path
	contains(t, "ping", g.run("ping"), "daemon v0.0.9-other")
	if now := g.app("count"); now.Pid != app.Pid || now.Env.Restarts != 0 {
		t.Errorf("was %v, is %v", app, now)
	}
	if _, now := g.daemon(); now != keeper {
		t.Errorf("keeper %d was replaced by %d", keeper, now)
	}
	f.says(g.later(app.Env.Out))
	f.end()
	countedLines(t, f.text())
}

// A keeper that hangs: nobody would start the next daemon, so an update is refused; and
// it is not what the end of everything waits for.
func TestKeeperHangs(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	daemon, keeper := g.daemon()
	must(t, syscall.Kill(keeper, syscall.SIGSTOP))
	g.fail(1, []string{fmt.Sprintf("the keeper (pid %d) does not answer", keeper), "kill -CONT"}, "update")
	contains(t, "ping", g.run("ping"), fmt.Sprintf("pid %d ", daemon))
	r := g.try("kill")
	contains(t, "kill", r.out+r.err, "killing it", "nothing that gopm knows of is left running")
	if left := belongingTo(g.home); len(left) != 0 || r.code != 0 {
		t.Errorf("left: %v after %v", left, r)
	}
}

// A daemon that was stopped in the middle of something is told about, and who waits is
// served as soon as it goes on.
func TestDaemonHangs(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	daemon, _ := g.daemon()
	must(t, syscall.Kill(daemon, syscall.SIGSTOP))
	eventually(t, soon, func() error { return allStopped(daemon) }) // one of its threads may answer until then
	cmd := g.command("ping")
	var out strings.Builder
	errors, err := cmd.StderrPipe()
	must(t, err)
	cmd.Stdout = &out
	must(t, cmd.Start())
	said, _ := bufio.NewReader(errors).ReadString('\n')
	contains(t, "ping", said, fmt.Sprintf("the daemon (pid %d) was stopped", daemon), fmt.Sprintf("kill -CONT %d", daemon))
	must(t, syscall.Kill(daemon, syscall.SIGCONT))
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "pong") {
		t.Errorf("%v, %q", err, out.String())
	}
}

// allStopped says whether all threads of a process have stopped.
func allStopped(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range threads {
		if text, err := os.ReadFile(path); err == nil && !strings.Contains(string(text), "State:\tT") {
			return fmt.Errorf("%s says that it runs", path)
		}
	}
	return err
}

// A new daemon would refuse this home, and so would the old one if it were started again.
func TestUpdateInAHomeThatNoDaemonWouldTake(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	daemon, _ := g.daemon()
	must(t, os.Chmod(g.home, 0o777))
	g.fail(1, []string{"cannot update", "chmod 700", "goes on"}, "update")
	must(t, os.Chmod(g.home, 0o700))
	if now, _ := g.daemon(); now != daemon {
		t.Errorf("daemon %d was replaced by %d", daemon, now)
	}
}

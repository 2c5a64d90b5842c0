package cmd_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// under runs a gopm command in a shell that has done something before.
func (g *gopm) under(before string, args ...string) result {
	g.Helper()
	cmd := g.command(args...)
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", before + ` && exec "$0" "$@"`, g.binary}, args...)
	return g.execute(cmd)
}

func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", script).Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return strings.TrimSpace(string(out))
}

// gopm may open as many files as it can; apps as many as their starter, also when they
// are started again.
func TestOpenFilesOfApps(t *testing.T) {
	hard, err := strconv.Atoi(strings.ReplaceAll(shell(t, "ulimit -Hn"), "unlimited", "1048576"))
	must(t, err)
	for _, original := range []struct{ soft, hard int }{{256, hard}, {256, 512}, {512, 512}, {511, 512}} {
		t.Run(fmt.Sprintf("%d of %d", original.soft, original.hard), func(t *testing.T) {
			g := newGopm(t)
			g.script("show", `echo "limits $(ulimit -Sn) $(ulimit -Hn)"; exec sleep 1000`)
			r := g.under(fmt.Sprintf("ulimit -Sn %d && ulimit -Hn %d", original.soft, original.hard), "start", "./show", "--min-uptime", "100ms", "-s")
			if r.code != 0 {
				t.Fatal(r)
			}
			want := fmt.Sprintf("limits %d %d\n", original.soft, original.hard)
			out := filepath.Join(g.home, "logs", "show-out.log")
			g.fileSays(out, want)
			g.run("restart", "show", "-s")
			g.fileSays(out, want+want)
			daemon, keeper := g.afterDeaths()
			g.run("restart", "show", "-s")
			g.fileSays(out, want+want+want)
			for _, pid := range []int{daemon, keeper} {
				if soft := softLimit(t, pid); soft < original.hard-1 {
					t.Errorf("process %d may open %d files of %d", pid, soft, original.hard)
				}
			}
		})
	}
}

// afterDeaths kills keeper and daemon, one after the other, and returns those after.
func (g *gopm) afterDeaths() (daemon, keeper int) {
	g.Helper()
	wasDaemon, wasKeeper := g.daemon()
	g.killHard(wasKeeper)
	eventually(g.T, soon, func() error {
		if _, keeper = g.daemon(); keeper == wasKeeper || keeper == 0 {
			return fmt.Errorf("the keeper is %d", keeper)
		}
		return nil
	})
	g.killHard(wasDaemon)
	eventually(g.T, soon, gone(wasDaemon))
	eventually(g.T, soon, func() error { // the new keeper may have had no time to begin: then both are dead
		if r := g.try("resurrect", "-s"); r.code != 0 {
			return fmt.Errorf("resurrect: %v", r)
		}
		return nil
	})
	return g.daemon()
}

// softLimit is how many files a process may open.
func softLimit(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "Max open files")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	must(t, err)
	return n
}

// With few descriptors there is an error for the command that asks for too much, and
// nothing else: what runs goes on, is restarted, is listed, and can be stopped.
func TestOutOfDescriptors(t *testing.T) {
	g := newGopm(t)
	g.script("run", `echo up; exec sleep 1000`)
	start := func(i int) result {
		return g.under("ulimit -n 128", "start", "./run", "-n", fmt.Sprint("app", i), "--min-uptime", "100ms", "-s", "--no-wait")
	}
	n := 0
	var refused result
	for ; refused.code == 0; n++ {
		if n > 40 {
			t.Fatal("40 apps run with 128 descriptors")
		}
		refused = start(n)
	}
	n--
	if n < 5 {
		t.Errorf("only %d apps run with 128 descriptors: %v", n, refused)
	}
	contains(t, "refused", refused.err, fmt.Sprintf("cannot start app%d: gopm may open 128 files", n), "in use", "ulimit -n", "LimitNOFILE")
	for i := range n {
		g.awaitStatus(fmt.Sprint("app", i), "online")
	}
	if got := len(g.list()); got != n {
		t.Errorf("%d apps are listed, want %d", got, n)
	}
	before := g.pids()
	g.fail(1, []string{"cannot start app0"}, "scale", "app0", "40")
	g.killHard(before["app1:0"])
	g.await("app1", "started again", func(e entry) bool { return e.Pid != 0 && e.Pid != before["app1:0"] && e.Env.Status == "online" })
	contains(t, "logs", g.run("logs", "app0", "--nostream"), "up")
	var many []string
	for i := range n {
		many = append(many, fmt.Sprint("app", i))
	}
	g.run(append([]string{"restart", "-s"}, many...)...) // all at once
	for name, pid := range g.pids() {
		if pid == 0 || pid == before[name] {
			t.Errorf("%s was not restarted: pid %d", name, pid)
		}
	}
	running := g.pids()
	daemon, _ := g.daemon()
	g.killHard(daemon)
	eventually(t, soon, gone(daemon))
	if now := g.pids(); !maps.Equal(now, running) {
		t.Errorf("after the daemon's death %v run, before %v", now, running)
	}
	g.run("delete", "app0", "app1", "-s")
	if r := start(n); r.code != 0 {
		t.Errorf("there is room again, but: %v", r)
	}
	lacks(t, "gopm.log", g.log(), "too many open files")
}

// What the kernel ends first when memory is short is an app: gopm lowers its score as
// far as it may, and apps have that of their starter, with all their children.
func TestMemoryIsTakenFromApps(t *testing.T) {
	g := newGopm(t)
	g.script("show", `echo "score $(cat /proc/self/oom_score_adj)"; exec sleep 1000`)
	const score = 500
	start := func(args ...string) {
		g.Helper()
		if r := g.under(fmt.Sprintf("echo %d >/proc/self/oom_score_adj", score), append([]string{"start", "-s"}, args...)...); r.code != 0 {
			t.Fatal(r)
		}
	}
	start("./show", "-n", "one", "--min-uptime", "100ms")
	start(g.file("eco.json", `{"apps": [{"name": "many", "script": "./show", "instances": 4, "exec_mode": "fork", "min_uptime": "100ms"}]}`))
	for _, file := range []string{"one-out.log", "many-out-0.log", "many-out-3.log"} {
		g.fileSays(filepath.Join(g.home, "logs", file), fmt.Sprintf("score %d\n", score))
	}
	for name, pid := range g.pids() {
		if got := scoreOf(t, pid); got != score {
			t.Errorf("%s has the score %d", name, got)
		}
	}
	g.run("restart", "all", "-s")
	g.fileSays(filepath.Join(g.home, "logs", "many-out-2.log"), strings.Repeat(fmt.Sprintf("score %d\n", score), 2))
	daemon, keeper := g.afterDeaths()
	g.run("restart", "one", "-s")
	if got := scoreOf(t, g.app("one").Pid); got != score {
		t.Errorf("started by another daemon it has the score %d", got)
	}
	if d, k := scoreOf(t, daemon), scoreOf(t, keeper); d >= score || k >= score {
		t.Errorf("the daemon has the score %d, the keeper %d, want less than %d", d, k, score)
	}
}

func scoreOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	must(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	return n
}

package cmd_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What happens to the daemon itself.

// daemon is the pid of the daemon and of its keeper.
func (g *gopm) daemon() (daemon, keeper int) {
	g.Helper()
	out := g.run("ping")
	m := regexp.MustCompile(`pid (\d+) \(keeper (\d+)\)`).FindStringSubmatch(out)
	if m == nil {
		g.Fatalf("ping: %q", out)
	}
	daemon, _ = strconv.Atoi(m[1])
	keeper, _ = strconv.Atoi(m[2])
	return daemon, keeper
}

func TestTheDeathOfTheDaemonIsANonEvent(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`)
	g.run("start", "eco.json")
	before := g.list()
	daemon, keeper := g.daemon()
	g.killHard(daemon)
	for i, e := range g.list() {
		if e.Pid != before[i].Pid || e.Env.Restarts != 0 || e.Env.Status != "online" {
			t.Errorf("%v, was %v", e, before[i])
		}
	}
	if now, parent := g.daemon(); now == daemon || parent != keeper {
		t.Errorf("daemon %d (keeper %d), was %d (%d)", now, parent, daemon, keeper)
	}
	contains(t, "gopm.log", g.log(), "was killed by SIGKILL", "took over 2 instances")
}

func TestBothDead(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`)
	g.run("start", "eco.json")
	app, other := g.app("a").Pid, g.app("b").Pid
	daemon, keeper := g.daemon()
	must(t, syscall.Kill(keeper, syscall.SIGSTOP)) // so that it revives nothing in between
	g.killHard(daemon)
	g.killHard(keeper)
	for _, pid := range []int{keeper, daemon} {
		eventually(t, soon, gone(pid))
	}
	g.killHard(other)
	eventually(t, soon, gone(other))
	g.fail(1, []string{"daemon not running, 1 app still alive: run gopm resurrect"}, "ls")
	g.run("start", "eco.json")
	if e := g.app("a"); e.Pid != app || e.Env.Restarts != 0 {
		t.Errorf("%v, was pid %d", e, app)
	}
	eventually(t, soon, func() error { // init may let its zombie wait
		if e := g.app("b"); e.Env.Status != "online" || e.Pid == other || e.Env.Restarts != 1 {
			return fmt.Errorf("%v", e)
		}
		return nil
	})
}

func TestAppsOutliveTheirKeeper(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	pid := g.app("a").Pid
	_, keeper := g.daemon()
	g.killHard(keeper)
	eventually(t, soon, func() error {
		if !strings.Contains(g.log(), "has everything") {
			return fmt.Errorf("gopm.log says nothing of it")
		}
		return nil
	})
	daemon, second := g.daemon()
	g.killHard(daemon)
	if e := g.app("a"); e.Pid != pid || e.Env.Restarts != 0 {
		t.Error(e)
	}
	if now, parent := g.daemon(); now == daemon || parent != second {
		t.Errorf("daemon %d (keeper %d), was %d (%d)", now, parent, daemon, second)
	}
}

func TestTerminatedDaemonStopsAppsInOrder(t *testing.T) {
	g := newGopm(t)
	g.script("run", `trap 'echo asked to stop; exit 0' TERM; while :; do sleep 0.02; done`)
	g.run("start", "./run", "--min-uptime", "100ms")
	e := g.app("run")
	daemon, keeper := g.daemon()
	must(t, syscall.Kill(daemon, syscall.SIGTERM))
	for _, pid := range []int{keeper, daemon, e.Pid} {
		eventually(t, soon, gone(pid))
	}
	g.fileSays(e.Env.Out, "asked to stop")
	contains(t, "gopm.log", g.log(), "daemon ended")
}

func TestTenCommandsStartOneDaemon(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	const many = 10
	results := make([]result, many)
	errs := make([]error, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() { // ends with its command
			results[i], errs[i] = g.finish(g.command("start", "./run", "--name", fmt.Sprintf("app%d", i), "--min-uptime", "100ms"))
		})
	}
	all.Wait()
	for i, r := range results {
		if errs[i] != nil || r.code != 0 {
			t.Errorf("command %d: %v, %v", i, errs[i], r)
		}
	}
	if n := len(g.list()); n != many {
		t.Errorf("%d apps, want %d", n, many)
	}
	daemons := 0
	for _, p := range belongingTo(g.home) {
		if strings.HasPrefix(p.cmdline, "gopm daemon ") {
			daemons++
		}
	}
	if daemons != 1 {
		t.Errorf("%d daemons: %v", daemons, belongingTo(g.home))
	}
}

func TestKillStopsInOrderAndLeavesNothing(t *testing.T) {
	g := newGopm(t)
	g.script("run", `trap 'echo bye; exit 0' TERM; setsid sleep 1000 & echo up; while :; do sleep 0.02; done`)
	g.run("start", "./run", "--min-uptime", "100ms")
	out := g.app("run").Env.Out
	g.fileSays(out, "up") // else the signal may come before the trap
	contains(t, "kill", g.run("kill"), "run", "daemon stopped")
	if left := belongingTo(g.home); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	g.fileSays(out, "bye")
	contains(t, "kill again", g.run("kill"), "no daemon")
}

func TestKillEndsACrashLoopAndAStubbornApp(t *testing.T) {
	g := newGopm(t)
	g.script("crash", "exit 1")
	g.script("stubborn", `trap '' TERM; while :; do sleep 0.05; done`)
	g.run("start", "./crash", "--no-wait")
	g.run("start", "./stubborn", "--kill-timeout", "200ms", "--min-uptime", "100ms")
	began := time.Now()
	g.run("kill")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("kill took %v", took)
	}
}

// A command line that waits for its own background must not wait for gopm's.
func TestDaemonHoldsNothingOfTheShell(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	sh := g.command()
	sh.Path, sh.Args = "/bin/bash", []string{"bash", "-c", `exec 7>held; ` + g.binary + ` start ./run --min-uptime 100ms 2>&1 | cat >/dev/null; echo over`}
	if r := g.execute(sh); r.out != "over\n" {
		t.Errorf("%v", r)
	}
	daemon, keeper := g.daemon()
	for _, pid := range []int{daemon, keeper, g.app("run").Pid} {
		for _, path := range openFiles(t, pid) {
			if strings.HasSuffix(path, "/held") || strings.HasPrefix(path, g.dir) && !strings.HasSuffix(path, "/run") {
				t.Errorf("pid %d holds %s", pid, path)
			}
		}
	}
}

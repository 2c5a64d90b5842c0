package cmd_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Supervision of real programs.

func (g *gopm) killHard(pid int) {
	g.Helper()
	must(g.T, syscall.Kill(pid, syscall.SIGKILL))
}

func TestKilledAppComesBack(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.run("start", "./run", "--min-uptime", "100ms")
	first := g.app("run")
	g.killHard(first.Pid)
	e := g.await("run", "a new process", func(e entry) bool { return e.Env.Status == "online" && e.Pid != first.Pid })
	if e.Env.Restarts != 1 || e.Env.ExitSignal != "SIGKILL" {
		t.Errorf("%v", e)
	}
	contains(t, "info", g.run("info", "run"), "ended by SIGKILL")
	contains(t, "gopm.log", g.log(), "SIGKILL")
}

// pm2 restarted an app that began to crash after 17 s about 170 times a second.
func TestLateCrashLoopIsBraked(t *testing.T) {
	g := newGopm(t)
	g.script("run", `echo run; [ -e broken ] && exit 1; exec sleep 1000`)
	g.run("start", "./run", "--min-uptime", "100ms")
	e := g.app("run")
	g.file("broken", "")
	g.killHard(e.Pid)
	began := time.Now()
	g.await("run", "eight failures", func(e entry) bool { return e.Env.Unstable >= 8 })
	if took := time.Since(began); took < 2*time.Second { // 100 ms growing by half: 3.2 s less jitter and half
		t.Errorf("eight restarts in %v", took)
	}
	contains(t, "ls", g.run("ls"), "(exit 1)")
	g.run("stop", "run")
	must(t, os.Remove(g.dir+"/broken"))
	g.run("start", "run")
}

func TestMaxRestartsIsFinal(t *testing.T) {
	g := newGopm(t)
	g.script("run", `echo run; exit 1`)
	g.try("start", "./run", "--max-restarts", "3", "--exp-backoff-restart-delay", "10ms", "--no-wait")
	e := g.awaitStatus("run", "errored")
	if runs := strings.Count(g.fileSays(e.Env.Out, "run\nrun\nrun\n"), "run"); runs != 3 {
		t.Errorf("it ran %d times, want 3", runs)
	}
	lacks(t, "ls", g.run("ls"), "next try")
	steadily(t, time.Second, func() error {
		if now := g.app("run"); now.Env.Status != "errored" {
			return fmt.Errorf("it did not stay down: %v", now)
		}
		return nil
	})
}

func TestRestartDelay(t *testing.T) {
	g := newGopm(t)
	g.script("run", `date +%s%N >> runs; exit 1`)
	g.try("start", "./run", "--restart-delay", "400ms", "--no-wait")
	g.await("run", "three failures", func(e entry) bool { return e.Env.Unstable >= 3 })
	text, err := os.ReadFile(g.dir + "/runs")
	must(t, err)
	runs := strings.Fields(string(text))
	for i := 1; i < 3; i++ {
		before, _ := strconv.ParseInt(runs[i-1], 10, 64)
		after, _ := strconv.ParseInt(runs[i], 10, 64)
		if gap := time.Duration(after - before); gap < 390*time.Millisecond || gap > 2*time.Second {
			t.Errorf("%v between run %d and %d, want about 400ms", gap, i, i+1)
		}
	}
}

func TestStopExitCodesLater(t *testing.T) {
	g := newGopm(t)
	g.script("run", `trap 'exit 42' USR1; echo ready; while :; do sleep 0.02; done`)
	g.run("start", "./run", "--stop-exit-codes", "42", "--min-uptime", "100ms")
	g.fileSays(g.app("run").Env.Out, "ready") // else the signal may come before the trap
	must(t, syscall.Kill(g.app("run").Pid, syscall.SIGUSR1))
	e := g.awaitStatus("run", "stopped")
	if e.Env.ExitCode == nil || *e.Env.ExitCode != 42 || e.Env.Restarts != 0 {
		t.Error(e)
	}
	contains(t, "ls", g.run("ls"), "stopped (exit 42)")
}

func TestStubbornAppIsKilled(t *testing.T) {
	g := newGopm(t)
	g.script("run", `trap '' TERM INT HUP; echo $$; while :; do sleep 0.05; done`)
	g.run("start", "./run", "--kill-timeout", "300ms", "--min-uptime", "100ms")
	e := g.app("run")
	g.fileSays(e.Env.Out, fmt.Sprintln(e.Pid)) // else the signal may come before the trap
	pid, began := e.Pid, time.Now()
	g.run("stop", "run")
	if took := time.Since(began); took < 280*time.Millisecond || took > 3*time.Second {
		t.Errorf("stop took %v", took)
	}
	if alive(pid) {
		t.Error("stop returned before the process was gone")
	}
	if e := g.app("run"); e.Env.Status != "stopped" || e.Env.ExitSignal != "SIGKILL" {
		t.Error(e)
	}
}

func TestKillSignal(t *testing.T) {
	g := newGopm(t)
	g.script("run", `for s in INT TERM QUIT; do trap "echo got $s; exit 0" $s; done; echo up; while :; do sleep 0.02; done`)
	g.file("app.js", `process.on('SIGINT', () => { console.log('got INT'); process.exit(0) }); setInterval(() => {}, 1e6); console.log('up')`)
	g.run("start", "./run", "--min-uptime", "100ms", "--name", "plain")
	g.run("start", "./run", "--min-uptime", "100ms", "--name", "quit", "--kill-signal", "SIGQUIT")
	g.run("start", "app.js", "--name", "node")
	for _, name := range []string{"plain", "quit", "node"} {
		g.fileSays(g.app(name).Env.Out, "up") // else the signal may come before the trap
	}
	g.run("stop", "all")
	for name, want := range map[string]string{"plain": "got TERM", "quit": "got QUIT", "node": "got INT"} {
		g.fileSays(g.app(name).Env.Out, want)
	}
}

// Ended is the whole tree, also what went into a session of its own.
func TestGrandchildWithItsOwnSessionEndsToo(t *testing.T) {
	g := newGopm(t)
	g.script("run", `setsid sh -c 'echo $$ > grandchild; exec sleep 1000' & sleep 1000`)
	g.run("start", "./run", "--min-uptime", "100ms")
	grandchild := g.pidIn("grandchild")
	g.run("stop", "run")
	if alive(grandchild) {
		t.Errorf("the grandchild %d lives after stop", grandchild)
	}
	g.run("start", "run")
	main := g.app("run").Pid
	eventually(t, soon, func() error { return g.differs("grandchild", grandchild) })
	second := g.pidIn("grandchild")
	g.killHard(main)
	eventually(t, soon, func() error { return g.differs("grandchild", second) })
	if alive(second) {
		t.Errorf("the successor started beside the grandchild %d", second)
	}
}

// pidIn is the pid that a program writes into a file.
func (g *gopm) pidIn(name string) int {
	g.Helper()
	var pid int
	eventually(g.T, soon, func() error {
		text, err := os.ReadFile(g.dir + "/" + name)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err
	})
	return pid
}

func (g *gopm) differs(name string, old int) error {
	if pid := g.pidIn(name); pid == old {
		return fmt.Errorf("%s still has the pid %d", name, old)
	}
	return nil
}

func TestNoTreekill(t *testing.T) {
	g := newGopm(t)
	g.script("run", `sh -c 'echo $$ > child; exec sleep 1000' & sleep 1000`)
	g.run("start", "./run", "--min-uptime", "100ms", "--no-treekill")
	child := g.pidIn("child")
	t.Cleanup(func() { // left on purpose
		_ = syscall.Kill(child, syscall.SIGKILL)
		eventually(t, soon, gone(child))
		for _, p := range belongingTo(g.home) {
			if strings.HasPrefix(p.cmdline, "sleep") {
				p.kill()
				eventually(t, soon, gone(p.pid))
			}
		}
	})
	g.run("stop", "run")
	if !alive(child) {
		t.Error("treekill: false, but the child was ended")
	}
}

func TestExitIsSeenAlthoughAChildHoldsStdout(t *testing.T) {
	g := newGopm(t)
	g.script("run", `n=$(cat runs 2>/dev/null | wc -l); echo x >> runs; [ $n -gt 0 ] && exec sleep 1000; trap '' TERM; sleep 1000 & sleep 0.3; exit 3`)
	g.run("start", "./run", "--min-uptime", "100ms", "--kill-timeout", "300ms")
	g.await("run", "a restart", func(e entry) bool { return e.Env.Restarts == 1 && e.Env.Status == "online" })
}

func TestMaxMemoryRestart(t *testing.T) {
	g := newGopm(t)
	g.file("grow.py", "import time\nprint('small', flush=True)\ntime.sleep(0.5)\nblock = bytearray(80 << 20)\nfor i in range(0, len(block), 4096): block[i] = 1\nprint('big', flush=True)\ntime.sleep(1000)\n")
	g.run("start", "grow.py", "--max-memory-restart", "50M", "--min-uptime", "100ms")
	first := g.app("grow").Pid
	eventually(t, 20*time.Second, func() error {
		if e := g.app("grow"); e.Env.Restarts == 0 {
			return fmt.Errorf("not restarted: %v, %d bytes", e, e.Monit.Memory)
		}
		return nil
	})
	if alive(first) {
		t.Error("the big one lives")
	}
	contains(t, "gopm.log", g.log(), "memory", "> 50.0 MB")
	contains(t, "info", g.run("info", "grow"), "max memory restart", "50.0mb", "last restart because", "memory")
}

func TestRunsAsAnotherUser(t *testing.T) {
	g := newGopm(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can change users")
	}
	must(t, os.Chmod(g.dir, 0o777))
	g.script("run", `id -un; id -gn; id -G; umask; pwd; echo $HOME; echo to stderr > /dev/stderr; touch made; exec sleep 1000`)
	must(t, os.Mkdir(g.dir+"/sub", 0o777))
	must(t, os.Chmod(g.dir+"/sub", 0o777))
	g.file("eco.json", `{"name": "a", "script": "../run", "cwd": "sub", "uid": "nobody", "gid": "nogroup", "umask": "027", `+quick+`}`)
	g.run("start", "eco.json")
	e := g.app("a")
	text := g.fileSays(e.Env.Out, g.dir+"/sub")
	contains(t, "the program", text, "nobody\nnogroup\n65534\n0027\n"+g.dir+"/sub\n/nonexistent\n")
	g.fileSays(e.Env.Err, "to stderr")
	info, err := os.Stat(g.dir + "/sub/made")
	must(t, err)
	uid, _ := userIDs(t, "nobody")
	if info.Mode().Perm() != 0o640 || int(info.Sys().(*syscall.Stat_t).Uid) != uid {
		t.Errorf("made with %v by %d", info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
	}
	contains(t, "ls", g.run("ls"), "│ nobody ")
	g.run("stop", "a")
}

func TestAnotherUserNeedsRoot(t *testing.T) {
	g := newGopm(t).as(t, "nobody")
	g.sleeper("run")
	g.fail(2, []string{"root"}, "start", "./run", "--uid", "daemon")
	g.run("start", "./run", "--min-uptime", "100ms")
	if e := g.app("run"); e.Env.Status != "online" {
		t.Error(e)
	}
}

// Many apps start and stop side by side.
func TestManyAppsStopInParallel(t *testing.T) {
	g := newGopm(t)
	g.script("slow", `trap 'sleep 0.5; exit 0' TERM; while :; do sleep 0.05; done`)
	g.file("eco.json", `{"name": "a", "script": "./slow", "instances": 12, "exec_mode": "fork", `+quick+`}`)
	g.run("start", "eco.json")
	began := time.Now()
	g.run("stop", "all")
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("twelve stops of half a second took %v", took)
	}
}

func TestRestartDuringBackoffActsAtOnce(t *testing.T) {
	g := newGopm(t)
	g.script("run", `[ -e ok ] || exit 1; exec sleep 1000`)
	g.try("start", "./run", "--exp-backoff-restart-delay", "1h", "--min-uptime", "100ms")
	g.awaitStatus("run", "waiting restart")
	g.file("ok", "")
	g.run("restart", "run")
	if e := g.app("run"); e.Env.Status != "online" {
		t.Error(e)
	}
}

func TestPidFile(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "pid_file": "run.pid"`)
	g.run("start", "eco.json")
	if pid := g.pidIn("run.pid"); pid != g.app("a").Pid {
		t.Errorf("run.pid holds %d, want %d", pid, g.app("a").Pid)
	}
}

// TestAppsIgnoreNoSignals: what the daemon ignores must not be ignored in its apps.
func TestAppsIgnoreNoSignals(t *testing.T) {
	g := newGopm(t)
	g.script("masks", `grep -E 'SigIgn|SigBlk' /proc/self/status; exec sleep 1000`)
	g.run("start", "./masks", "--min-uptime", "100ms")
	const cLibrary = 1<<(32-1) | 1<<(33-1) // its own; make ignores them for what it starts
	text := g.fileSays(g.app("masks").Env.Out, "SigIgn")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 2 {
		t.Fatalf("it wrote %q", text)
	}
	for _, line := range lines {
		name, mask, _ := strings.Cut(line, ":\t")
		if bits, err := strconv.ParseUint(mask, 16, 64); err != nil || bits&^cLibrary != 0 {
			t.Errorf("the app starts with %s %s (%v)", name, mask, err)
		}
	}
}

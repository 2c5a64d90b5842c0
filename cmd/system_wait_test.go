package cmd_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStartShowsWhyAnAppCrashed(t *testing.T) {
	g := newGopm(t)
	g.script("crash", `echo "going up"; echo "cannot open the database" >&2; exit 3`)
	r := g.fail(1, []string{"crash:0 failed", "exited with code 3", "cannot open the database", "going up"}, crashes("start", "./crash")...)
	if err, out := strings.Index(r.err, "cannot open"), strings.Index(r.err, "going up"); err > out {
		t.Errorf("want stderr first:\n%s", r.err)
	}
	contains(t, "the table", r.out, "crash", "(exit 3)")
	if status := g.app("crash").Env.Status; status == "stopped" {
		t.Error("a failed app has to stay under its policy, it is stopped")
	}
}

func TestStartNamesTheSignal(t *testing.T) {
	g := newGopm(t)
	g.script("suicide", `kill -SEGV $$`)
	g.fail(1, []string{"SIGSEGV", "it wrote nothing"}, crashes("start", "./suicide")...)
	e := g.await("suicide", "a signal", func(e entry) bool { return e.Env.ExitSignal == "SIGSEGV" })
	if e.Env.ExitCode != nil {
		t.Errorf("death by signal is no code: %v", e)
	}
}

func TestStartShowsOnlyThisRunsOutput(t *testing.T) {
	g := newGopm(t)
	g.script("flip", `[ -e broken ] && { echo new trouble >&2; exit 1; }; echo old words >&2; exec sleep 1000`)
	g.run("start", "./flip", "--min-uptime", "100ms")
	g.file("broken", "")
	r := g.fail(1, []string{"new trouble"}, crashes("restart", "flip")...)
	lacks(t, "restart", r.err, "old words")
}

func TestEndedAsItShouldIsSuccess(t *testing.T) {
	g := newGopm(t)
	g.script("job", "echo done; exit 0")
	g.run(crashes("start", "./job", "--no-autorestart")...)
	if e := g.app("job"); e.Env.Status != "stopped" || e.Env.ExitCode == nil || *e.Env.ExitCode != 0 {
		t.Error(e)
	}
	g.script("seven", "exit 7")
	g.run(crashes("start", "./seven", "--stop-exit-codes", "7,8")...)
	g.fail(1, []string{"code 7"}, crashes("start", "./seven", "--no-autorestart", "--name", "wrong")...)
}

func TestExitZeroUnderAutorestartIsAFailedStart(t *testing.T) {
	g := newGopm(t)
	g.script("quits", "exit 0")
	g.fail(1, []string{"quits", "code 0"}, crashes("start", "./quits")...)
}

// A program that kills itself has not exited with code 0.
func TestSignalIsNoStopExitCode(t *testing.T) {
	g := newGopm(t)
	g.script("killed", `kill -KILL $$`)
	g.fail(1, []string{"SIGKILL"}, crashes("start", "./killed", "--stop-exit-codes", "0")...)
	g.await("killed", "restarts", func(e entry) bool { return e.Env.Restarts > 0 })
}

func TestStillStartingIsNamedAndNoFailure(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "fast"`)
	g.sleeper("slow.sh")
	began := time.Now()
	r := g.try("start", "slow.sh", "--min-uptime", "30s", "--wait", "1s")
	if took := time.Since(began); r.code != 0 || took > 4*time.Second {
		t.Errorf("after %v: %v", took, r)
	}
	contains(t, "stderr", r.err, "slow:0 is still starting")
	contains(t, "the table", r.out, "launching")
	if e := g.app("slow"); e.Env.Status != "launching" {
		t.Error(e)
	}
}

// Without --wait a start that takes long is waited for at most 5 s.
func TestDefaultWaitIsBounded(t *testing.T) {
	g := newGopm(t)
	g.sleeper("slow.sh")
	began := time.Now()
	r := g.try("start", "slow.sh", "--min-uptime", "30s")
	if took := time.Since(began); r.code != 0 || took < 4*time.Second || took > 9*time.Second {
		t.Errorf("after %v: %v", took, r)
	}
}

func TestNoWait(t *testing.T) {
	g := newGopm(t)
	g.script("crash", "exit 1")
	g.sleeper("slow.sh")
	began := time.Now()
	g.run("start", "./crash", "--no-wait")
	g.run("start", "slow.sh", "--no-wait", "--min-uptime", "30s")
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestInterruptedStartLeavesTheApps(t *testing.T) {
	g := newGopm(t)
	g.sleeper("slow.sh")
	cmd := g.command("start", "slow.sh", "--min-uptime", "30s", "--wait", "30s")
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	contains(t, "the first line", line, "App [slow] launched")
	pid := g.await("slow", "a process", func(e entry) bool { return e.Pid != 0 }).Pid
	must(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait() // the exit code tells
	if code := cmd.ProcessState.ExitCode(); code == 0 || code == -1 {
		t.Errorf("want the exit code of an interrupted command, got %d", code)
	}
	contains(t, "stderr", errOut.String(), "the apps go on")
	if !alive(pid) || g.app("slow").Pid != pid {
		t.Errorf("the app did not survive: %v", g.app("slow"))
	}
}

func TestOneFailureOfSeveralIsTold(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "good"`, `"name": "bad", "args": ["bad"], `+slowly)
	g.script("run", `[ "$1" = bad ] && { echo "no luck" >&2; exit 4; }; exec sleep 1000`)
	r := g.fail(1, []string{"bad:0 failed", "no luck"}, "start", "eco.json", "--wait", "30s")
	lacks(t, "stderr", r.err, "good")
	if e := g.app("good"); e.Env.Status != "online" {
		t.Error(e)
	}
}

// TestWordsOfARunWhoseSuccessorHasBegun: on a busy machine a start asked for the
// last words of a failed run after the next had begun, and got none.
func TestWordsOfARunWhoseSuccessorHasBegun(t *testing.T) {
	g := newGopm(t)
	g.script("run", `[ -e second ] && exec sleep 1000; touch second; echo "no luck" >&2; exit 4`)
	g.run("start", "./run", "--no-wait")
	g.await("run", "a second run", func(e entry) bool { return e.Env.Restarts == 1 && e.Env.Status == "online" })
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", g.home+"/gopm.sock")
	}}}
	answer, err := client.Get("http://gopm/v1/output?target=run&lines=5")
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	contains(t, "its last words", string(text), "no luck")
}

func TestMissingScript(t *testing.T) {
	g := newGopm(t)
	g.fail(2, []string{g.dir + "/nofile.sh"}, "start", "nofile.sh")
	g.file("eco.json", `{"apps": [{"name": "a", "script": "nofile.js"}]}`)
	g.fail(2, []string{"eco.json:1:35: apps[0].script: no such file", "nofile.js"}, "start", "eco.json")
	if all := g.list(); len(all) != 0 {
		t.Errorf("it started %v", all)
	}
}

func TestNotExecutable(t *testing.T) {
	g := newGopm(t)
	g.file("tool", "\x7fELF\x00\x00")
	g.fail(2, []string{"tool", "chmod +x"}, "start", "./tool")
	g.fail(2, []string{"tool", "not executable"}, "start", "./tool", "--interpreter", "none")
	if all := g.list(); len(all) != 0 {
		t.Errorf("it started %v", all)
	}
}

// What looks like a program may not be one: the kernel's refusal has to be shown.
func TestSpawnThatTheKernelRefuses(t *testing.T) {
	g := newGopm(t)
	g.script("tool", "")
	path := g.file("tool", "\x7fELF\x00\x00")
	if r := g.try("start", path); r.code == 0 {
		t.Fatal(r)
	} else {
		contains(t, "stderr", r.err, "tool", "cannot be started", "exec format error")
	}
	contains(t, "ls", g.run("ls"), "exec format error")
}

func TestProgramThatVanishesAndReturns(t *testing.T) {
	g := newGopm(t)
	path := g.sleeper("run")
	g.run("start", "./run", "--min-uptime", "100ms", "--restart-delay", "200")
	g.file("run", "") // no execute bit is lost by writing; the kernel refuses an empty file
	must(t, syscall.Unlink(path))
	must(t, syscall.Kill(g.app("run").Pid, syscall.SIGKILL))
	g.await("run", "trouble", func(e entry) bool { return e.Env.Unstable >= 2 })
	g.sleeper("run")
	g.awaitStatus("run", "online")
}

// A job that takes longer than gopm start waits for others is waited for as long as its
// file says, and its failure is one of the start, with its last lines.
func TestALongJobIsWaitedFor(t *testing.T) {
	g := newGopm(t)
	g.script("migrate", "sleep 6; [ ! -e broken ] || { echo it does not work >&2; exit 1; }")
	g.sleeper("web")
	g.file("eco.json", `{"apps": [{"name": "web", "script": "./web", "min_uptime": "100ms", "depends_on": {"migrate": "completed"}},
		{"name": "migrate", "script": "./migrate", "min_uptime": "100ms", "autorestart": false, "ready_timeout": "1000s"}]}`)
	g.run("start", "eco.json")
	if e := g.app("web"); e.Env.Status != "online" {
		t.Errorf("start didn't wait for it: %v", e)
	}
	g.run("stop", "all")
	g.file("broken", "")
	g.fail(1, []string{"migrate:0 failed: exited with code 1", "it does not work", "web:0 is not started: it waits for migrate (failed)"}, "start", "eco.json")
}

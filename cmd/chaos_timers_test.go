package cmd_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"syscall"
	"testing"
	"time"

	"gopm/daemon/api"
)

// Timers, and ends that nobody saw, across the death of the daemon.

// nextDaemon kills the daemon, and returns when the next one is there.
func (g *gopm) nextDaemon() {
	g.Helper()
	old := g.daemonNow()
	if !strike(old) {
		g.Fatal("there is no daemon")
	}
	g.another("daemon", g.daemonNow, old)
}

// between fails unless a span has about the length it should have. Late may be what
// a busy machine makes of it.
func between(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s took %v, want %v to %v", what, got, least, most)
	}
}

// The wait before a restart has its length, however often the daemon dies in it.
func TestBackoffSurvivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.run("start", g.castFile(role{"crash", "-end 3 -life 1ms", `"exp_backoff_restart_delay": "3s", "min_uptime": "10s"`}), "--no-wait")
	g.awaitStatus("crash", "waiting restart")
	g.nextDaemon()
	g.nextDaemon()
	if e := g.app("crash"); e.Env.Status != "waiting restart" || e.Env.Restarts != 0 || e.Env.ExitCode == nil || *e.Env.ExitCode != 3 {
		t.Errorf("in the wait: %v", e)
	}
	starts := g.awaitStarts("crash", 2)
	between(t, "the wait before the restart", starts[1].at.Sub(starts[0].at), 2600*time.Millisecond, 6*time.Second)
}

// A stop under way goes on: the kill comes when it was due.
func TestStopSurvivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.cast(role{"stubborn", "-stubborn -every 5ms", `"kill_timeout": "3s"`})
	pid := g.app("stubborn").Pid
	began := time.Now()
	stop := g.command("stop", "stubborn")
	must(t, stop.Start())
	g.awaitStatus("stubborn", "stopping")
	g.nextDaemon()
	g.nextDaemon()
	if e := g.app("stubborn"); e.Env.Status != "stopping" || e.Pid != pid {
		t.Errorf("in the stop: %v", e)
	}
	eventually(t, soon, gone(pid))
	between(t, "the stop", time.Since(began), 2900*time.Millisecond, 6*time.Second)
	e := g.awaitStatus("stubborn", "stopped")
	if e.Env.ExitSignal != "SIGKILL" || e.Env.Restarts != 0 {
		t.Errorf("after the stop: %v", e)
	}
	_ = stop.Wait() // it may fail: its answer was lost
	if n := len(g.starts("stubborn")); n != 1 {
		t.Errorf("it ran %d times", n)
	}
	g.run("kill")
	if err := g.complete("stubborn", false, 1); err != nil {
		t.Error(err)
	}
}

// A start is waited for across the daemon's death, and an app is stable when it has
// lived for min_uptime, not later.
func TestStartUpSurvivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	path := g.castFile(role{"slow", "-every 5ms", `"min_uptime": "3s"`})
	began := time.Now()
	done := make(chan result, 1)
	go func() { // ends with its command
		r, _ := g.finish(g.command("start", path))
		done <- r
	}()
	g.awaitStarts("slow", 1)
	g.awaitStatus("slow", "launching")
	g.nextDaemon()
	g.nextDaemon()
	if e := g.app("slow"); e.Env.Status != "launching" {
		t.Errorf("in its first seconds: %v", e)
	}
	if r := <-done; r.code != 0 {
		t.Errorf("start: %v", r)
	}
	between(t, "the start", time.Since(began), 2900*time.Millisecond, 6*time.Second)
	if e := g.app("slow"); e.Env.Status != "online" || e.Env.Restarts != 0 || len(g.starts("slow")) != 1 {
		t.Errorf("after the start: %v", e)
	}
}

// What was given up stays given up; what is tried again later is, when it was due.
func TestErroredSurvivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	path := g.castFile(
		role{"final", "-end 3 -life 1ms", `"min_uptime": "5s", "max_restarts": 3, "exp_backoff_restart_delay": "1ms"`},
		role{"again", "-end 3 -life 1ms", `"min_uptime": "5s", "exp_backoff_restart_delay": "1ms"`})
	g.run("start", path, "--no-wait")
	for _, name := range []string{"final", "again"} {
		g.awaitStatus(name, "errored")
	}
	before := g.instances()
	runs := len(g.starts("again"))
	g.nextDaemon()
	now := g.instances()
	for name, was := range before {
		is := now[name]
		if is.Process.Status != "errored" || is.Process.Restarts != was.Process.Restarts || !is.Process.NextTry.Equal(was.Process.NextTry) {
			t.Errorf("%s: %+v; before: %+v", name, is.Process, was.Process)
		}
	}
	if now["again"].Process.NextTry.IsZero() || !now["final"].Process.NextTry.IsZero() {
		t.Errorf("next tries: again %v, final %v", now["again"].Process.NextTry, now["final"].Process.NextTry)
	}
	if os.Getenv(chaosSwitch) != "" { // 30 s
		eventually(t, time.Minute, func() error {
			if n := len(g.starts("again")); n <= runs {
				return fmt.Errorf("again ran %d times as before", n)
			}
			return nil
		})
		late := g.starts("again")[runs].at.Sub(before["again"].Process.NextTry)
		between(t, "the next try", late, -100*time.Millisecond, 3*time.Second)
	}
	if n := len(g.starts("final")); n != 3 {
		t.Errorf("final ran %d times", n)
	}
}

// instances are all instances by name, as the daemon tells them.
func (g *gopm) instances() map[string]api.Instance {
	g.Helper()
	var all []api.Instance
	must(g.T, json.Unmarshal([]byte(g.run("ls", "--json")), &all))
	byName := map[string]api.Instance{}
	for _, in := range all {
		byName[in.Name] = in
	}
	return byName
}

// Ends while no daemon is there have their code or signal, and the successor has the
// same environment.
func TestEndsThatNoDaemonSaw(t *testing.T) {
	g := newGopm(t)
	g.env = append(g.env, "FROM_SHELL=of the first start")
	g.cast(
		role{"killed", "-every 2ms -err", `"env": {"DECLARED": "yes"}`},
		role{"exits", "-every 2ms -life 1500ms -end 3", `"restart_delay": "1h"`},
		role{"done", "-every 2ms -life 1500ms -end 0", `"stop_exit_codes": [0]`})
	old := g.app("killed")
	environ := environOf(t, old.Pid)
	keeper, daemon := g.keeperNow(), g.daemonNow()
	must(t, syscall.Kill(keeper, syscall.SIGSTOP)) // so that it starts no daemon yet
	strike(daemon, old.Pid)
	for _, name := range []string{"killed", "exits", "done"} {
		eventually(t, soon, gone(g.starts(name)[0].pid))
	}
	must(t, syscall.Kill(keeper, syscall.SIGCONT))
	g.awaitStarts("killed", 2)
	e := g.awaitStatus("killed", "online")
	if e.Env.Restarts != 1 || e.Env.ExitSignal != "SIGKILL" {
		t.Errorf("killed: %v", e)
	}
	if e := g.awaitStatus("exits", "waiting restart"); e.Env.ExitCode == nil || *e.Env.ExitCode != 3 || e.Env.Restarts != 0 {
		t.Errorf("exits: %v", e)
	}
	if e := g.awaitStatus("done", "stopped"); e.Env.ExitCode == nil || *e.Env.ExitCode != 0 || e.Env.Restarts != 0 {
		t.Errorf("done: %v", e)
	}
	if now := environOf(t, e.Pid); !maps.Equal(environ, now) {
		t.Errorf("environment %v, before %v", now, environ)
	}
	g.run("kill")
	for _, name := range []string{"killed", "exits", "done"} {
		if err := g.complete(name, false, 1); err != nil {
			t.Error(err)
		}
	}
}

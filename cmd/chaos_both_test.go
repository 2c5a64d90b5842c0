package cmd_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Keeper and daemon killed in the same instant: the apps go on, and the next gopm
// finds them. Nothing runs twice.

// strikeBoth kills keeper and daemon, once the state file says what is.
func (g *gopm) strikeBoth() {
	g.Helper()
	eventually(g.T, soon, func() error { return g.stateIs(g.list()) })
	daemon, keeper := g.daemonNow(), g.keeperNow()
	if daemon == 0 || keeper == 0 {
		g.Fatalf("daemon %d, keeper %d", daemon, keeper)
	}
	g.strikeTwo(keeper, daemon)
}

// awaitLine waits until a stream's files hold the line n of an app's only run.
func (g *gopm) awaitLine(name string, n int) {
	g.Helper()
	eventually(g.T, soon, func() error {
		got, err := countLines(g.logFiles(g.home+"/logs/"+name+"-out.log"), name, 1)
		if err == nil && got[0] <= n {
			err = fmt.Errorf("%s: %d lines, want more than %d", name, got[0], n)
		}
		return err
	})
}

func TestBothDeadWithNodePythonAndShell(t *testing.T) {
	g := newGopm(t)
	g.file("node.js", `let n = 0; setInterval(() => console.log("node 0 " + n++ + " x"), 3)`)
	g.file("python.py", "import time\nn = 0\nwhile True:\n    print(f'python 0 {n} x', flush=True)\n    n += 1\n    time.sleep(0.003)\n")
	g.script("shell.sh", `n=0; while :; do echo "shell 0 $n x"; n=$((n+1)); sleep 0.01; done`)
	names := []string{"node", "python", "shell"}
	g.run("start", "node.js", "python.py", "shell.sh", "--min-uptime", "100ms")
	pids := g.pids()
	for _, name := range names {
		g.awaitLine(name, 10)
	}
	for round := range 2 {
		g.strikeBoth()
		for _, args := range []string{"ls", "info node", "ls"} {
			r := g.try(strings.Fields(args)...)
			if r.code == 0 {
				t.Errorf("gopm %s succeeds without a daemon: %v", args, r)
			}
			contains(t, args, r.out+r.err, "daemon not running, 3 apps still alive: run gopm resurrect", fmt.Sprint(pids["node:0"]))
		}
		if g.daemonNow() != 0 || g.keeperNow() != 0 {
			t.Fatal("ls has started a daemon")
		}
		g.run("resurrect")
		if now := g.pids(); fmt.Sprint(now) != fmt.Sprint(pids) {
			t.Fatalf("pids %v, before %v", now, pids)
		}
		for _, name := range names {
			g.awaitLine(name, 100*(round+1))
		}
		for _, e := range g.list() {
			if e.Env.Restarts != 0 || e.Env.Status != "online" {
				t.Error(e)
			}
		}
	}
	for _, p := range belongingTo(g.home) { // nobody has a second copy
		if strings.HasPrefix(p.cmdline, "node ") && p.pid != pids["node:0"] || strings.Contains(p.cmdline, "shell.sh") && p.pid != pids["shell:0"] {
			t.Errorf("a second copy: %v", p)
		}
	}
	g.run("kill")
	for _, name := range names {
		if _, err := countLines(g.logFiles(g.home+"/logs/"+name+"-out.log"), name, 1); err != nil {
			t.Error(err)
		}
	}
}

// The first command after both died adopts what lives before it does its work.
func TestBothDeadFirstCommand(t *testing.T) {
	for args, want := range map[string]struct{ a, b int }{ // runs of a and b after it
		"start cast.json":   {1, 1},
		"start a":           {1, 1},
		"start ./other":     {1, 1},
		"stop a":            {1, 1},
		"restart a":         {2, 1},
		"restart cast.json": {2, 2},
		"delete a":          {1, 1},
		"resurrect":         {1, 1},
		"kill":              {1, 1},
	} {
		t.Run(args, func(t *testing.T) {
			g := newGopm(t)
			g.sleeper("other")
			g.cast(role{"a", "-every 2ms", ""}, role{"b", "-every 2ms -err", ""})
			pids := g.pids()
			g.strikeBoth()
			g.run(append(strings.Fields(args), map[bool][]string{true: {"--min-uptime", "100ms"}}[strings.Contains(args, "other")]...)...)
			g.afterFirst(strings.Fields(args)[0], pids, want.a, want.b)
			g.run("kill")
			for _, name := range []string{"a", "b"} {
				if err := g.complete(name, false, 1); err != nil {
					t.Error(err)
				}
			}
			if err := g.complete("b", true, 1); err != nil {
				t.Error(err)
			}
		})
	}
}

// afterFirst compares what runs after a command with what is meant to.
func (g *gopm) afterFirst(command string, pids map[string]int, runsOfA, runsOfB int) {
	g.Helper()
	g.awaitStarts("a", runsOfA) // a successor may be online before it has begun its account
	g.awaitStarts("b", runsOfB)
	if a, b := len(g.starts("a")), len(g.starts("b")); a != runsOfA || b != runsOfB {
		g.Errorf("a ran %d times and b %d, want %d and %d", a, b, runsOfA, runsOfB)
	}
	now := g.actorsNow()
	wantA, wantB := 1, 1
	switch command {
	case "stop", "delete":
		wantA = 0
	case "kill":
		wantA, wantB = 0, 0
	}
	if len(now["a"]) != wantA || len(now["b"]) != wantB {
		g.Errorf("there run %v, before: %v", now, pids)
	}
	if runsOfB == 1 && wantB == 1 && now["b"][0] != pids["b:0"] {
		g.Errorf("b runs as %v, before: %v", now, pids)
	}
}

// What has died while nobody was there ended in an unknown way, which is no success,
// and is restarted once; what was stopped stays so.
func TestBothDeadAndAnAppToo(t *testing.T) {
	g := newGopm(t)
	g.cast(role{"dies", "-every 2ms", ""}, role{"lives", "-every 2ms", ""}, role{"stopped", "-every 2ms", ""}, role{"once", "-every 2ms", `"autorestart": false`})
	g.run("stop", "stopped")
	g.strikeBoth()
	for _, name := range []string{"dies", "once"} {
		pid := g.starts(name)[0].pid
		strike(pid)
		eventually(t, soon, gone(pid))
	}
	contains(t, "ls", g.try("ls").err, "daemon not running, 1 app still alive: run gopm resurrect")
	g.run("resurrect")
	g.awaitStarts("dies", 2)
	e := g.awaitStatus("dies", "online")
	if e.Env.Restarts != 1 || e.Env.ExitSignal != "" || e.Env.ExitCode != nil && *e.Env.ExitCode == 0 {
		t.Errorf("restarted after an unknown end: %v", e)
	}
	contains(t, "info", g.run("info", "dies"), "not known")
	if e := g.app("stopped"); e.Env.Status != "stopped" || len(g.starts("stopped")) != 1 {
		t.Errorf("want it stopped as before: %v", e)
	}
	if e := g.app("once"); e.Env.Status == "online" || len(g.starts("once")) != 1 {
		t.Errorf("it is not to be restarted: %v", e)
	}
	g.run("kill")
	if err := g.complete("lives", false, 1); err != nil {
		t.Error(err)
	}
	if _, err := g.cutRuns("dies", false, 1); err != nil { // what was in its pipe went with it
		t.Error(err)
	}
}

// Both die right after the list was kept, with some programs started and others not
// yet: what was ordered is done by the next gopm, and meanwhile what lives is listed.
func TestBothDeadWhileManyAreStarted(t *testing.T) {
	g := newGopm(t)
	const apps = 30
	var all []string
	for i := range apps {
		all = append(all, fmt.Sprintf(`"name": "a%d"`, i))
	}
	g.eco("eco.json", all...)
	done := make(chan result)
	cmd := g.command("start", "eco.json")
	go func() { // ends with the command; waited for below
		r, err := g.finish(cmd)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	kept := func() bool {
		_, err := os.Stat(g.home + "/state.json")
		_, nextErr := os.Stat(g.home + "/state.json.next")
		return err == nil || nextErr == nil
	}
	for deadline := time.Now().Add(soon); !kept() && time.Now().Before(deadline); {
	}
	g.strikeTwo(g.keeperNow(), g.daemonNow())
	<-done
	eventually(t, soon, func() error {
		alive := 0
		for _, p := range belongingTo(g.home) {
			if strings.HasPrefix(p.cmdline, "sleep ") {
				alive++
			}
		}
		if says := g.try("ls").err; alive > 0 && !strings.Contains(says, fmt.Sprintf("daemon not running, %d app", alive)) {
			return fmt.Errorf("%d programs run, ls says: %s", alive, says)
		}
		return nil
	})
	g.run("resurrect")
	eventually(t, soon, func() error {
		if n := strings.Count(g.run("jlist"), `"status":"online"`); n != apps {
			return fmt.Errorf("%d apps are online, want %d", n, apps)
		}
		return nil
	})
}

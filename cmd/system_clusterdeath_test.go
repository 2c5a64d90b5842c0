package cmd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
)

// Cluster mode outlives gopm: whatever of it dies, who connects is served.

const twoInstances = `"exec_mode": "cluster", "instances": 2, "min_uptime": "100ms"`

// startPair starts a test server twice on one port, and waits until both are online.
func (g *gopm) startPair(kind string) (target string) {
	g.Helper()
	target = fmt.Sprintf("127.0.0.1:%d", freePort(g.T))
	g.startWeb("web", kind, "-account "+target, twoInstances)
	answering(g.T, target)
	for i := range 2 {
		eventually(g.T, soon, func() error { return g.isReplaced(fmt.Sprintf("web:%d", i), 0) })
	}
	return target
}

// tireless is the daemon. Its keeper won't give up although daemons die so often.
func (g *gopm) tireless() (daemon int) {
	g.Helper()
	daemon, keeper := g.daemon()
	must(g.T, syscall.Kill(keeper, syscall.SIGUSR1))
	return daemon
}

// replaced kills an instance and waits for its successor.
func (g *gopm) replaced(name string) death {
	g.Helper()
	old := g.pids()[name]
	d := g.slay(old)
	eventually(g.T, soon, func() error { return g.isReplaced(name, old) })
	return d
}

// TestDaemonDeathsUnderLoad are not to be noticed, and no instance is started again.
func TestDaemonDeathsUnderLoad(t *testing.T) {
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := g.startPair(kind)
			before := fmt.Sprint(g.pids())
			r := underLoad(t, load.Plan{Target: target, Rate: 150, Timeout: soon}, func() {
				for range 12 {
					g.killHard(g.tireless())
				}
			})
			if r.Failed() > 0 || len(r.Servers) != 2 {
				t.Error(r.Text())
			}
			if after := fmt.Sprint(g.pids()); after != before {
				t.Errorf("the instances are %s, were %s", after, before)
			}
			// And afterwards all is as it was.
			var deaths []death
			r = underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
				for i := range 4 {
					deaths = append(deaths, g.replaced(fmt.Sprintf("web:%d", i%2)))
				}
			})
			if lost := unexplained(r, deaths); len(lost) > 0 {
				t.Error(r.Text(), lost)
			}
		})
	}
}

// TestAllDie: daemon and instances at the same time, again and again. What a killed
// instance had accepted is lost with it, and nothing else.
func TestAllDie(t *testing.T) {
	const rounds = 8
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := g.startPair(kind)
			var deaths []death
			r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: 2 * soon}, func() {
				for i := range rounds {
					name := fmt.Sprintf("web:%d", i%2)
					old := g.pids()[name]
					daemon := g.tireless()
					from := time.Now()
					if i%4 < 2 { // the death of the instance is seen by this daemon, or by the next one
						g.killHard(old)
						g.killHard(daemon)
					} else {
						g.killHard(daemon)
						g.killHard(old)
					}
					eventually(t, soon, gone(old))
					deaths = append(deaths, death{from, time.Now()})
					eventually(t, soon, func() error { return g.isReplaced(name, old) })
				}
			})
			a, err := g.account(r, "web")
			must(t, err)
			if lost := unexplained(r, deaths); len(lost) > 0 || len(a.Twice) > 0 {
				t.Errorf("%s; %s; %v", r.Text(), a.Text(), lost)
			}
		})
	}
}

// TestABindWhileThereIsNoDaemon waits for the next one.
func TestABindWhileThereIsNoDaemon(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "go", "-account -boot-ms 1500 "+target, `"exec_mode": "cluster", "instances": 1, "min_uptime": "100ms"`)
	g.awaitStatus("web", "online")
	pid := g.app("web").Pid
	daemon, keeper := g.daemon()
	must(t, syscall.Kill(keeper, syscall.SIGSTOP)) // it can't start another
	g.killHard(daemon)
	eventually(t, soon, sitsInBind(pid))
	must(t, syscall.Kill(keeper, syscall.SIGCONT))
	if got := answering(t, target); got != fmt.Sprint(pid) {
		t.Errorf("answered by %s, want %d", got, pid)
	}
	if e := g.app("web"); e.Pid != pid || e.Env.Restarts != 0 {
		t.Errorf("it was %d, is %v", pid, e)
	}
}

// sitsInBind looks whether a thread of a process waits in bind for an answer.
func sitsInBind(pid int) func() error {
	return func() error {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		for _, path := range tasks {
			if text, _ := os.ReadFile(path); strings.HasPrefix(string(text), fmt.Sprintf("%d ", syscall.SYS_BIND)) {
				return nil
			}
		}
		return fmt.Errorf("no thread of process %d is in bind", pid)
	}
}

// TestTheKeeperDiesUnderLoad: the next keeper has everything that the next daemon needs.
func TestTheKeeperDiesUnderLoad(t *testing.T) {
	g := newGopm(t)
	target := g.startPair("node")
	var deaths []death
	r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
		for i := range 2 {
			daemon, keeper := g.daemon()
			g.killHard(keeper)
			eventually(t, soon, func() error {
				if now, is := g.daemon(); now != daemon || is == keeper || g.keeperNow() != is { // it begins with the lock
					return fmt.Errorf("daemon %d with keeper %d, before: %d, %d", now, is, daemon, keeper)
				}
				return nil
			})
			g.killDaemon()
			deaths = append(deaths, g.replaced(fmt.Sprintf("web:%d", i)))
		}
	})
	if lost := unexplained(r, deaths); len(lost) > 0 {
		t.Error(r.Text(), lost)
	}
}

// TestBothDieUnderLoad: what lives goes on to serve, and when gopm is back a crash costs
// nothing again.
func TestBothDieUnderLoad(t *testing.T) {
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := g.startPair(kind)
			before := fmt.Sprint(g.pids())
			r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
				g.killBoth()
				said := g.try("resurrect")
				contains(t, "resurrect", said.out+said.err, "web: the keeper has died together with the daemon", "gopm reload web")
				if after := fmt.Sprint(g.pids()); after != before {
					t.Errorf("the instances are %s, were %s", after, before)
				}
				contains(t, "info", g.run("info", "0"), target)
				g.killDaemon() // the next one knows as much
			})
			if r.Failed() > 0 || len(r.Servers) != 2 {
				t.Error(r.Text())
			}
			var deaths []death
			r = underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
				for i := range 4 {
					deaths = append(deaths, g.replaced(fmt.Sprintf("web:%d", i%2)))
				}
			})
			if lost := unexplained(r, deaths); len(lost) > 0 {
				t.Error(r.Text(), lost)
			}
		})
	}
}

// TestUpdateUnderLoad: another binary takes over, and nobody notices.
func TestUpdateUnderLoad(t *testing.T) {
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			i := ownBinary(newGopm(t))
			newer, err := buildNewer()
			must(t, err)
			target := i.startPair(kind)
			before := fmt.Sprint(i.pids())
			r := underLoad(t, load.Plan{Target: target, Rate: 150, Timeout: soon}, func() {
				for _, next := range []string{newer, i.first} {
					i.install(next, 0o755)
					i.run("update")
				}
			})
			if after := fmt.Sprint(i.pids()); r.Failed() > 0 || len(r.Servers) != 2 || after != before {
				t.Errorf("%s; the instances are %s, were %s", r.Text(), after, before)
			}
			i.replaced("web:1")
			answering(t, target)
		})
	}
}

// TestTheDaemonDiesInAReload: whichever process has the place keeps it, the other one is
// drained and ended, and nobody notices.
func TestTheDaemonDiesInAReload(t *testing.T) {
	for _, kind := range []string{"go", "node"} {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := g.startPair(kind)
			r := underLoad(t, load.Plan{Target: target, Rate: 100, SlowPath: "/slow?ms=200", SlowShare: 0.1, Timeout: soon}, func() {
				for _, moment := range []string{"reload: starting", "it takes over from", "the old process (pid ", "reload: starting", "it takes over from"} {
					daemon := g.tireless()
					ended := g.reloadUntil(moment)
					g.killHard(daemon)
					<-ended // it says that it doesn't know what came of it, or has just ended
					eventually(t, soon, g.onlyPair)
				}
			})
			if r.Failed() > 0 {
				t.Error(r.Text())
			}
			<-g.reloadUntil("the reload is done")
		})
	}
}

// reloadUntil reloads until the daemon's log says something once more. What the daemon
// before has left may have to end first.
func (g *gopm) reloadUntil(moment string) (ended chan struct{}) {
	g.Helper()
	before := strings.Count(g.log(), moment)
	begin := func() {
		ended = make(chan struct{})
		go func() { // ends with the command; waited for by who gets ended
			defer close(ended)
			if _, err := g.finish(g.command("reload", "web")); err != nil {
				g.Error(err)
			}
		}()
	}
	begin()
	eventually(g.T, 2*soon, func() error {
		if strings.Count(g.log(), moment) > before {
			return nil
		}
		select {
		case <-ended:
			begin()
		default:
		}
		return fmt.Errorf("the log doesn't say %q again", moment)
	})
	return ended
}

// onlyPair says whether exactly the two instances of the list run.
func (g *gopm) onlyPair() error {
	pids := g.pids()
	running := map[int]bool{}
	for _, p := range belongingTo(g.home) {
		if !strings.Contains(p.cmdline, "gopm ") {
			running[p.pid] = true
		}
	}
	if len(running) != 2 || len(pids) != 2 || !running[pids["web:0"]] || !running[pids["web:1"]] {
		return fmt.Errorf("the list has %v, and %v run", pids, running)
	}
	for i := range 2 {
		if err := g.isReplaced(fmt.Sprintf("web:%d", i), 0); err != nil {
			return err
		}
	}
	return nil
}

// TestAReloadIsNotDoneByTheNextDaemon: that one cleans up, which the command must not take
// for what it has asked for.
func TestAReloadIsNotDoneByTheNextDaemon(t *testing.T) {
	g := newGopm(t)
	target := g.startPair("go")
	slow := load.Start(context.Background(), load.Plan{Target: target, Path: "/slow?ms=3000", Rate: 200, Count: 20, Timeout: 2 * soon})
	reload := g.command("reload", "web")
	done := make(chan result, 1)
	go func() { // ends with the command
		r, err := g.finish(reload)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	eventually(t, soon, func() error {
		if !strings.Contains(g.log(), "it takes over from") {
			return fmt.Errorf("web:0 is not replaced yet")
		}
		return nil
	})
	g.killDaemon()
	if r := <-done; r.code != 1 || !strings.Contains(r.err, "the daemon has ended before this was done") {
		t.Errorf("gopm reload: %v", r)
	}
	if r := slow.Wait(); r.Failed() > 0 {
		t.Error(r.Text())
	}
}

// TestTheActiveOneOutlivesBoth: gopm's state says who was told, and nobody else is.
func TestTheActiveOneOutlivesBoth(t *testing.T) {
	g := newGopm(t)
	url := g.flows(flowState)
	first := awaitActive(t, url, 0)
	g.awaitSpares("flows", 1, 1)
	eventually(t, soon, func() error {
		for _, name := range []string{"state.json", "state.json.next"} {
			if text, _ := os.ReadFile(filepath.Join(g.home, name)); strings.Contains(string(text), `"duty":"active"`) {
				return nil
			}
		}
		return fmt.Errorf("the state says of none that it is active")
	})
	g.killBoth()
	g.run("resurrect")
	g.awaitSpares("flows", 1, 1)
	for range 20 {
		if pid, state, err := whoAnswers(url); err != nil || pid != first || state != "start" {
			t.Fatalf("%d answers, %s, %v, want %d", pid, state, err, first)
		}
	}
	g.killHard(first)
	awaitActive(t, url, first)
	log := g.run("logs", "flows", "--nostream", "--lines", "50")
	if n := strings.Count(log, "start "); n != 2 {
		t.Errorf("%d were told to start, want the first one and the one after its death:\n%s", n, log)
	}
}

// TestDeathsOfAnOrdinaryUsersGopm: nothing of it needs privileges.
func TestDeathsOfAnOrdinaryUsersGopm(t *testing.T) {
	g := newGopm(t).as(t, "nobody")
	target := g.startPair("go")
	for _, kill := range []func(){g.killDaemon, func() { g.killBoth(); g.run("resurrect") }, g.killDaemon} {
		r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, kill)
		if r.Failed() > 0 || len(r.Servers) != 2 {
			t.Error(r.Text())
		}
		r = underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
			g.replaced("web:0")
			g.replaced("web:1")
		})
		if lost := r.Reset + r.Cut; r.Failed() > lost || lost > 4 {
			t.Error(r.Text())
		}
	}
	lacks(t, "gopm.log", g.log(), "cannot")
}

// TestTheDaemonDiesWhileItScalesDown: who was to go is drained and ended by the next one.
func TestTheDaemonDiesWhileItScalesDown(t *testing.T) {
	g := newGopm(t)
	target := g.startPair("go")
	r := underLoad(t, load.Plan{Target: target, Rate: 50, SlowPath: "/slow?ms=700", SlowShare: 0.3, Timeout: soon}, func() {
		daemon := g.tireless()
		scale := g.command("scale", "web", "1")
		must(t, scale.Start())
		eventually(t, soon, func() error {
			if pids := g.pids(); len(pids) != 1 {
				return fmt.Errorf("the list has %v", pids)
			}
			return nil
		})
		g.killHard(daemon)
		_ = scale.Wait() // it says that it doesn't know what came of it, or has just ended
		eventually(t, soon, func() error {
			left := 0
			for _, p := range belongingTo(g.home) {
				if !strings.Contains(p.cmdline, "gopm ") {
					left++
				}
			}
			if pids := g.pids(); left != 1 || len(pids) != 1 {
				return fmt.Errorf("the list has %v, and %d run", pids, left)
			}
			return nil
		})
	})
	if r.Failed() > 0 {
		t.Error(r.Text())
	}
}

// TestSparesAfterBothHaveDied: a spare that sat in its bind got an error there, and is
// started again; then it takes a place as before.
func TestSparesAfterBothHaveDied(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "go", "-account "+target, `"exec_mode": "cluster", "instances": 1, "spares": 1, "min_uptime": "100ms"`)
	first := answering(t, target)
	g.awaitSpares("web", 1, 1)
	g.killBoth()
	g.run("resurrect")
	g.awaitSpares("web", 1, 1)
	if now := answering(t, target); now != first {
		t.Errorf("%s answers, want %s", now, first)
	}
	r := underLoad(t, load.Plan{Target: target, Rate: 50, Timeout: soon}, func() {
		pid, err := strconv.Atoi(first)
		must(t, err)
		g.killHard(pid)
		g.awaitSpares("web", 1, 1)
	})
	if lost := r.Reset + r.Cut; r.Failed() > lost || lost > 2 || len(r.Servers) != 2 {
		t.Error(r.Text())
	}
}

// TestBothDieInAReload: who was being replaced isn't known to anybody any more. It
// finishes what it has begun, and doesn't stay beside its successor.
func TestBothDieInAReload(t *testing.T) {
	for _, kind := range []string{"go", "node"} {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := g.startPair(kind)
			slow := load.Start(context.Background(), load.Plan{Target: target, Path: "/slow?ms=5000", Rate: 200, Count: 20, Timeout: 2 * soon})
			before, log := g.pids()["web:0"], g.list()[0].Env.Out
			eventually(t, soon, func() error { // the first may be answering's
				if text, err := os.ReadFile(log); err != nil || strings.Count(string(text), " begin\n") < 3 {
					return fmt.Errorf("web:0 has not begun its requests: %v", err)
				}
				return nil
			})
			ended := g.reloadUntil("it takes over from")
			g.killBoth()
			<-ended
			g.run("resurrect")
			contains(t, "the daemon's log", g.log(), "is not in the list")
			eventually(t, 2*soon, gone(before))
			eventually(t, soon, g.onlyPair)
			if r := slow.Wait(); r.Failed() > 0 {
				t.Error(r.Text())
			}
			allAnswer(t, target, 2)
		})
	}
}

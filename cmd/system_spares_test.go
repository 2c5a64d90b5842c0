package cmd_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"gopm/bench/load"
	"gopm/daemon/api"
)

// places are what there is of each instance of an app, by its number.
func (g *gopm) places(name string) map[int]api.Instance {
	g.Helper()
	var all []api.Instance
	must(g.T, json.Unmarshal([]byte(g.run("ls", "--json")), &all))
	found := map[int]api.Instance{}
	for _, in := range all {
		if in.Name == name {
			found[in.Index] = in
		}
	}
	return found
}

// awaitSpares waits until so many instances of an app wait, and so many are active;
// these are returned.
func (g *gopm) awaitSpares(name string, active, spares int) (serving map[int]int) {
	g.Helper()
	eventually(g.T, 3*soon, func() error {
		serving = map[int]int{}
		held := 0
		for index, in := range g.places(name) {
			switch {
			case in.Process.Status != "online":
			case in.Process.Standby:
				held++
			default:
				serving[index] = in.Process.Pid
			}
		}
		if len(serving) != active || held != spares {
			return fmt.Errorf("%d active and %d spares, want %d and %d", len(serving), held, active, spares)
		}
		return nil
	})
	return serving
}

// underWay is how many requests a process may have accepted and not answered when it is
// killed: those that come in the time it takes to answer, which is long on a busy machine.
func underWay(r load.Result, rate float64) int { return 2 + int(rate*r.Fast.P99.Seconds()) }

// TestASpareOfASlowStarter: it answers long before another could have booted, with what
// connected meanwhile, and nobody is refused.
func TestASpareOfASlowStarter(t *testing.T) {
	const boot, kills = 3 * time.Second, 3
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("slow", "node", fmt.Sprintf("-account -boot-ms %d %s", boot.Milliseconds(), target), `"exec_mode": "cluster", "instances": 1, "spares": 1`)
	answering(t, target)
	r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
		old := 0
		for range kills {
			eventually(t, soon, func() error {
				for _, pid := range g.awaitSpares("slow", 1, 1) {
					if pid != old {
						old = pid
						return nil
					}
				}
				return fmt.Errorf("%d is still there", old)
			})
			g.killHard(old)
		}
	})
	if accepted := r.Reset + r.Cut; r.Failed() > accepted || accepted > kills*underWay(r, 100) {
		t.Error(r.Text())
	}
	if r.Fast.Max > boot/2 {
		t.Errorf("the slowest answer took %v, hardly less than a boot", r.Fast.Max)
	}
	if len(r.Servers) != kills+1 {
		t.Errorf("answers came from %d processes, want %d: %v", len(r.Servers), kills+1, r.Servers)
	}
	eventually(t, 2*soon, func() error {
		if out := g.run("ls"); !strings.Contains(out, "│ standby") {
			return fmt.Errorf("no spare in:\n%s", out)
		}
		return nil
	})
	a, err := g.account(r, "slow")
	must(t, err)
	if len(a.Twice) > 0 {
		t.Error(a.Text())
	}
}

// TestSparesOfAnOrdinaryUser: without any privilege they are the same.
func TestSparesOfAnOrdinaryUser(t *testing.T) {
	g := newGopm(t).as(t, "nobody")
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "python", target, `"exec_mode": "cluster", "instances": 1, "spares": 1, "min_uptime": "300ms"`)
	answering(t, target)
	for range 2 {
		old := 0
		for _, pid := range g.awaitSpares("web", 1, 1) {
			old = pid
		}
		g.killHard(old)
		eventually(t, soon, func() error {
			if pid := answering(t, target); pid == fmt.Sprint(old) {
				return fmt.Errorf("%s answers still", pid)
			}
			return nil
		})
		eventually(t, soon, func() error {
			for _, in := range g.places("web") {
				if in.Process.Pid == old {
					return fmt.Errorf("%d is still in the list", old)
				}
			}
			return nil
		})
	}
	contains(t, "the log", g.log(), "takes the place of")
}

// TestKillStormWithSpares: whoever is killed, active or spare, waiting or on its way.
func TestKillStormWithSpares(t *testing.T) {
	const kills = 9
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			g.startWeb("web", kind, "-account "+target, `"exec_mode": "cluster", "instances": 2, "spares": 1, "min_uptime": "100ms"`)
			answering(t, target)
			g.awaitSpares("web", 2, 1)
			r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
				for i := range kills {
					old := g.pids()[fmt.Sprintf("web:%d", i%3)]
					g.killHard(old)
					if i%3 == 2 { // two of three at once before
						eventually(t, soon, func() error { return g.isReplaced("web:2", old) })
						g.awaitSpares("web", 2, 1)
					}
				}
			})
			a, err := g.account(r, "web")
			must(t, err)
			t.Log(a.Text())
			if accepted := r.Reset + r.Cut; r.Failed() > accepted || accepted > kills*underWay(r, 100) || len(a.Twice) > 0 {
				t.Errorf("%s; %s", r.Text(), a.Text())
			}
		})
	}
}

// TestSparesAreShown, are told apart from the active ones, and end as they like to.
func TestSparesAreShown(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "python", "-graceful "+target, `"exec_mode": "cluster", "instances": 2, "spares": 1`)
	g.awaitSpares("web", 2, 1)
	contains(t, "info", g.run("info", "2"), "standby: held before it listens", "2 of 3 (2 active, 1 standby)")

	g.run("stop", "0") // the app is wanted all the same
	eventually(t, soon, func() error {
		if in := g.places("web"); in[2].Process.Standby || in[0].Process.Status != "stopped" {
			return fmt.Errorf("0 is %s, 2 is a spare: %v", in[0].Process.Status, in[2].Process.Standby)
		}
		return nil
	})
	g.run("start", "0")
	serving := g.awaitSpares("web", 2, 1)
	if _, is := serving[0]; is {
		t.Error("who was stopped has a place again, though it was taken")
	}

	g.run("scale", "web", "+1")
	g.awaitSpares("web", 3, 1)
	g.run("scale", "web", "2")
	g.awaitSpares("web", 2, 1)
	g.run("delete", g.spareOf("web"))
	g.awaitSpares("web", 2, 0)
	if out := g.run("info", "web"); strings.Contains(out, "standby") {
		t.Errorf("it still has spares:\n%s", out)
	}
}

// TestReloadWithSpares: the new ones wait as spares before they take the places.
func TestReloadWithSpares(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "node", target, `"exec_mode": "cluster", "instances": 2, "spares": 1, "min_uptime": "300ms"`)
	answering(t, target)
	g.awaitSpares("web", 2, 1)
	const reloads = 3
	r := underLoad(t, load.Plan{Target: target, Rate: 100, SlowPath: "/slow?ms=300", SlowShare: 0.2}, func() {
		for range reloads {
			before := g.pids()
			g.run("reload", "web")
			g.awaitSpares("web", 2, 1)
			for name, pid := range g.pids() {
				if pid == before[name] {
					t.Errorf("%s was not replaced", name)
				}
			}
		}
	})
	if r.Failed() > 0 {
		t.Error(r.Text())
	}
}

// TestASpareOutlivesTheDaemon: its call is answered by the next one.
func TestASpareOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "node", "-boot-ms 2000 "+target, `"exec_mode": "cluster", "instances": 1, "spares": 1`)
	answering(t, target)
	serving := g.awaitSpares("web", 1, 1)
	spare := g.pids()["web:1"]
	if _, is := serving[1]; is {
		spare = g.pids()["web:0"]
	}
	r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
		daemon, _ := g.daemon()
		g.killHard(daemon)
		g.awaitSpares("web", 1, 1)
		for _, pid := range serving {
			g.killHard(pid)
		}
		eventually(t, soon, func() error {
			for _, in := range g.places("web") {
				if in.Process.Pid == spare && !in.Process.Standby {
					return nil
				}
			}
			return fmt.Errorf("%d is not active", spare)
		})
	})
	if accepted := r.Reset + r.Cut; r.Failed() > accepted || accepted > underWay(r, 100) || r.Servers[fmt.Sprint(spare)] == 0 {
		t.Error(r.Text())
	}
}

// TestASpareTakesOverFromAStoppedOne: its queue is answered by the spare, which is there.
func TestASpareTakesOverFromAStoppedOne(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "node", "-account -boot-ms 3000 "+target, `"exec_mode": "cluster", "instances": 1, "spares": 1, "hang_timeout": "500ms"`)
	answering(t, target)
	serving := g.awaitSpares("web", 1, 1)
	r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
		for _, pid := range serving {
			stops(t, pid)
		}
		eventually(t, soon, func() error {
			_, was0 := serving[0]
			if in := g.places("web"); in[0].Process.Standby == was0 || in[1].Process.Standby != was0 {
				return nil
			}
			return fmt.Errorf("the spare is still one")
		})
	})
	a, err := g.account(r, "web")
	must(t, err)
	if lost := r.Reset + r.Cut; r.Failed() > lost || lost > underWay(r, 100) || len(a.Twice) > 0 {
		t.Errorf("%s; %s", r.Text(), a.Text())
	}
	contains(t, "the daemon's log", g.log(), "takes the place of", "was killed, for it did not accept connections (hang: ")
}

// TestASpareWithGivenSockets makes no call in which it could wait: it serves like the
// others, and stays when the app is started again.
func TestASpareWithGivenSockets(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	file := g.file("web.json", `{"apps": [`+g.webApp("web", "node", "fd:3",
		fmt.Sprintf(`"exec_mode": "cluster", "instances": 1, "spares": 1, "min_uptime": "300ms", "listen": %q`, target))+`]}`)
	g.run("start", file)
	both := func(pids map[string]int) {
		t.Helper()
		seen := map[string]bool{}
		eventually(t, 2*soon, func() error {
			seen[answering(t, target)] = true
			for name, pid := range pids {
				if !seen[fmt.Sprint(pid)] {
					return fmt.Errorf("%s (%d) has not answered, but %v", name, pid, seen)
				}
			}
			return nil
		})
	}
	before := g.pids()
	both(before)
	g.run("start", file)
	if now := g.pids(); now["web:0"] != before["web:0"] || now["web:1"] != before["web:1"] {
		t.Errorf("started again, %v have become %v", before, now)
	}
	g.killHard(before["web:0"])
	eventually(t, soon, func() error { return g.isReplaced("web:0", before["web:0"]) })
	both(g.pids())
}

// spareOf is the id of an app's spare.
func (g *gopm) spareOf(name string) string {
	g.Helper()
	for _, in := range g.places(name) {
		if in.Process.Standby {
			return fmt.Sprint(in.ID)
		}
	}
	g.Fatalf("%s has no spare", name)
	return ""
}

// TestAStoppedSpareEndsByItsHandler: it sits in a call that doesn't hear signals.
func TestAStoppedSpareEndsByItsHandler(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "python", "-graceful "+target, `"exec_mode": "cluster", "instances": 1, "spares": 1, "kill_timeout": "20s"`)
	g.awaitSpares("web", 1, 1)
	g.run("stop", "web")
	for index, in := range g.places("web") {
		if e := in.Process.LastExit; e == nil || e.Signal == "SIGKILL" {
			t.Errorf("instance %d ended with %+v, want it to end by itself", index, e)
		}
	}
}

// TestReloadWithSparesToABadVersion: a spare that could not have its port when it is needed
// says so at once, and so the old version stays. It is not waited for in vain: nobody is
// connected to it.
func TestReloadWithSparesToABadVersion(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	fields := `"exec_mode": "cluster", "instances": 2, "spares": 1, "min_uptime": "100ms", "drain": {"timeout": "100s"}`
	g.startWeb("web", "go", target, fields)
	before := g.awaitSpares("web", 2, 1)
	r := underLoad(t, load.Plan{Target: target, Rate: 100}, func() {
		const nowhere = "192.0.2.1:1" // not of this machine
		bad := g.file("web.json", `{"apps": [`+g.webApp("web", "go", nowhere, fields)+`]}`)
		g.fail(1, []string{"cannot assign requested address", "the old version goes on"}, "reload", bad)
	})
	if now := g.awaitSpares("web", 2, 1); !maps.Equal(now, before) || r.Failed() > 0 {
		t.Errorf("active: %v, before: %v; %s", now, before, r.Text())
	}
}

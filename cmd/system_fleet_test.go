package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/tools/agent"
)

// The fleet, with a real agent: some gopms on this machine, each with a home and a name
// of its own, and an app that is deployed as gopm deploy does it.

// crew is these gopms.
type crew struct {
	*testing.T
	consul *consulAgent
	hosts  []*gopm
	names  []string
	fields string // of the app
}

// newCrew starts the app web on machines of these names, in its release 1.
func newCrew(t *testing.T, fields string, names ...string) *crew {
	t.Helper()
	base := newGopm(t)
	return crewAt(base, startConsul(t, agent.Options{}), fields, names...)
}

// crewAt is one whose gopms speak with that agent.
func crewAt(base *gopm, at *consulAgent, fields string, names ...string) *crew {
	base.Helper()
	t := base.T
	c := &crew{T: t, consul: at, names: names, fields: fields}
	for _, name := range names {
		dir := filepath.Join(filepath.Dir(base.dir), name)
		g := *base.uses(c.consul).with("GOPM_NODE="+name, "GOPM_SSH=me@"+name)
		g.dir, g.home = dir, filepath.Join(dir, "h")
		must(t, os.MkdirAll(dir, 0o755))
		c.hosts = append(c.hosts, &g)
		t.Cleanup(g.close)
	}
	c.deploy("1", stays)
	for _, g := range c.hosts {
		g.run("start", "eco.json")
	}
	c.awaitReleases("1")
	return c
}

// deploy makes a release on all machines and has current lead there; nothing is reloaded.
func (c *crew) deploy(release, does string) {
	c.Helper()
	for _, g := range c.hosts {
		dir := filepath.Join(g.dir, "releases", release)
		must(c.T, os.MkdirAll(dir, 0o755))
		must(c.T, os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\necho release "+release+"\n"+does+"\n"), 0o755))
		link := filepath.Join(g.dir, "current")
		_ = os.Remove(link) // there is none yet
		must(c.T, os.Symlink("releases/"+release, link))
		g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "./run", "cwd": %q, "max_restarts": 1, "consul": {"fleet": true, "service": false}, %s}]}`, link, c.fields))
	}
}

// fleet is what one of the machines knows of all.
func (c *crew) fleet(args ...string) (f api.Fleet) {
	c.Helper()
	must(c.T, json.Unmarshal([]byte(c.hosts[0].run(append([]string{"fleet", "ls", "--json"}, args...)...)), &f))
	return f
}

// awaitReleases waits until the machines run these, in their order; one stands for all.
func (c *crew) awaitReleases(want ...string) {
	c.Helper()
	eventually(c.T, 3*soon, func() error {
		f := c.fleet("web")
		if len(f.Machines) != len(c.hosts) {
			return fmt.Errorf("%d machines: %+v", len(f.Machines), f.Machines)
		}
		for i, m := range f.Machines {
			release := want[min(i, len(want)-1)]
			if m.Host != c.names[i] || m.Apps[0].Release != release || !m.Apps[0].Fleet || len(m.Instances) == 0 || m.Instances[0].Process.Status != "online" {
				return fmt.Errorf("%+v, want release %s", m, release)
			}
		}
		return nil
	})
}

// current are the releases that the links lead to.
func (c *crew) current() string {
	var all []string
	for _, g := range c.hosts {
		link, _ := os.Readlink(filepath.Join(g.dir, "current"))
		all = append(all, filepath.Base(link))
	}
	return strings.Join(all, " ")
}

func (c *crew) status() (r api.Rollout) {
	c.Helper()
	must(c.T, json.Unmarshal([]byte(c.hosts[0].run("fleet", "status", "web", "--json")), &r))
	return r
}

// turns is what the machines are in the rollout: "failed: a done, b failed".
func turns(r api.Rollout) string {
	var all []string
	for _, m := range r.Machines {
		all = append(all, m.Host+" "+m.State)
	}
	return r.State + ": " + strings.Join(all, ", ")
}

func (c *crew) awaitTurns(want string) (r api.Rollout) {
	c.Helper()
	eventually(c.T, 6*soon, func() error {
		if r = c.status(); turns(r) != want {
			return fmt.Errorf("%s, want %s", turns(r), want)
		}
		return nil
	})
	return r
}

func (c *crew) pids() (all []int) {
	for _, g := range c.hosts {
		all = append(all, g.app("web").Pid)
	}
	return all
}

func TestFleetList(t *testing.T) {
	c := newCrew(t, `"min_uptime": 300`, "a", "b", "c")
	g := c.hosts[1]
	out := g.run("fleet", "ls")
	contains(t, "fleet ls", out, "host", "│ a ", "│ b ", "│ c ", "web", "online", fmt.Sprint(c.hosts[2].app("web").Pid))
	if out := g.run("fleet", "ls", "web", "--host", "a,c"); strings.Contains(out, "│ b ") || !strings.Contains(out, "│ c ") {
		t.Errorf("--host a,c: %s", out)
	}
	g.fail(1, []string{"no machine of the fleet is called x", "a, b, c"}, "fleet", "ls", "--host", "a,x")
	g.fail(2, []string{"takes one app"}, "fleet", "ls", "web", "api")
	g.fail(1, []string{"no machine has an app api"}, "fleet", "info", "api")
	g.fail(1, []string{"no machine has an app api"}, "fleet", "ls", "api") // it was said that there are no machines
	g.fail(2, []string{"wants one app"}, "fleet", "reload")
	g.fail(2, []string{"no command"}, "fleet", "frobnicate")
	g.fail(2, []string{"--max"}, "fleet", "reload", "web", "--max", "0")
	contains(t, "fleet info", g.run("fleet", "info", "web"), "me@a", "me@c", c.hosts[0].home, "v0.0.0-test", "release", "127.0.0.1")
	f := c.fleet()
	if m := f.Machines[0]; m.SSH != "me@a" || m.Home != c.hosts[0].home || m.Version != "v0.0.0-test" || m.Down != "" || m.Instances[0].Process.Pid != c.hosts[0].app("web").Pid {
		t.Errorf("the first machine is %+v", m)
	}
	c.hosts[2].run("stop", "web")
	eventually(t, 3*soon, func() error {
		if s := c.fleet().Machines[2].Instances[0].Process.Status; s != "stopped" {
			return fmt.Errorf("it is shown as %s", s)
		}
		return nil
	})
	c.hosts[2].run("delete", "web") // the last app that has to do with Consul
	eventually(t, 3*soon, func() error {
		if n := len(c.fleet().Machines); n != 2 {
			return fmt.Errorf("%d machines are shown", n)
		}
		return nil
	})
	// Without a daemon's own knowledge it is the user's variables that count, and nothing else.
	g.with("CONSUL_HTTP_ADDR=127.0.0.1:1").fail(1, []string{"consul at 127.0.0.1:1", "connection refused"}, "fleet", "ls")
}

func TestFleetReload(t *testing.T) {
	c := newCrew(t, `"min_uptime": 300`, "a", "b", "c")
	before := c.pids()
	c.deploy("2", stays)
	out := c.hosts[1].run("fleet", "reload", "web", "--max", "2")
	contains(t, "fleet reload", out, "reload on a, b, c (first one alone, then 2 at a time)", "a: reloaded, well after", "(release 2, was 1)", "reload is done")
	if first, second := strings.Index(out, "a: reloaded"), strings.Index(out, "b: at work"); first < 0 || second < first {
		t.Errorf("b has begun before a was done:\n%s", out)
	}
	c.awaitReleases("2")
	for i, pid := range c.pids() {
		if pid == before[i] {
			t.Errorf("%s still runs its old process", c.names[i])
		}
	}
	r := c.status()
	if got, want := turns(r), "done: a done, b done, c done"; got != want || r.Verb != "reload" || r.Machines[2].Before != "1" || r.Machines[2].After != "2" {
		t.Errorf("%s, %+v, want %s", got, r, want)
	}
	c.hosts[0].fail(2, []string{"nothing to continue"}, "fleet", "continue", "web")
	c.hosts[0].fail(2, []string{"nothing to abort"}, "fleet", "abort", "web")
	c.hosts[0].fail(1, []string{"no machine of the fleet has an app api"}, "fleet", "reload", "api")
	c.hosts[0].fail(1, []string{"x has no app web"}, "fleet", "reload", "web", "--host", "x")

	contains(t, "fleet stop", c.hosts[0].run("fleet", "stop", "web", "--host", "b,c"), "stop on b, c", "b: stopped", "stop is done")
	if a, b := c.hosts[0].app("web").Env.Status, c.hosts[1].app("web").Env.Status; a != "online" || b != "stopped" {
		t.Errorf("a is %s, b is %s", a, b)
	}
	c.awaitStatusOf("web", "online", "stopped", "stopped")
	contains(t, "fleet start", c.hosts[2].run("fleet", "start", "web"), "c: started", "start is done")
	c.awaitReleases("2")
}

// awaitStatusOf waits until the catalog has the app in these states.
func (c *crew) awaitStatusOf(app string, want ...string) {
	c.Helper()
	eventually(c.T, 3*soon, func() error {
		for i, m := range c.fleet(app).Machines {
			if got := m.Instances[0].Process.Status; got != want[i] {
				return fmt.Errorf("%s is %s, want %s", m.Host, got, want[i])
			}
		}
		return nil
	})
}

// TestFleetReloadOfABrokenVersion is stopped after the first machine, and goes back.
func TestFleetReloadOfABrokenVersion(t *testing.T) {
	c := newCrew(t, `"min_uptime": 300`, "a", "b", "c")
	before := c.pids()
	c.deploy("2", "exit 3")
	r := c.hosts[1].fail(1, []string{"the reload has failed (1 failed, 2 waiting)", "fleet continue web"}, "fleet", "reload", "web", "--max", "2")
	contains(t, "fleet reload", r.out, "a: failed: web:0", "exited with code 3")
	if strings.Contains(r.out, " b: ") || strings.Contains(r.out, " c: ") {
		t.Errorf("another machine has begun:\n%s", r.out)
	}
	if now := c.pids(); now[1] != before[1] || now[2] != before[2] {
		t.Errorf("the processes of b and c were touched: %v, before %v", now, before)
	}
	contains(t, "fleet status", c.hosts[2].run("fleet", "status", "web"), "has failed", "a: failed", "b: waiting")

	back := c.hosts[2].fail(1, []string{"rolled back (3 rolled back)"}, "fleet", "abort", "web", "--rollback")
	contains(t, "abort --rollback", back.out, "a: rolled back: release 1 is current, and runs", "b: rolled back: release 1 is current; its processes never were of another")
	if got := c.current(); got != "1 1 1" {
		t.Errorf("the releases are %s", got)
	}
	c.awaitReleases("1")
	if now := c.pids(); now[1] != before[1] || now[2] != before[2] {
		t.Errorf("the processes of b and c were touched: %v, before %v", now, before)
	}

	// The same in one word; and the second machine is the broken one.
	c.deploy("3", stays)
	must(t, os.WriteFile(filepath.Join(c.hosts[1].dir, "releases/3/run"), []byte("#!/bin/sh\nexit 4\n"), 0o755))
	r = c.hosts[0].fail(1, []string{"rolled back (3 rolled back)"}, "fleet", "restart", "web", "--rollback")
	contains(t, "restart --rollback", r.out, "a: restarted", "(release 3, was 1)", "b: failed", "rolling back", "a: rolled back: release 1 is current, and runs")
	if got := c.current(); got != "1 1 1" {
		t.Errorf("the releases are %s", got)
	}
	c.awaitReleases("1")

	// Continued, who has failed takes another turn, and the others theirs.
	c.deploy("4", "[ -e ../../fine ] || exit 5\n"+stays)
	c.hosts[0].fail(1, []string{"1 failed, 2 waiting"}, "fleet", "reload", "web")
	for _, g := range c.hosts {
		g.file("fine", "")
	}
	contains(t, "continue", c.hosts[1].run("fleet", "continue", "web"), "a: reloaded", "c: reloaded", "reload is done")
	c.awaitReleases("4")
}

// TestFleetRollbackRefused is for code that is replaced in place.
func TestFleetRollbackRefused(t *testing.T) {
	c := newCrew(t, `"min_uptime": 300`, "a", "b")
	g := c.hosts[1]
	must(t, os.Remove(filepath.Join(g.dir, "current")))
	must(t, os.Rename(filepath.Join(g.dir, "releases/1"), filepath.Join(g.dir, "current")))
	g.run("restart", "web")
	eventually(t, 3*soon, func() error {
		if r := c.fleet().Machines[1].Apps[0].Release; r != "" {
			return fmt.Errorf("b has the release %s", r)
		}
		return nil
	})
	before := c.pids()
	c.hosts[0].fail(2, []string{"--rollback: on b", "replaced in place", "without --rollback it goes"}, "fleet", "reload", "web", "--rollback")
	if now := c.pids(); now[0] != before[0] {
		t.Error("a has begun all the same")
	}
	c.hosts[0].fail(2, []string{"unknown flag: --rollback"}, "fleet", "stop", "web", "--rollback")
	contains(t, "without", c.hosts[0].run("fleet", "reload", "web"), "reload is done")
}

// TestFleetSurvivesDeaths: of the command, of a daemon in its turn, and of a machine's
// gopm in its turn.
func TestFleetSurvivesDeaths(t *testing.T) {
	c := newCrew(t, `"min_uptime": "2s"`, "a", "b", "c")
	c.deploy("2", stays)
	f := c.hosts[0].goesOn("fleet", "reload", "web")
	f.says("a: at work")
	must(t, f.cmd.Process.Kill())
	_ = f.cmd.Wait() // it was killed
	eventually(t, 2*soon, func() error {
		if pid := c.hosts[0].app("web").Pid; releaseOf(pid) != "2" {
			return fmt.Errorf("process %d is of release %s", pid, releaseOf(pid))
		}
		return nil
	})
	c.hosts[0].killDaemon() // while it waits whether the new process lives
	r := c.awaitTurns("done: a done, b done, c done")
	contains(t, "a's log", c.hosts[0].log(), "rollout: its turn: reload, which was begun before this daemon")
	if r.Machines[0].After != "2" {
		t.Errorf("after the death of its daemon a has %+v", r.Machines[0])
	}
	if n := c.hosts[0].app("web").Env.Restarts; n > 1 {
		t.Errorf("a was reloaded more than once: %d restarts", n)
	}

	c.deploy("3", stays)
	f = c.hosts[2].goesOn("fleet", "restart", "web")
	f.says("b: at work")
	c.hosts[1].killBoth()
	r = c.awaitTurns("failed: a done, b failed, c waiting")
	contains(t, "b's result", r.Machines[1].Result, "its gopm died in its turn")
	f.says("1 failed, 1 waiting")
	f.endsWith(1)
	if got := releaseOf(c.hosts[2].app("web").Pid); got != "2" {
		t.Errorf("c runs release %s", got)
	}
	c.hosts[1].run("resurrect")
	contains(t, "continue", c.hosts[2].run("fleet", "continue", "web"), "b: restarted", "c: restarted", "restart is done")
	c.awaitReleases("3")
}

// endsWith waits for a command that goes on, and fails unless it ends with a code.
func (f *follower) endsWith(code int) {
	f.g.Helper()
	ended := make(chan error, 1)
	go func() { ended <- f.cmd.Wait() }()
	select {
	case <-ended:
		if got := f.cmd.ProcessState.ExitCode(); got != code {
			f.g.Errorf("exit code %d, want %d:\n%s", got, code, f.text())
		}
	case <-time.After(6 * soon):
		f.cmd.Process.Kill()
		f.g.Fatalf("it has not ended:\n%s", f.text())
	}
}

// releaseOf is the release that a process was started in.
func releaseOf(pid int) string {
	dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)) // "": it has ended
	return filepath.Base(dir)
}

// TestFleetRecordOfAStranger asks for what no rollout may, and is left alone.
func TestFleetRecordOfAStranger(t *testing.T) {
	c := newCrew(t, `"min_uptime": 300`, "a", "b")
	before := c.pids()
	key := "gopm/rollouts/web"
	c.consul.put(key, `{"format": 1, "id": "x", "app": "web", "verb": "exec", "state": "running", "max": 1, "machines": [{"host": "a", "state": "waiting"}]}`)
	c.hosts[0].logSays(`the record gopm/rollouts/web is left alone: it asks for "exec", which no rollout may`)
	c.hosts[0].fail(2, []string{"consul kv delete " + key}, "fleet", "reload", "web")
	c.consul.put("gopm/rollouts/other", `{"format": 1, "id": "x", "app": "other", "verb": "stop", "state": "running", "max": 1, "machines": [{"host": "a", "state": "waiting"}]}`)
	c.consul.put("gopm/rollouts/all", `{"format": 1, "id": "x", "app": "all", "verb": "stop", "state": "running", "max": 1, "machines": [{"host": "a", "state": "waiting"}]}`)
	c.consul.remove(key)
	contains(t, "after that", c.hosts[0].run("fleet", "reload", "web"), "reload is done")
	if now := c.pids(); now[0] == before[0] || now[1] == before[1] {
		t.Errorf("%v, before %v", now, before)
	}
}

// TestFleetTokens: what a token has to allow, and what is said if it doesn't.
func TestFleetTokens(t *testing.T) {
	base := newGopm(t)
	at := startConsul(t, agent.Options{ACL: true})
	all := at.Token
	rules := `service_prefix "" { policy = "read" } service "gopm" { policy = "write" } service "web" { policy = "write" } node_prefix "" { policy = "read" }
agent_prefix "" { policy = "read" } key_prefix "gopm/" { policy = "write" } session_prefix "" { policy = "write" }`
	token, err := at.NewToken("enough", rules)
	must(t, err)
	at.Token = token // of all commands from here on
	c := crewAt(base, at, `"min_uptime": 300`, "a", "b")
	at.Token = all
	contains(t, "with enough rights", c.hosts[0].run("fleet", "reload", "web"), "b: reloaded", "reload is done")
	weak, err := at.NewToken("weak", `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } key_prefix "gopm/" { policy = "read" }`)
	must(t, err)
	g := c.hosts[1].with("CONSUL_HTTP_TOKEN=" + weak)
	contains(t, "with the right to read", g.run("fleet", "ls"), "│ a ", "│ b ")
	r := g.fail(1, []string{"lacks permission 'key:write'"}, "fleet", "reload", "web")
	lacks(t, "an error", r.err, weak, token)
	noSession, err := at.NewToken("none", strings.Replace(rules, `session_prefix "" { policy = "write" }`, "", 1))
	must(t, err)
	g = c.hosts[1].with("CONSUL_HTTP_TOKEN=" + noSession)
	g.run("restart", "web", "--update-env")
	f := c.hosts[0].goesOn("fleet", "reload", "web")
	f.says("a: reloaded")
	g.logSays("rollout: its turn can't begin: consul at " + at.Address())
	g.logSays("lacks permission 'session:write'")
	c.hosts[0].run("fleet", "abort", "web")
	f.endsWith(1)
}

// TestFleetOfMachines sees one that is dead among the others, which roll without it.
func TestFleetOfMachines(t *testing.T) {
	f := newFleet(t, 3, 1) // a server that dies is taken out of the catalog by the others
	for _, h := range f.hosts {
		h.script("run", stays)
		h.file("eco.json", `{"apps": [{"name": "web", "script": "./run", "min_uptime": "1s", "max_restarts": 1, "consul": {"fleet": true, "service": false}}]}`)
		h.run("start", "eco.json")
	}
	list := func(h *host) (all api.Fleet, err error) {
		r := h.try("fleet", "ls", "--json")
		if r.code != 0 { // they may be electing a leader
			return all, fmt.Errorf("fleet ls: %v", r)
		}
		return all, json.Unmarshal([]byte(r.out), &all)
	}
	a := f.hosts[0]
	eventually(t, 3*soon, func() error {
		for _, h := range f.hosts {
			if all, err := list(h); err != nil || len(all.Machines) != 3 {
				return fmt.Errorf("%s sees %d machines, %v", h.machine.Name, len(all.Machines), err)
			}
		}
		return nil
	})
	contains(t, "reload", a.run("fleet", "reload", "web"), "reload on m1, m2, m3", "m3: reloaded", "reload is done")
	for _, h := range f.hosts {
		h.script("run", "exit 3")
	}
	r := a.fail(1, []string{"the reload has failed (1 failed, 2 waiting)"}, "fleet", "reload", "web", "--max", "2")
	contains(t, "a broken version", r.out, "m1: failed: web:0", "exited with code 3")
	for _, h := range f.hosts[1:] {
		if e := h.app("web"); e.Env.Status != "online" {
			t.Errorf("%s has begun all the same: %s", h.machine.Name, e.Env.Status)
		}
	}
	for _, h := range f.hosts {
		h.script("run", stays)
	}
	contains(t, "continue", f.hosts[1].run("fleet", "continue", "web"), "m1: reloaded", "m3: reloaded")

	// A machine dies in its turn: that fails by the end of its session.
	follow := a.goesOn("fleet", "restart", "web")
	follow.says("m3: at work")
	f.die(f.hosts[2])
	follow.endsWith(1)
	follow.says("m3: failed: its gopm died in its turn")
	eventually(t, 12*soon, func() error {
		all, err := list(a)
		if m := all.Machines; err != nil || len(m) != 3 || m[2].Host != "m3" || m[2].Down == "" {
			return fmt.Errorf("%+v, %v", m, err)
		}
		return nil
	})
	contains(t, "ls", a.run("fleet", "ls"), "m3 is down: ", "host down")
	contains(t, "reload", a.run("fleet", "reload", "web"), "reload on m1, m2", "left out, for they are down: m3", "reload is done")
}

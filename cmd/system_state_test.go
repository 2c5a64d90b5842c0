package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopm/daemon/api"
)

// state is the home's state file.
func (g *gopm) state() api.State {
	g.Helper()
	s, err := api.Home{Dir: g.home}.LoadState()
	must(g.T, err)
	return s
}

// edit changes the state file as if it had been written so.
func (g *gopm) edit(change func(*api.State)) {
	g.Helper()
	s := g.state()
	change(&s)
	text, err := json.Marshal(s)
	must(g.T, err)
	must(g.T, os.WriteFile(api.Home{Dir: g.home}.State(), text, 0o600))
}

// After a reboot without gopm's unit nothing starts by itself: one app alone is
// started by name, the others are listed with what they were, until resurrect.
func TestReboot(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`, `"name": "c"`)
	g.run("start", "eco.json")
	g.run("stop", "c")
	g.run("kill")
	g.edit(func(s *api.State) { s.Boot, s.Ended = "another", "" })
	for i := range g.state().Apps {
		g.edit(func(s *api.State) { s.Apps[i].Instances[0].Rested = "" })
	}
	g.run("start", "a")
	out := g.run("ls")
	contains(t, "ls", out, "stopped (before reboot: online)")
	for name, want := range map[string]string{"a": "online", "b": "stopped", "c": "stopped"} {
		if e := g.app(name); e.Env.Status != want {
			t.Errorf("%v, want %s", e, want)
		}
	}
	g.run("resurrect")
	for name, want := range map[string]string{"a": "online", "b": "online", "c": "stopped"} {
		if e := g.app(name); e.Env.Status != want || e.Env.Restarts != 0 {
			t.Errorf("after resurrect: %v, want %s", e, want)
		}
	}
}

// A state file that can't be read is put aside and named, never deleted.
func TestDamagedState(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	g.run("kill")
	path := api.Home{Dir: g.home}.State()
	must(t, os.WriteFile(path, []byte(`{"format": 1, "apps": [{"spec"`), 0o600))
	r := g.try("start", "eco.json")
	if r.code != 0 {
		t.Fatal(r)
	}
	contains(t, "stderr", r.err, "state.json is damaged", "put aside as "+path+".damaged-")
	aside, err := filepath.Glob(path + ".damaged-*")
	must(t, err)
	if len(aside) != 1 {
		t.Fatalf("put aside: %v", aside)
	}
	if text, err := os.ReadFile(aside[0]); err != nil || !strings.HasSuffix(string(text), `{"spec"`) {
		t.Errorf("%s has %q, %v", aside[0], text, err)
	}
	if e := g.app("a"); e.Env.Status != "online" {
		t.Error(e)
	}
}

// Both have died, and the state is damaged: nobody claims that nothing runs, and who
// starts anew is told of what does.
func TestDamagedStateWhileAppsLive(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	a := g.app("a")
	g.strikeBoth()
	must(t, os.WriteFile(api.Home{Dir: g.home}.State(), nil, 0o600))
	_ = os.Remove(api.Home{Dir: g.home}.NextState())
	for _, args := range []string{"ls", "jlist", "stop a", "kill", "resurrect"} {
		g.fail(1, []string{"state.json is damaged", "mend it, or gopm start"}, strings.Fields(args)...)
	}
	contains(t, "start", g.try("start", "eco.json").err, "put aside", fmt.Sprintf("a (pid %d)", a.Pid))
	g.slay(a.Pid)
}

// Both have died while the disk was full: the list lacks what runs.
func TestListThatLacksWhatRuns(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`)
	g.run("start", "eco.json")
	pids := g.pids()
	for _, args := range []string{"start b", "start eco.json --no-wait"} {
		g.strikeBoth()
		g.edit(func(s *api.State) { s.Apps = s.Apps[1:] })
		r := g.try(strings.Fields(args)...)
		contains(t, args, r.err, fmt.Sprintf("a (pid %d)", pids["a:0"]))
		contains(t, "gopm.log", g.log(), "warning: ", fmt.Sprintf("a (pid %d)", pids["a:0"]))
	}
	contains(t, "gopm.log", g.log(), fmt.Sprintf("b (pid %d)", pids["b:0"]))
	g.slay(pids["a:0"])
	g.slay(pids["b:0"])
}

// An environment that can't be read is told with each app that had it.
func TestLostEnvironment(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`, `"name": "b"`)
	g.run("start", "eco.json")
	g.run("kill")
	must(t, os.RemoveAll(filepath.Join(g.home, "env")))
	contains(t, "resurrect", g.try("resurrect").err, "restart -a a gives", "restart -a b gives")
}

// A file of a later gopm is not overwritten either.
func TestStateOfALaterFormat(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	g.run("kill")
	g.edit(func(s *api.State) { s.Format = api.StateFormat + 1 })
	r := g.try("start", "eco.json")
	contains(t, "stderr", r.err, "of a later gopm", "put aside")
}

// Restarts after the death of the daemon, and after a boot, have the environment of
// the first start; who else reads the machine's files doesn't get at it.
func TestTheEnvironmentOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.script("run", `echo "$SECRET" >> $name.env; exec sleep 1000`)
	g.env = append(g.env, "SECRET=of the first shell")
	runs := 0
	another := func() { // waits for the program to have said it: online is only to have lived for a moment
		runs++
		g.fileSays(g.dir+"/a.env", strings.Repeat("of the first shell\n", runs))
	}
	g.run("start", "eco.json")
	another()
	g.env[len(g.env)-1] = "SECRET=of another"
	daemon, _ := g.daemon()
	g.killHard(daemon)
	g.run("restart", "a")
	another()
	g.run("kill")
	g.run("resurrect")
	another()
	for _, dir := range []string{g.home, filepath.Join(g.home, "env")} {
		names, err := os.ReadDir(dir)
		must(t, err)
		for _, n := range names {
			if info, err := n.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: mode %v", filepath.Join(dir, n.Name()), info.Mode())
			}
		}
	}
	if text, err := os.ReadFile(api.Home{Dir: g.home}.State()); err != nil || strings.Contains(string(text), "first shell") {
		t.Errorf("the state file has the inherited environment (%v):\n%s", err, text)
	}
}

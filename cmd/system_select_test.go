package cmd_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// shop starts five instances: api (two), web, worker in other, and 7up.
func shop(t *testing.T) *gopm {
	g := newGopm(t)
	g.eco("eco.json", `"name": "web"`, `"name": "api", "instances": 2, "exec_mode": "fork", "namespace": "back"`,
		`"name": "worker", "namespace": "back"`, `"name": "7up"`)
	g.run("start", "eco.json")
	return g
}

// running are the "name:instance" of what is online, in order.
func (g *gopm) running() string {
	g.Helper()
	var all []string
	for _, e := range g.list() {
		if e.Env.Status == "online" {
			all = append(all, fmt.Sprintf("%s:%d", e.Name, e.Env.Instance))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestSelectors(t *testing.T) {
	g := shop(t)
	for _, tt := range []struct{ targets, left string }{
		{"web", "7up:0 api:0 api:1 worker:0"},
		{"0", "7up:0 api:0 api:1 worker:0"},
		{"2", "7up:0 api:0 web:0 worker:0"},
		{"back", "7up:0 web:0"},
		{"/^(web|api)$/", "7up:0 worker:0"},
		{"7up", "api:0 api:1 web:0 worker:0"},
		{"web api web", "7up:0 worker:0"},
		{"all", ""},
		{"eco.json", ""},
	} {
		out := g.run(append([]string{"stop"}, strings.Fields(tt.targets)...)...)
		if left := g.running(); left != tt.left {
			t.Errorf("stop %s: %q still run, want %q\n%s", tt.targets, left, tt.left, out)
		}
		g.run("start", "all")
	}
}

func TestOneBadTargetOfSeveralDoesNothing(t *testing.T) {
	g := shop(t)
	before := g.pids()
	for _, verb := range []string{"stop", "restart", "delete"} {
		for _, bad := range []string{"nosuch", "99", "/zzz/"} {
			g.fail(1, []string{bad}, verb, "web", bad)
			if after := g.pids(); !maps.Equal(before, after) {
				t.Fatalf("%s web %s did something: %v, then %v", verb, bad, before, after)
			}
		}
	}
	g.fail(2, []string{"/(/"}, "stop", "/(/")
	g.fail(1, []string{"nosuch", "web", "api"}, "info", "nosuch")
	g.fail(1, []string{"nosuch"}, "info", "web", "nosuch")
}

func TestTargetsAreWanted(t *testing.T) {
	g := newGopm(t)
	for _, verb := range []string{"stop", "restart", "delete", "info"} {
		g.fail(2, []string{verb, "all", "/regex/"}, verb)
	}
}

func TestStopFromStandardInput(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	file := `{"apps": [{"name": "a", "script": "./run", "min_uptime": 100}, {"name": "b", "script": "./run", "min_uptime": 100}]}`
	for _, verb := range []string{"start", "stop", "delete"} {
		cmd := g.command(verb, "-")
		cmd.Stdin = strings.NewReader(file)
		if r := g.execute(cmd); r.code != 0 {
			t.Errorf("%s -: %v", verb, r)
		}
	}
	if all := g.list(); len(all) != 0 {
		t.Error(all)
	}
}

func TestStopKeepsAndDeleteForgets(t *testing.T) {
	g := shop(t)
	contains(t, "stop", g.run("stop", "web"), "web: stopped")
	if e := g.app("web"); e.Env.Status != "stopped" || e.Pid != 0 {
		t.Error(e)
	}
	contains(t, "stop again", g.run("stop", "web"), "web: stopped already")
	contains(t, "restart of a stopped one", g.run("restart", "web"), "web: restarted")
	contains(t, "delete", g.run("del", "web"), "web: deleted")
	g.fail(1, []string{"web"}, "info", "web")
	g.run("delete", "2") // the second api
	if left := g.running(); left != "7up:0 api:0 worker:0" {
		t.Errorf("left: %s", left)
	}
}

func TestIdsBeginAtZeroWhenTheListIsEmpty(t *testing.T) {
	g := shop(t)
	g.run("delete", "web")
	g.run("start", "eco.json", "--only", "web")
	if id := g.app("web").ID; id != 5 {
		t.Errorf("while others are there ids are not used again, got %d", id)
	}
	g.run("delete", "all")
	g.run("start", "eco.json")
	if id := g.app("web").ID; id != 0 {
		t.Errorf("after an empty list ids begin at 0, got %d", id)
	}
}

func TestStartStoppedByNameNamespaceAndAll(t *testing.T) {
	g := shop(t)
	everything := g.running()
	for _, target := range []string{"web", "back", "all", "/./"} {
		g.run("stop", "all")
		g.run("start", target)
		switch running := g.running(); {
		case target == "web" && running == "web:0":
		case target == "back" && running == "api:0 api:1 worker:0":
		case (target == "all" || target == "/./") && running == everything:
		default:
			t.Errorf("start %s: %q run", target, running)
		}
	}
}

func TestAliases(t *testing.T) {
	g := shop(t)
	table := g.run("list")
	for _, alias := range []string{"ls", "l", "ps", "status"} {
		if out := g.run(alias); strings.Count(out, "online") != strings.Count(table, "online") {
			t.Errorf("%s: %s", alias, out)
		}
	}
	for _, alias := range []string{"describe", "info", "desc", "show"} {
		contains(t, alias, g.run(alias, "web"), "Describing process with id 0 - name web")
	}
}

func TestWithoutDaemon(t *testing.T) {
	g := newGopm(t)
	contains(t, "ls", g.run("ls"), "no apps", "daemon not running", g.home)
	if out := strings.TrimSpace(g.run("jlist")); out != "[]" {
		t.Errorf("jlist: %q", out)
	}
	for _, command := range []string{"stop web", "restart web", "delete web", "logs", "logs web", "info web", "ping"} {
		g.fail(1, []string{"daemon not running", g.home}, strings.Fields(command)...)
	}
	contains(t, "kill", g.run("kill"), "no daemon")
	if found := belongingTo(g.home); len(found) != 0 {
		t.Errorf("a daemon was started: %v", found)
	}
}

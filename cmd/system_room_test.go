package cmd_test

import (
	"fmt"
	"runtime"
	"testing"
)

// "One for each CPU" means those that the programs may run on, and so the daemon's: not
// those of the machine, nor of the shell in which a command is typed.
func TestInstancesForTheCPUsOfTheDaemon(t *testing.T) {
	g := newGopm(t)
	if runtime.NumCPU() < 2 {
		t.Fatal("this needs a machine with two CPUs")
	}
	cpu := fmt.Sprint(runtime.NumCPU() - 1)
	g.eco("eco.json", `"name": "each", "instances": "max", "exec_mode": "fork"`, `"name": "less", "instances": -1, "exec_mode": "fork", "max_memory_restart": "50%"`)
	bound := *g
	bound.within = []string{"taskset", "-c", cpu}
	bound.run("start", "eco.json", "-s")
	if n := len(g.list()); n != 2 {
		t.Errorf("want one instance of each, as there is one CPU:\n%s", g.run("ls"))
	}
	contains(t, "a start from a shell with all CPUs", g.run("start", "eco.json"), "each: unchanged", "less: unchanged")
	contains(t, "info", g.run("info", "less"), fmt.Sprintf("1 of %d cpus", runtime.NumCPU()), "max memory restart")
	contains(t, "jlist", g.run("jlist"), `"max_memory_restart":`)
	contains(t, "report", g.run("report"), fmt.Sprintf("can use     1 of %d cpus", runtime.NumCPU()))

	if all := g.all(); len(all) != 2 {
		t.Errorf("a start from elsewhere has changed the list: %v", all)
	}
	g.file("eco.json", `{"apps": [{"name": "less", "script": "run", "max_memory_restart": "120%"}]}`)
	g.fail(2, []string{"eco.json:1", "max_memory_restart", "at most 100%"}, "start", "eco.json")
}

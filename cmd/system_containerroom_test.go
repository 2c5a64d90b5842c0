package cmd_test

import (
	"fmt"
	"strings"
	"testing"
)

// The limits of a container are what there is: one instance for each CPU that its quota leaves, and a percentage of the
// memory that it may have. They count for whoever asks, also by podman exec.
func TestContainerLimitsAreTheMachine(t *testing.T) {
	p := newPodman(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "/usr/bin/web", "args": "-graceful %s", "instances": "max", "exec_mode": "cluster", `+
		`"max_memory_restart": "25%%", %s}]}`, target, quick))
	b := p.box(p.bare(), []string{"--cpus=0.5", "--memory=200m", "-e", "GOPM_HOME=/tmp/h"}, "web", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	g := b.inside()
	g.run("start", "/work/eco.json", "-s")
	if all := g.list(); len(all) != 1 {
		t.Errorf("want one instance, as half a CPU is one: %v", all)
	}
	info := g.run("info", "web")
	contains(t, "info", info, "0.5 of their time: /sys/fs/cgroup/cpu", "200.0mb of ", "memory (/sys/fs/cgroup/memory", "50.0mb")
	contains(t, "report", g.run("report"), "can use     1 of ", "200.0mb of ")
	if text := g.run("report"); strings.Contains(text, "cannot") {
		t.Errorf("report: %s", text)
	}
}

package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestBounds: what a program may do and use is what its file says, in each way of running,
// and a limit that can't be set fails the start with the reason.
func TestBounds(t *testing.T) {
	g := newGopm(t)
	out := filepath.Join(g.dir, "out")
	must(t, os.Mkdir(out, 0o755))
	g.env = append(g.env, "OUT="+out)
	const bounds = `"min_uptime": 100, "no_new_privs": true, "nice": 5, "rlimits": {"LimitNOFILE": "200:300", "core": 0}`
	g.file("eco.json", fmt.Sprintf(`[
		{"name": "fork", "script": "sh", "args": ["-c", %q, "sh", "fork"], %s, "pre_start": %q},
		{"name": "cluster", "script": "sh", "args": ["-c", %q, "sh", "cluster"], "exec_mode": "cluster", "ready": "uptime", %s}]`,
		lookAround+"; exec sleep 1000", bounds, "set -- hook; "+lookAround, lookAround+"; exec sleep 1000", bounds))
	g.run("start", "eco.json")
	for _, name := range []string{"fork", "cluster", "hook"} {
		s := g.around(name)
		if s.status["NoNewPrivs"] != "1" || s.limits["Max open files"] != "200 300 files" || s.limits["Max core file size"] != "0 0 bytes" || s.stat[17] != "5" || len(s.fds) != 3 {
			t.Errorf("%s: %v, %v, nice %s, descriptors %v", name, s.status, s.limits, s.stat[17], s.fds)
		}
	}
	contains(t, "info", g.run("info", "fork"), "no_new_privs", "nice", "core 0, nofile 200:300")
	contains(t, "the same file", g.run("start", "eco.json"), "fork: unchanged", "cluster: unchanged")
	must(t, os.Remove(filepath.Join(out, "fork")))
	g.run("restart", "fork", "--max-restarts", "3")
	if s := g.around("fork"); s.status["NoNewPrivs"] != "1" || s.stat[17] != "5" {
		t.Errorf("another field was changed, and it has %v, nice %s", s.status, s.stat[17])
	}

	g.file("much.json", `[{"name": "much", "script": "sleep 1000", "min_uptime": 100, "max_restarts": 1, "rlimits": {"nofile": 999999999}}]`)
	g.fail(1, []string{"much", "cannot set rlimits.nofile to 999999999: operation not permitted"}, "start", "much.json")
}

// groups are the cgroups of this test's gopm that there are.
func (g *gopm) groups(pid int) (dirs []string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	must(g.T, err)
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, mount := range []string{"/sys/fs/cgroup/" + parts[1], "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
			dir := mount + parts[2]
			if _, err := os.Stat(dir + "/cgroup.procs"); err == nil && strings.HasPrefix(filepath.Base(dir), "gopm-") && filepath.Base(dir) != "gopm-self" {
				dirs = append(dirs, dir)
				break
			}
		}
	}
	return dirs
}

// TestLimits: the kernel holds an app to its limits, where it lets gopm make cgroups; else
// it is said, and what is required isn't started.
func TestLimits(t *testing.T) {
	g := newGopm(t)
	g.file("eco.json", `[
		{"name": "calm", "script": "sleep 1000", "min_uptime": 100, "limits": {"cpu": 0.5, "memory": "64M", "pids": 20}},
		{"name": "sleeper", "script": "sleep 1000", "min_uptime": 100, "autorestart": false, "limits": {"memory": "64M"}},
		{"name": "escape", "script": "sh", "args": ["-c", "env -i setsid sh -c 'sleep 1001 & sleep 1001' & exec sleep 1000"], "min_uptime": 100, "treekill": true, "limits": {"pids": 20}},
		{"name": "eater", "script": "sh", "args": ["-c", "x=x; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27; do x=$x$x; done"], "min_uptime": "30s", "max_restarts": 1, "autostart": false, "autorestart": false, "limits": {"memory": "16M"}},
		{"name": "forker", "script": "sh", "args": ["-c", "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done"], "min_uptime": 100, "autostart": false, "autorestart": false, "limits": {"pids": 10}}]`)
	said := g.try("start", "eco.json")
	if said.code != 0 {
		t.Fatalf("%v", said)
	}
	if strings.Contains(said.err, "without effect") {
		contains(t, "info", g.run("info", "calm"), "without effect")
		g.file("need.json", `[{"name": "need", "script": "sleep 1000", "limits": {"memory": "64M", "required": true}}]`)
		g.fail(1, []string{"need: limits.memory without effect", "required"}, "start", "need.json")
		return
	}
	contains(t, "info", g.run("info", "calm"), "cpu 0.5, memory 64M, pids 20: in force")
	made := g.groups(g.app("calm").Pid)
	if len(made) == 0 {
		t.Fatal("it is in no cgroup of its own")
	}
	value := func(names ...string) string {
		for _, dir := range made {
			for _, name := range names {
				if text, err := os.ReadFile(dir + "/" + name); err == nil {
					return strings.TrimSpace(string(text))
				}
			}
		}
		return ""
	}
	if got := value("memory.limit_in_bytes", "memory.max"); got != strconv.Itoa(64<<20) {
		t.Errorf("memory: %q", got)
	}
	if got := value("cpu.cfs_quota_us", "cpu.max"); got != "50000" && got != "50000 100000" {
		t.Errorf("cpu: %q", got)
	}

	g.try("start", "eater") // it may be dead before it counts as started
	g.await("eater", "an end", func(e entry) bool { return e.Env.Status == "errored" || e.Env.Status == "stopped" })
	contains(t, "info", g.run("info", "eater"), "killed by the kernel, out of memory")
	if got := g.app("calm"); got.Env.Status != "online" || got.Env.Restarts != 0 {
		t.Errorf("another app has felt it: %v", got)
	}
	g.try("start", "forker")                                             // a shell that can't fork ends
	g.fileSays(filepath.Join(g.home, "logs", "forker-error.log"), "ork") // "Cannot fork", or bash's "fork: retry"
	made = append(made, g.groups(g.app("escape").Pid)...)

	escaped := belongingToGroup(t, g.groups(g.app("escape").Pid))
	if len(escaped) < 4 {
		t.Errorf("what has left its group and its parents isn't in the cgroup: %v", escaped)
	}
	daemon, _ := g.daemon()
	process{pid: daemon}.kill()
	contains(t, "info after the daemon's death", g.run("info", "calm"), "in force")
	process{pid: g.app("sleeper").Pid}.kill()
	g.await("sleeper", "its end", func(e entry) bool { return e.Env.Status == "stopped" })
	contains(t, "info of a killed one", g.run("info", "sleeper"), "ended by SIGKILL")
	g.run("stop", "escape")
	for _, pid := range escaped {
		eventually(t, soon, gone(pid))
	}
	g.run("kill")
	for _, dir := range made {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}

// belongingToGroup are the processes of cgroups.
func belongingToGroup(t *testing.T, dirs []string) (pids []int) {
	t.Helper()
	for _, dir := range dirs {
		text, err := os.ReadFile(dir + "/cgroup.procs")
		must(t, err)
		for _, s := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(s)
			must(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

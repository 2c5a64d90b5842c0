package cmd_test

import (
	"fmt"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
)

// What clustered apps have inside a container: the same as outside.

// slay kills a process of the container, and waits until it is gone.
func (b *box) slay(inside int) death {
	b.Helper()
	from := time.Now()
	pid := b.outside(inside)
	b.kill(inside, syscall.SIGKILL)
	eventually(b.T, soon, gone(pid))
	return death{from, time.Now()}
}

// clusterBox is a container whose entrypoint is a cluster of web.js, once that answers.
func (p *podman) clusterBox(options []string, fields string) (b *box, g *gopm, target string) {
	p.Helper()
	target = fmt.Sprintf("127.0.0.1:%d", freePort(p.T))
	name := path.Base(target) + ".json"
	p.file(name, fmt.Sprintf(`{"apps": [{"name": "web", "script": "/work/web.js", "args": %q, %s}]}`, target, fields))
	b = p.box(p.node(), options, "gopm", "runtime", "/work/"+name)
	answering(p.T, target)
	return b, b.inside(), target
}

// whatIsRefused are the words for a container that doesn't let gopm have the sockets of programs.
var whatIsRefused = []string{"can't be had", "pidfd_getfd is refused (operation not permitted): in a container allow it (--cap-add SYS_PTRACE"}

// daemon is the daemon's pid in it, as the last one says itself.
func (b *box) daemon() (pid int) {
	b.Helper()
	const word = " started: pid "
	_, log := b.logs()
	_, err := fmt.Sscanf(log[strings.LastIndex(log, word)+len(word):], "%d,", &pid)
	must(b.T, err)
	return pid
}

// TestClusterInAContainer: nobody notices a reload, and of crashes only what the dead one had accepted; one of two that
// die together, and with the daemon, is replaced by the spare.
func TestClusterInAContainer(t *testing.T) {
	p := newPodman(t)
	p.web("node")
	for name, options := range map[string][]string{
		"podman, root":         nil,
		"podman, unprivileged": append(unprivileged, "--read-only", "--tmpfs=/tmp"),
		"docker, root":         {p.docker()},
		"docker, unprivileged": append(unprivileged, "--security-opt=no-new-privileges", p.docker()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, g, target := p.sub(t).clusterBox(options, `"instances": 2, "spares": 1, "min_uptime": "300ms"`)
			var deaths []death
			var spare string
			r := underLoad(t, load.Plan{Target: target, Rate: 50, SlowPath: "/slow?ms=300", SlowShare: 0.2, Timeout: 3 * soon}, func() {
				g.awaitSpares("web", 2, 1)
				if out := g.run("reload", "web"); strings.Contains(out, " cut") {
					t.Errorf("it cut requests: %s", out)
				}
				g.awaitSpares("web", 2, 1)
				b.kill(b.daemon(), syscall.SIGKILL)
				for _, in := range g.places("web") {
					if in.Process.Standby {
						spare = fmt.Sprint(in.Process.Pid)
					} else {
						deaths = append(deaths, b.slay(in.Process.Pid))
					}
				}
				g.awaitSpares("web", 2, 1)
			})
			if lost := unexplained(r, deaths); len(lost) > 0 || len(deaths) != 2 || r.Servers[spare] == 0 || len(r.Servers) != 6 {
				t.Errorf("the spare was %s: %s %v", spare, r.Text(), lost)
			}
			times := 0
			if strings.HasPrefix(name, "docker") {
				contains(t, "info", g.run("info", "web", "--json"), whatIsRefused...)
				times = 2 // each daemon says it once
			}
			_, log := b.logs()
			if strings.Count(log, whatIsRefused[0]) != times || strings.Count(log, whatIsRefused[1]) != times {
				t.Errorf("%q is not said %d times:\n%s", whatIsRefused, times, log)
			}
			lacks(t, "the log of one of several containers that share a network", log, "sd_notify")
		})
	}
}

// TestKeptConnectionsUnderDocker: where sockets can't be had, idle connections end with the program; with the capability
// they are ended one by one, and no request meets a close. A request is never executed twice or by half either way.
func TestKeptConnectionsUnderDocker(t *testing.T) {
	p := newPodman(t)
	p.web("node")
	for name, c := range map[string]struct {
		options []string
		want    string
	}{
		"plain":               {[]string{p.docker()}, "connections can't be ended from outside (operation not permitted)"},
		"with the capability": {[]string{p.docker(), "--cap-add=SYS_PTRACE"}, " idle connections closed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, g, target := p.sub(t).clusterBox(c.options, `"instances": 2, "min_uptime": "300ms", "drain": {"idle": "150ms"}`)
			const think = 400 * time.Millisecond
			r := underLoad(t, load.Plan{Target: target, Clients: 6, KeepAlive: true, Think: func() time.Duration { return think }}, func() {
				contains(t, "reload", g.run("reload", "web"), c.want)
			})
			if r.Failed() != r.ResetReused || r.ResetReused > 6*2 {
				t.Error(r.Text())
			}
		})
	}
}

// TestAnotherUserInAContainer: root has no right to look into the programs of others there, unless it is given that one.
func TestAnotherUserInAContainer(t *testing.T) {
	p := newPodman(t)
	p.web("node")
	const another = `"exec_mode": "cluster", "uid": 1000, "gid": 1000, "min_uptime": "300ms"`
	_, g, _ := p.clusterBox(nil, another)
	eventually(t, soon, func() error {
		info := g.run("info", "web", "--json")
		for _, words := range []string{"a program of another user can't be looked into", "--cap-add SYS_PTRACE", "USER in a Dockerfile"} {
			if !strings.Contains(info, words) {
				return fmt.Errorf("info lacks %q: %s", words, info)
			}
		}
		return nil
	})
	_, g, target := p.clusterBox([]string{p.docker(), "--cap-add=SYS_PTRACE"}, another)
	contains(t, "info", g.run("info", "web"), "cluster_mode", target)
}

// TestOutOfMemoryInAContainer: the kernel kills the app that has eaten all of the container's memory, and not gopm, which
// is PID 1, says so and starts it again.
func TestOutOfMemoryInAContainer(t *testing.T) {
	p := newPodman(t)
	p.file("eater.js", `const fs = require('fs'), lives = [];
fs.appendFileSync('/tmp/lives', 'x');
if (fs.readFileSync('/tmp/lives', 'utf8').length > 1) setInterval(() => {}, 1000);
else setInterval(() => lives.push(Buffer.alloc(4 << 20, 1)), 5);
console.log('life', fs.readFileSync('/tmp/lives', 'utf8').length);`)
	p.file("other.js", "setInterval(() => {}, 1000)")
	p.file("oom.json", `{"apps": [{"name": "eater", "script": "/work/eater.js"}, {"name": "other", "script": "/work/other.js"}]}`)
	b := p.box(p.node(), append(unprivileged, "--memory=200m", "--memory-swap=200m"), "gopm", "runtime", "/work/oom.json")
	g := b.inside()
	other := g.awaitStatus("other", "online").Pid
	eventually(t, 3*soon, func() error {
		if out, err := b.logs(); !strings.Contains(out, "life 2\n") {
			return fmt.Errorf("no second life:\n%s\n%s", out, err)
		}
		return nil
	})
	contains(t, "info", g.run("info", "eater"), "killed by the kernel, out of memory after")
	_, log := b.logs()
	contains(t, "gopm's words", log, "out of memory")
	if e := g.awaitStatus("other", "online"); e.Pid != other || e.Env.Restarts != 0 {
		t.Errorf("the other one was %d, is %v", other, e)
	}
	if e := g.awaitStatus("eater", "online"); e.Env.Restarts != 1 {
		t.Errorf("the eater: %v", e)
	}
	if pid := b.outside(1); pid != b.pid {
		t.Errorf("PID 1 was %d, is %d", b.pid, pid)
	}
}

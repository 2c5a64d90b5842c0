package cmd_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What clustered apps are refused, and what they are told then.

// clustered writes a file with one app, a test server on a port, and returns its path.
func (g *gopm) clustered(name string, port int, fields string) string {
	g.Helper()
	return g.file(name+".json", `{"apps": [`+g.webApp(name, "go", fmt.Sprintf("127.0.0.1:%d", port), `"exec_mode": "cluster"`+fields)+`]}`)
}

// askPort asks once, on a connection of its own, and returns the pid of who answers.
func askPort(port int) (pid int, err error) {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	return strconv.Atoi(r.Header.Get("X-Pid"))
}

// TestPortOfAStranger: the failed start names the app, the port and who has it.
func TestPortOfAStranger(t *testing.T) {
	g := newGopm(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	holder := fmt.Sprintf("port %d is taken: cmd.test (pid %d, user", port, os.Getpid())
	g.fail(1, []string{"web:0 failed", holder, fmt.Sprintf("listens on 127.0.0.1:%d", port)}, "start", g.clustered("web", port, ""))
	contains(t, "the log", g.log(), "web:0: "+holder)
	contains(t, "info", g.run("info", "web"), "refused", holder)
}

// TestStrangerOfAnotherUser is told of as far as it can be seen.
func TestStrangerOfAnotherUser(t *testing.T) {
	g := newGopm(t).as(t, "nobody")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	g.fail(1, []string{"web:0 failed", fmt.Sprintf("port %d is taken: a process of the user root that can't be seen", port)}, "start", g.clustered("web", port, ""))
}

// TestPortOfAnotherApp names that app; both may agree to share.
func TestPortOfAnotherApp(t *testing.T) {
	for _, user := range []string{"root", "nobody"} {
		t.Run(user, func(t *testing.T) {
			g := newGopm(t)
			if user != "root" {
				g = g.as(t, user)
			}
			port := freePort(t)
			g.run("start", g.clustered("web", port, ""))
			g.fail(1, []string{"api:0 failed", fmt.Sprintf("port %d is the app web's", port), "share"}, "start", g.clustered("api", port, ""))
			g.run("delete", "api")
			g.run("delete", "web")
			g.run("start", g.clustered("web", port, `, "share": true`))
			g.run("start", g.clustered("api", port, `, "share": true`))
			pids, seen := g.pids(), map[int]int{}
			eventually(t, soon, func() error {
				pid, err := askPort(port)
				if seen[pid]++; err != nil || seen[pids["web:0"]] == 0 || seen[pids["api:0"]] == 0 {
					return fmt.Errorf("%v, answers by pid: %v, want all of %v", err, seen, pids)
				}
				return nil
			})
			g.run("stop", "web")
			for range 20 {
				if pid, err := askPort(port); pid != pids["api:0"] {
					t.Fatalf("answered by %d (%v), want %v", pid, err, pids)
				}
			}
		})
	}
}

// TestPrivilegedPort: a named one is lent, and no other.
func TestPrivilegedPort(t *testing.T) {
	g := newGopm(t)
	port := 0
	for p := 1023; p > 600 && port == 0; p-- {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err == nil {
			l.Close()
			port = p
		}
	}
	if !lowIsPrivileged(port) {
		t.Skip("ports below 1024 are everybody's here (net.ipv4.ip_unprivileged_port_start)")
	}
	asNobody := `, "uid": "nobody", "cwd": "/", "instances": 2`
	g.fail(1, []string{"web:0 failed", fmt.Sprintf("port %d is below 1024", port), "cluster_ports", "permission denied"}, "start", g.clustered("web", port, asNobody))
	g.run("delete", "web")
	for _, naming := range []string{fmt.Sprintf(`"cluster_ports": [%d]`, port), fmt.Sprintf(`"port": %d`, port), fmt.Sprintf(`"env": {"PORT": %d}`, port)} {
		g.run("start", g.clustered("web", port, asNobody+", "+naming))
		eventually(t, soon, func() error { _, err := askPort(port); return err })
		g.run("delete", "web")
	}
	own := g.as(t, "nobody")
	own.fail(1, []string{"web:0 failed", fmt.Sprintf("port %d is below 1024", port), "gopm itself may not have it"},
		"start", own.clustered("web", port, fmt.Sprintf(`, "port": %d`, port)))
	own.run("delete", "web")
	r := own.fail(1, []string{"gopm itself may not have it"}, "start", own.clustered("web", port, ""))
	lacks(t, "what an ordinary user is told", r.err, "then gopm lends it") // it can't
}

func lowIsPrivileged(port int) bool {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	var first int
	_, bad := fmt.Sscan(string(text), &first)
	return err != nil || bad != nil || port < first
}

// denyWord has the test binary be a program that starts another one which is refused
// some system calls, as in a container: deny NUMBER=ERRNO,… PROGRAM ARGS…
const denyWord = "deny"

// denyAndRun returns only with an error.
func denyAndRun(calls string, argv []string) error {
	const allow, refuse, offNumber, allThreads, setFilter = 0x7fff0000, 0x00050000, 0, 1, 1
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offNumber}}
	for _, c := range strings.Split(calls, ",") {
		var number, errno uint32
		if _, err := fmt.Sscanf(c, "%d=%d", &number, &errno); err != nil {
			return err
		}
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: refuse | errno})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: allow})
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, setFilter, allThreads, uintptr(unsafe.Pointer(&p))); e != 0 {
		return e
	}
	return syscall.Exec(argv[0], argv, os.Environ())
}

// denied runs a gopm command that is refused system calls, and so is the daemon that it starts.
func (g *gopm) denied(calls string, args ...string) result {
	g.Helper()
	if os.Geteuid() != 0 {
		g.Skip("only root can refuse calls without no_new_privs")
	}
	self, err := os.Executable()
	must(g.T, err)
	cmd := g.command(args...)
	cmd.Path, cmd.Args = self, append([]string{self, denyWord, calls, g.binary}, args...)
	return g.execute(cmd)
}

// TestContainerRefusesSockets: where a program's socket can't be had, as with Docker's
// default profile, it is given one of gopm's, and the crash of an instance isn't noticed.
func TestContainerRefusesSockets(t *testing.T) {
	g := newGopm(t)
	port := freePort(t)
	calls := fmt.Sprintf("%d=%d", unix.SYS_PIDFD_GETFD, unix.EPERM)
	if r := g.denied(calls, "start", g.clustered("web", port, `, "instances": 2`)); r.code != 0 {
		t.Fatal(r)
	}
	contains(t, "the log", g.log(), "sockets of programs can't be had", "pidfd_getfd is refused", "--cap-add SYS_PTRACE")
	pids, seen := g.pids(), map[int]int{}
	eventually(t, soon, func() error {
		pid, err := askPort(port)
		if seen[pid]++; err != nil || seen[pids["web:0"]] == 0 || seen[pids["web:1"]] == 0 {
			return fmt.Errorf("%v, answers by pid: %v, want all of %v", err, seen, pids)
		}
		return nil
	})
	for range 3 {
		g.killHard(g.pids()["web:0"])
		for range 10 {
			if _, err := askPort(port); err != nil {
				t.Fatal(err)
			}
		}
		g.awaitUp("web:0")
	}
	contains(t, "info", g.run("info", "web"), "cluster_mode", fmt.Sprintf("127.0.0.1:%d", port))
}

// awaitUp waits until an instance has a process.
func (g *gopm) awaitUp(instance string) {
	g.Helper()
	eventually(g.T, soon, func() error {
		if pids := g.pids(); pids[instance] == 0 {
			return fmt.Errorf("%s has no process: %v", instance, pids)
		}
		return nil
	})
}

// TestContainerRefusesFilter: the app runs as in fork mode, and the user is told why a
// second instance can't have the port.
func TestContainerRefusesFilter(t *testing.T) {
	for name, c := range map[string]struct {
		calls, remedy string
	}{
		"forbidden":  {fmt.Sprintf("%d=%d", unix.SYS_SECCOMP, unix.EPERM), "seccomp=unconfined"},
		"old kernel": {fmt.Sprintf("%d=%d", unix.SYS_SECCOMP, unix.EINVAL), "since Linux 5.0"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGopm(t)
			port := freePort(t)
			if r := g.denied(c.calls, "start", g.clustered("web", port, "")); r.code != 0 {
				t.Fatal(r)
			}
			contains(t, "info", g.run("info", "web"), "fork_mode", c.remedy)
			contains(t, "the log", g.log(), "web:0: its instances can't share a port (the second one that binds it fails), it runs as in fork mode", c.remedy)
			g.run("delete", "web")
			r := g.fail(1, []string{" failed: exited with code 1", c.remedy, "address already in use"}, "start", g.clustered("web", port, `, "instances": 2`))
			if n := strings.Count(r.err, " failed:"); n != 1 {
				t.Errorf("%d instances have failed, want one: %v", n, r)
			}
		})
	}
}

// TestStormOfBinds: a program that binds without end costs the daemon a small share of a
// processor, and other apps are looked after as ever.
func TestStormOfBinds(t *testing.T) {
	g := newGopm(t)
	port := freePort(t)
	g.file("storm.py", `import socket
while True:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
`)
	g.file("storm.json", `{"apps": [{"name": "storm", "script": "storm.py", "interpreter": "/usr/bin/python3", "instances": 4}]}`)
	g.run("start", "storm.json")
	daemon, keeper := g.daemon()
	used, began := cpuSeconds(t, daemon)+cpuSeconds(t, keeper), time.Now()
	g.run("start", g.clustered("web", port, `, "instances": 2`))
	for kill := range 6 {
		victim := fmt.Sprintf("web:%d", kill%2)
		was := g.pids()[victim]
		g.killHard(was)
		eventually(t, soon, func() error {
			if now := g.pids()[victim]; now == was || now == 0 {
				return fmt.Errorf("%s has no successor: %d", victim, now)
			}
			_, err := askPort(port)
			return err
		})
		g.run("ping")
	}
	share := (cpuSeconds(t, daemon) + cpuSeconds(t, keeper) - used) / time.Since(began).Seconds()
	t.Logf("daemon and keeper used %.2f of a processor", share)
	if share > 0.9 {
		t.Errorf("in a storm of four programs daemon and keeper used %.2f processors", share)
	}
}

// cpuSeconds is what a process has used.
func cpuSeconds(t *testing.T, pid int) float64 {
	t.Helper()
	const user, system, ticks = 11, 12, 100
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	u, err := strconv.ParseFloat(fields[user], 64)
	must(t, err)
	s, err := strconv.ParseFloat(fields[system], 64)
	must(t, err)
	return (u + s) / ticks
}

// TestPrivilegesWithoutEffect: who starts a program with a setuid bit or capabilities in
// an ordinary user's cluster is told that they have no effect.
func TestPrivilegesWithoutEffect(t *testing.T) {
	root := newGopm(t)
	g := root.as(t, "nobody")
	program := func(name string, privilege func(string) error) string {
		path := root.file(name, "")
		text, err := os.ReadFile(root.web("go"))
		must(t, err)
		syscall.ForkLock.RLock()
		err = os.WriteFile(path, text, 0o755)
		syscall.ForkLock.RUnlock()
		must(t, err)
		must(t, os.Chmod(path, 0o755))
		must(t, privilege(path))
		return path
	}
	capabilities := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // cap_net_bind_service+ep
	script := root.script("script", "")
	for _, c := range []struct{ path, want string }{
		{program("setuid", func(path string) error { return os.Chmod(path, 0o755|os.ModeSetuid) }), "setuid has the setuid bit, without effect"},
		{program("capable", func(path string) error { return unix.Setxattr(path, "security.capability", capabilities, 0) }), "capable has file capabilities, without effect"},
		{program("plain", func(string) error { return nil }), ""},
		{script, "setuid has the setuid bit, without effect"},
	} {
		if c.path == script {
			root.file("script", "#!"+root.dir+"/setuid\n")
		}
		for _, mode := range []string{"cluster", "fork"} {
			file := g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": %q, "args": "127.0.0.1:%d", "interpreter": "none", "exec_mode": %q}]}`, c.path, freePort(t), mode))
			r := g.try("start", file, "--no-wait")
			if want := c.want != "" && mode == "cluster"; strings.Contains(r.err, "without effect") != want || !strings.Contains(r.err, c.want) && want {
				t.Errorf("%s, %s: %v", c.path, mode, r)
			}
			if mode == "cluster" && c.path != script {
				eventually(t, soon, func() error { // it is being spawned
					if info := g.run("info", "web"); !strings.Contains(info, "no_new_privs") {
						return errors.New(info)
					}
					return nil
				})
			}
			g.run("delete", "web")
		}
	}
	lacks(t, "root's start", root.try("start", root.clustered("web", freePort(t), "")).err, "without effect")
}

// TestInsideAnotherCluster: system calls can be watched by one gopm only.
func TestInsideAnotherCluster(t *testing.T) {
	outer := newGopm(t)
	inner := outer.at(outer.dir + "/inner")
	port := freePort(t)
	web := outer.clustered("web", port, "")
	outer.script("gopm.sh", `export GOPM_HOME=`+inner.home+`
trap "`+outer.binary+` kill; exit 0" INT TERM
`+outer.binary+` start `+web+` || exit 3
sleep 1000 & wait`)
	outer.run("start", outer.file("outer.json", `{"apps": [{"name": "gopm", "script": "gopm.sh", "exec_mode": "cluster", "kill_timeout": "20s"}]}`))
	eventually(t, soon, func() error { _, err := askPort(port); return err })
	contains(t, "info", inner.run("info", "web"), "fork_mode", "runs inside a clustered app of another gopm", "exec_mode: fork")
	contains(t, "the log", inner.log(), "web:0: its instances can't share a port")
	outer.run("stop", "gopm")
	for _, p := range belongingTo(inner.home) {
		t.Errorf("left running: %s", p)
		p.kill()
	}
}

// TestWorkers: an app that listens on nothing has its four workers, and nothing is said.
func TestWorkers(t *testing.T) {
	g := newGopm(t)
	g.sleeper("work.sh")
	r := g.try("start", g.file("eco.json", `{"apps": [{"name": "work", "script": "work.sh", "instances": 4, "min_uptime": "300ms"}]}`))
	if r.code != 0 || r.err != "" {
		t.Errorf("start: %v", r)
	}
	for index := range 4 {
		g.awaitUp(fmt.Sprintf("work:%d", index))
	}
	contains(t, "info", g.run("info", "work"), "cluster_mode", "no port (it listens on none)")
	for _, word := range []string{"warning", "cannot", "can't", "refused"} {
		lacks(t, "the log", g.log(), word)
	}
}

// TestNpmStart: what npm starts counts as the instance.
func TestNpmStart(t *testing.T) {
	g := newGopm(t)
	port := freePort(t)
	g.file("package.json", fmt.Sprintf(`{"name": "web", "version": "1.0.0", "scripts": {"start": "node %s 127.0.0.1:%d"}}`, g.web("node"), port))
	g.run("start", g.file("eco.json", `{"apps": [{"name": "web", "script": "npm", "args": "start", "interpreter": "none", "instances": 2}]}`))
	both := func() {
		t.Helper()
		seen := map[int]bool{}
		eventually(t, 2*soon, func() error {
			pid, err := askPort(port)
			if err == nil {
				seen[pid] = true
			}
			if len(seen) < 2 {
				return fmt.Errorf("%v, answers: %v", err, seen)
			}
			return nil
		})
	}
	both()
	g.killHard(g.pids()["web:0"])
	both()
	contains(t, "info", g.run("info", "web"), fmt.Sprintf("127.0.0.1:%d", port))
}

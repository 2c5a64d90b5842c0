package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What signals do to a gopm in the foreground, and the death of its processes.

// TestRuntimeStubbornApp: a second signal, or the end of the grace, kills what doesn't end.
func TestRuntimeStubbornApp(t *testing.T) {
	g := newGopm(t)
	g.script("app.sh", `trap "echo no" TERM; echo up; while :; do sleep 0.1; done`)
	file := g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh", "kill_timeout": "60s"}]}`)
	f := g.front(file)
	f.says("up\n", "")
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.says("no\n", "stopping all apps")
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.ends(128 + 9)
	f.says("", "killing what is left")

	f = g.front(file, "--grace", "300ms")
	f.says("up\n", "")
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.ends(128 + 9)
	f.says("no\n", "not everything has ended within 300ms")
}

// TestRuntimeReloadsAndReopens: SIGHUP and SIGUSR2 end nothing.
func TestRuntimeReloadsAndReopens(t *testing.T) {
	g := newGopm(t)
	g.script("app.sh", `trap "exit 0" TERM; echo "up $$"; while :; do sleep 0.1; done`)
	f := g.front(g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh", "out_file": "web.log"}]}`))
	f.says("up ", "web:0 (id 0) online")
	log := filepath.Join(g.dir, "web.log")
	must(t, os.Rename(log, log+".1"))
	must(t, f.cmd.Process.Signal(syscall.SIGUSR2))
	eventually(t, soon, func() error { _, err := os.Stat(log); return err })
	must(t, f.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, soon, func() error {
		if n := strings.Count(f.out.String(), "up "); n != 2 {
			return fmt.Errorf("started %d times", n)
		}
		return nil
	})
	g.fileSays(log, "up ")
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.ends(0)
}

// TestRuntimeSignalDuringTheStart: whenever it comes, nothing goes on. What was not yet
// caught ends the process that it was sent to.
func TestRuntimeSignalDuringTheStart(t *testing.T) {
	g := newGopm(t)
	g.script("app.sh", "exec sleep 1000")
	file := g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh"}]}`)
	stages := map[string]func(f *front) bool{
		"at once": func(*front) bool { return true },
		"keeper":  func(f *front) bool { return commOf(f.cmd.Process.Pid) == "gopm-keeper" },
		"daemon":  func(f *front) bool { return strings.Contains(f.err.String(), "started") },
		"app":     func(f *front) bool { return strings.Contains(f.err.String(), "launching") },
	}
	for name, reached := range stages {
		for range 3 {
			f := g.front(file)
			eventually(t, soon, func() error {
				if !reached(f) {
					return fmt.Errorf("not yet: %s", name)
				}
				return nil
			})
			must(t, f.cmd.Process.Signal(syscall.SIGTERM))
			select {
			case code := <-f.ended:
				if code != -1 && code != 128+15 && code != 130 {
					t.Errorf("%s: code %d", name, code)
				}
			case <-time.After(3 * soon):
				t.Fatalf("%s: it hasn't ended", name)
			}
		}
	}
}

func commOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // gone: ""
	return strings.TrimSpace(string(text))
}

// TestRuntimeSurvivesItsDaemon, and doesn't survive its keeper.
func TestRuntimeSurvivesItsDaemon(t *testing.T) {
	g := newGopm(t)
	g.script("app.sh", `echo "up $$"; n=0; while :; do n=$((n+1)); echo "line $n"; echo "bad $n" >&2; sleep 0.05; done`)
	f := g.front(g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh"}]}`))
	f.says("line 3\n", "web:0 (id 0) online")
	daemon, keeper := g.daemon()
	if keeper != f.cmd.Process.Pid {
		t.Errorf("the keeper is %d, not %d", keeper, f.cmd.Process.Pid)
	}
	pid := g.app("web").Pid
	must(t, syscall.Kill(daemon, syscall.SIGKILL))
	eventually(t, soon, func() error {
		if now, _ := g.daemon(); now == daemon {
			return fmt.Errorf("no new daemon")
		}
		return nil
	})
	seen := strings.Count(f.out.String(), "\n")
	f.says(fmt.Sprintf("line %d\n", seen+5), fmt.Sprintf("bad %d\n", seen+5))
	if e := g.app("web"); e.Pid != pid || strings.Count(f.out.String(), "up ") != 1 {
		t.Errorf("%v, was pid %d", e, pid)
	}
	must(t, syscall.Kill(keeper, syscall.SIGKILL))
	f.ends(-1)
	eventually(t, 2*soon, gone(pid))
	eventually(t, soon, func() error {
		if left := belongingTo(g.home); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}

// TestRuntimeOnATerminal: Ctrl-C comes once, and the end of the terminal is the end.
func TestRuntimeOnATerminal(t *testing.T) {
	g := newGopm(t)
	g.script("app.sh", `trap "echo int; exit 6" INT; trap "exit 7" TERM; echo up; while :; do sleep 0.1; done`)
	file := g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh"}]}`)
	for _, hangUp := range []bool{false, true} {
		master, slave := newTerminal(t)
		cmd := g.command("runtime", file)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		f := g.frontOf(cmd)
		slave.Close()
		var seen locked
		done := make(chan struct{})
		go func(master *os.File) { // ends with the terminal
			defer close(done)
			buf := make([]byte, 4096)
			for {
				n, err := master.Read(buf)
				_, _ = seen.Write(buf[:n])
				if err != nil {
					return
				}
			}
		}(master)
		eventually(t, soon, func() error {
			if !strings.Contains(seen.String(), "online") {
				return fmt.Errorf("%q", seen.String())
			}
			return nil
		})
		if hangUp {
			master.Close()
			f.ends(7)
		} else {
			_, err := master.WriteString("\x03")
			must(t, err)
			f.ends(6)
			if text := seen.String(); strings.Count(text, "int\n") != 1 {
				t.Errorf("%q", text)
			}
			master.Close()
		}
		<-done
	}
}

// TestRuntimeAsProcess1: orphans are reaped, and a signal is obeyed although nobody has to.
func TestRuntimeAsProcess1(t *testing.T) {
	g := newGopm(t)
	unshare, err := exec.LookPath("unshare")
	must(t, err)
	g.script("app.sh", `i=0; while [ $i -lt 100 ]; do (sh -c "exit 3" &); i=$((i+1)); done; trap "exit 5" TERM
echo "left $(ls /proc | grep -c '^[0-9]*$')"; while :; do sleep 0.1; done`)
	file := g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh"}]}`)
	cmd := g.command("runtime", file)
	cmd.Args = append([]string{unshare, "--pid", "--fork", "--mount-proc", "--kill-child"}, cmd.Args...)
	cmd.Path = unshare
	f := g.frontOf(cmd)
	f.says("left ", "web:0 (id 0) online")
	kids, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", f.cmd.Process.Pid))
	must(t, err)
	var init int
	_, err = fmt.Sscan(string(kids), &init)
	must(t, err)
	eventually(t, soon, func() error {
		text, err := exec.Command("nsenter", "-t", fmt.Sprint(init), "-p", "-m", "ps", "-eo", "stat,comm").Output()
		if err == nil && strings.Contains(string(text), "Z") {
			err = fmt.Errorf("zombies:\n%s", text)
		}
		return err
	})
	must(t, syscall.Kill(init, syscall.SIGTERM))
	f.ends(5)
}

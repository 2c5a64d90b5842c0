package cmd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A gopm in the foreground, without a container.

// front is one that runs.
type front struct {
	*gopm
	cmd      *exec.Cmd
	out, err locked
	ended    chan int // its exit code, once
}

// locked is what a process has written so far.
type locked struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// front begins gopm runtime.
func (g *gopm) front(args ...string) *front {
	g.Helper()
	return g.frontOf(g.command(append([]string{"runtime"}, args...)...))
}

// foreground begins a command that stays.
func (g *gopm) foreground(args ...string) *front {
	g.Helper()
	return g.frontOf(g.command(args...))
}

// frontOf begins one with streams of its own, or those of the test.
func (g *gopm) frontOf(cmd *exec.Cmd) *front {
	g.Helper()
	f := &front{gopm: g, cmd: cmd, ended: make(chan int, 1)}
	if cmd.Stdout == nil {
		cmd.Stdout = &f.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &f.err
	}
	must(g.T, f.cmd.Start())
	go func() { // ends with the process, which the test's cleanup ends
		err := f.cmd.Wait()
		var e *exec.ExitError
		if err != nil && !errors.As(err, &e) {
			g.Errorf("runtime: %v", err)
		}
		f.ended <- f.cmd.ProcessState.ExitCode()
	}()
	g.Cleanup(func() {
		_ = f.cmd.Process.Kill()
		lacks(g.T, "stderr", f.err.String(), "DATA RACE")
		if g.Failed() {
			g.Logf("stdout:\n%s\nstderr:\n%s", f.out.String(), f.err.String())
		}
	})
	return f
}

// says waits until both streams have what they should.
func (f *front) says(out, err string) {
	f.Helper()
	eventually(f.T, soon, func() error {
		if !strings.Contains(f.out.String(), out) || !strings.Contains(f.err.String(), err) {
			return fmt.Errorf("no %q in %q, or no %q in %q", out, f.out.String(), err, f.err.String())
		}
		return nil
	})
}

func (f *front) ends(code int) {
	f.Helper()
	select {
	case got := <-f.ended:
		if got != code {
			f.Errorf("it ended with code %d, want %d", got, code)
		}
	case <-time.After(3 * soon):
		f.Fatal("it hasn't ended")
	}
}

func TestRuntimePassesTheSignalOn(t *testing.T) {
	g := newGopm(t)
	for sig, code := range map[syscall.Signal]int{syscall.SIGTERM: 5, syscall.SIGINT: 6, syscall.SIGQUIT: 7} {
		g.script("app.sh", `trap "echo term; exit 5" TERM; trap "echo int; exit 6" INT; trap "echo quit; exit 7" QUIT
echo up; echo oops >&2; while :; do sleep 0.1; done`)
		f := g.front(g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh"}]}`))
		f.says("up\n", "oops\n")
		must(t, f.cmd.Process.Signal(sig))
		f.ends(code)
		lacks(t, "stdout", f.out.String(), "gopm")
	}
}

func TestRuntimeEndsWithItsApps(t *testing.T) {
	g := newGopm(t)
	g.script("ok.sh", "echo well")
	g.script("bad.sh", "exit 3")
	file := g.file("eco.json", `{"apps": [{"name": "ok", "script": "ok.sh", "autorestart": false}, {"name": "bad", "script": "bad.sh", "autorestart": false}]}`)
	f := g.front(file)
	f.ends(3)
	f.says("well\n", "ending with code 3")
	g.front(file, "--only", "ok").ends(0)
	g.front("nothing.sh").ends(2)
	f = g.front(g.file("eco.json", `{"apps": [{"name": "loop", "script": "ok.sh", "max_restarts": 2, "exp_backoff_restart_delay": 10}]}`))
	f.ends(1)
}

package cmd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The system tests drive the built binary as a person does: every test has a home
// and a working folder of its own, real programs, and after it nothing may be left
// running. GOPM_TEST_RACE=1 builds the binary with the race detector.

// toolbox holds the binary; it is made before the tests and removed after them.
var toolbox string

const toolboxName = "gopm-test" // and a number

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == denyWord {
		fmt.Fprintln(os.Stderr, denyAndRun(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == witnessWord {
		fmt.Fprintln(os.Stderr, countIn(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(inToolbox(m.Run))
}

func inToolbox(run func() int) int {
	dir, err := os.MkdirTemp("", toolboxName)
	if err != nil {
		fmt.Fprintln(os.Stderr, "no temporary folder:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // another user starts it, too
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	toolbox = dir
	return run()
}

const raceSwitch = "GOPM_TEST_RACE"

// build builds the binary into the toolbox, once.
var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(toolbox, "gopm")
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X gopm/cmd.version=v0.0.0-test", "-o", binary}
	cgo := "CGO_ENABLED=0"
	if os.Getenv(raceSwitch) != "" {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "gopm/cmd/gopm")...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return binary, nil
})

// gopm is one home with the binary, and a folder in which commands run.
type gopm struct {
	*testing.T
	binary string
	home   string
	dir    string
	env    []string            // of the commands, beside GOPM_HOME
	cred   *syscall.Credential // who runs them; nil: who runs the test
	within []string            // goes before them: what brings them to another machine
}

// newGopm gives a test its gopm. Tests with one run in parallel; when they end,
// gopm kill has to leave nothing.
func newGopm(t *testing.T) *gopm {
	t.Helper()
	if !testing.Short() {
		t.Parallel()
	}
	return newLoneGopm(t)
}

// newLoneGopm is for a test that has the machine for itself: its programs have to keep up with a load.
func newLoneGopm(t *testing.T) *gopm {
	t.Helper()
	if testing.Short() {
		t.Skip("drives the built binary")
	}
	binary, err := build()
	must(t, err)
	dir, err := os.MkdirTemp("", "g") // short: a socket's path has 107 bytes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	g := &gopm{T: t, binary: binary, home: filepath.Join(dir, "h"), dir: filepath.Join(dir, "w")}
	must(t, os.Mkdir(g.dir, 0o755))
	g.env = []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "u"), "LANG=C.UTF-8"}
	if os.Getenv(raceSwitch) != "" {
		g.env = append(g.env, "GORACE=atexit_sleep_ms=0") // a second at the end of every command else
	}
	t.Cleanup(g.close)
	return g
}

// close ends what the test started, and fails if gopm kill has left something.
func (g *gopm) close() {
	r := g.try("kill")
	if r.code != 0 {
		g.Errorf("gopm kill: exit code %d, %s", r.code, r.err)
	}
	for _, p := range belongingTo(g.home) {
		g.Errorf("left running: %s", p)
		p.kill()
	}
	if g.Failed() {
		g.Logf("gopm.log:\n%s", g.tail(g.log(), 60))
	}
	if strings.Contains(g.log(), "DATA RACE") {
		g.Errorf("a race in the daemon:\n%s", g.log())
	}
}

// log is the daemon's log.
func (g *gopm) log() string {
	text, _ := os.ReadFile(filepath.Join(g.home, "gopm.log")) // none before the first daemon
	return string(text)
}

func (g *gopm) tail(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

// result is what a command answered.
type result struct {
	out, err string
	code     int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.code, r.out, r.err)
}

// commandLimit is more than any command of these tests may take.
const commandLimit = 60 * time.Second

// command prepares a gopm command.
func (g *gopm) command(args ...string) *exec.Cmd {
	args = append(append(g.within[:len(g.within):len(g.within)], g.binary), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = g.dir
	cmd.Env = append(g.env[:len(g.env):len(g.env)], "GOPM_HOME="+g.home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: g.cred}
	return cmd
}

// finish runs a command to its end. Its pipes must end with it: what gopm leaves
// in the background may not hold them.
func (g *gopm) finish(cmd *exec.Cmd) (result, error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errOut, 3*time.Second
	if err := cmd.Start(); err != nil {
		return result{code: -1}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	r := result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("it did not end within %v", commandLimit)
	case err == nil, errors.As(err, &exit):
		return r, nil
	}
	return r, err // exec.ErrWaitDelay: something holds its pipes
}

// try runs a command that may fail.
func (g *gopm) try(args ...string) result {
	g.Helper()
	return g.execute(g.command(args...))
}

func (g *gopm) execute(cmd *exec.Cmd) result {
	g.Helper()
	r, err := g.finish(cmd)
	if err != nil {
		g.Fatalf("%s: %v\n%v", cmd, err, r)
	}
	if strings.Contains(r.err, "DATA RACE") || strings.Contains(r.err, "panic:") || strings.Contains(r.err, "goroutine ") {
		g.Errorf("%s: %s", cmd, r.err)
	}
	return r
}

// run runs a command that has to succeed and returns its output.
func (g *gopm) run(args ...string) string {
	g.Helper()
	r := g.try(args...)
	if r.code != 0 {
		g.Fatalf("gopm %s: %v", strings.Join(args, " "), r)
	}
	return r.out
}

// fail runs a command that has to fail with a code and say all of the words on stderr.
func (g *gopm) fail(code int, words []string, args ...string) result {
	g.Helper()
	r := g.try(args...)
	if r.code != code {
		g.Errorf("gopm %s: want exit code %d, got %v", strings.Join(args, " "), code, r)
	}
	contains(g.T, "stderr of gopm "+strings.Join(args, " "), r.err, words...)
	return r
}

// file writes a file into the working folder and returns its path.
func (g *gopm) file(name, content string) string {
	g.Helper()
	path := filepath.Join(g.dir, name)
	must(g.T, os.MkdirAll(filepath.Dir(path), 0o755))
	// A process that another test forks meanwhile would have the file open for writing
	// until its exec, and a script that is open for writing cannot be run.
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte(content), 0o644)
	syscall.ForkLock.RUnlock()
	must(g.T, err)
	return path
}

// script writes an executable script of sh.
func (g *gopm) script(name, body string) string {
	g.Helper()
	path := g.file(name, "#!/bin/sh\n"+body+"\n")
	must(g.T, os.Chmod(path, 0o755))
	return path
}

// sleeper is a program that does nothing until it is told to end.
func (g *gopm) sleeper(name string) string { return g.script(name, "exec sleep 1000") }

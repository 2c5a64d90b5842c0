package supervise

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scene is a Process with real programs on the real kernel.
type scene struct {
	*Process
	t      *testing.T
	kernel *OSKernel
	out    *os.File // the writing end of its stdout
	lines  chan string
}

func newScene(t *testing.T, c Command, pol Policy) *scene {
	t.Helper()
	s := &scene{t: t, lines: make(chan string, 1000)}
	s.kernel = newTestKernel(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = w
	read := make(chan struct{})
	go func() { // ends with the pipe's; waited for in the clean-up
		defer close(read)
		for in := bufio.NewScanner(r); in.Scan(); {
			s.lines <- in.Text()
		}
	}()
	s.Process = New(Config{Command: c, Policy: pol, Kernel: s.kernel, Launch: s.launch})
	t.Cleanup(func() {
		s.Close()
		w.Close()
		r.Close()
		<-read
	})
	return s
}

func (s *scene) launch(uint64) (Launch, error) {
	fd, e := unix.FcntlInt(s.out.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if e != nil {
		return Launch{}, e
	}
	return Launch{Out: os.NewFile(uintptr(fd), "out")}, nil
}

// newTestKernel makes sure at the end that nothing was forgotten in it.
func newTestKernel(t testing.TB) *OSKernel {
	t.Helper()
	k, err := NewKernel(KernelOptions{Keeper: os.Getpid, Collect: collectHere})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close()
		if len(k.exits) > 0 || len(k.mains) > 0 {
			t.Errorf("left in the kernel: %d watches, %d processes", len(k.exits), len(k.mains))
		}
	})
	return k
}

// collectHere plays the keeper, whose children our children are.
func collectHere(pid int) (ws unix.WaitStatus, ok bool) {
	got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
	return ws, err == nil && got == pid
}

func (s *scene) await(what string, cond func(Snapshot) bool) Snapshot {
	s.t.Helper()
	return await(s.t, s.Process, what, cond)
}

// line is the next line of output.
func (s *scene) line() string {
	s.t.Helper()
	select {
	case l := <-s.lines:
		return l
	case <-time.After(20 * time.Second):
		s.t.Fatalf("no output; it is %+v", s.Snapshot())
		return ""
	}
}

// ready reads the pid that a role names when it is ready.
func (s *scene) ready() int {
	s.t.Helper()
	l := s.line()
	pid, err := strconv.Atoi(strings.TrimPrefix(l, "ready "))
	if err != nil {
		s.t.Fatalf("it said %q", l)
	}
	return pid
}

// role is this test binary as another program; extra is added to its environment.
func role(t testing.TB, name string, extra ...string) Command {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	marker := []string{"pm_id=3", "GOPM_HOME=" + t.TempDir()}
	env := append([]string{roleKey + name, "GORACE=atexit_sleep_ms=0", "GOCOVERDIR=" + t.TempDir()}, append(marker, extra...)...)
	return Command{Argv: []string{exe}, Env: env, Marker: marker}
}

func shell(script string) Command { return Command{Argv: []string{"/bin/sh", "-c", script}} }

// realPolicy is quick to kill, and slow to call anything stable.
func realPolicy() Policy {
	pol := testPolicy()
	pol.KillSignal, pol.KillTimeout, pol.MinUptime = syscall.SIGTERM, 200*time.Millisecond, time.Minute
	pol.BackoffStart = time.Millisecond
	return pol
}

// dead is an error while pid lives; a zombie is dead.
func dead(pid int) error {
	if st, err := (procfs{root: "/proc"}).stat(pid); err == nil && st.alive() {
		return fmt.Errorf("%d lives", pid)
	}
	return nil
}

func TestStubbornProgramIsKilled(t *testing.T) {
	t.Parallel()
	s := newScene(t, role(t, "stubborn"), realPolicy())
	s.Start()
	pid := s.ready()
	if got := s.await("alive", func(n Snapshot) bool { return n.Pid != 0 }); got.Pid != pid || got.StartTime == 0 {
		t.Errorf("pid %d: %+v", pid, got)
	}
	s.Stop()
	s.await("killed", func(n Snapshot) bool { return n.Killed })
	n := s.await("stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	if e := n.LastExit; e.Signal != syscall.SIGKILL || e.OOM || !e.Requested || e.Uptime < 200*time.Millisecond {
		t.Errorf("exit %+v", e)
	}
	if err := dead(pid); err != nil {
		t.Error(err)
	}
}

// TestLeftoverInTheGroup: when npm is killed, node keeps the port.
func TestLeftoverInTheGroup(t *testing.T) {
	t.Parallel()
	addr := "ADDRESS=" + filepath.Join(t.TempDir(), "s")
	s := newScene(t, role(t, "parent", addr, "STAY=1"), realPolicy())
	successorIsFree(t, s)
}

// TestLeftoverOutsideTheGroup: a daemonised grandchild is found by its environment.
func TestLeftoverOutsideTheGroup(t *testing.T) {
	t.Parallel()
	addr := "ADDRESS=" + filepath.Join(t.TempDir(), "s")
	s := newScene(t, role(t, "escaper", addr), realPolicy())
	successorIsFree(t, s)
}

// successorIsFree kills the main process and expects that the leftover, which
// ignores SIGTERM, is dead before the successor starts.
func successorIsFree(t *testing.T, s *scene) {
	t.Helper()
	s.Start()
	old := s.ready()
	addr := ""
	for _, e := range s.cfg.Command.Env {
		if a, ok := strings.CutPrefix(e, "ADDRESS="); ok {
			addr = a
		}
	}
	main := s.await("alive", func(n Snapshot) bool { return n.Pid != 0 })
	if old == main.Pid {
		t.Fatalf("%d is the main process itself", old)
	}
	if err := unix.Kill(main.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.await("clearing", func(n Snapshot) bool { return n.Clearing })
	if n := s.Snapshot(); n.Incarnation == 1 {
		_ = os.Remove(addr) // a socket's file outlives it, unlike a port
	}
	next := s.ready()
	if err := dead(old); err != nil {
		t.Errorf("the successor %d has started and the leftover of the old one %v", next, err)
	}
	s.Stop()
	s.await("stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	if err := dead(next); err != nil {
		t.Errorf("stopped, and %v", err)
	}
}

func TestWithoutTreekill(t *testing.T) {
	t.Parallel()
	pol := realPolicy()
	pol.TreeKill = false
	s := newScene(t, role(t, "parent", "STAY=1", "ADDRESS="+filepath.Join(t.TempDir(), "s")), pol)
	s.Start()
	child := s.ready()
	s.Stop()
	s.await("stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	if dead(child) == nil {
		t.Error("the child was ended too")
	}
	_ = unix.Kill(child, unix.SIGKILL)
}

// TestExitIsSeenWhileStdoutIsHeld: with a pipe read by os/exec, Wait would last as
// long as the grandchild.
func TestExitIsSeenWhileStdoutIsHeld(t *testing.T) {
	t.Parallel()
	pol := realPolicy()
	pol.TreeKill, pol.Autorestart = false, false
	s := newScene(t, role(t, "holder"), pol)
	s.Start()
	holder := s.ready()
	n := s.await("stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	if n.LastExit.Code != 0 || dead(holder) == nil {
		t.Errorf("exit %+v; the holder is dead: %v", n.LastExit, dead(holder) == nil)
	}
	_ = unix.Kill(holder, unix.SIGKILL)
}

func TestLeaderThatLeftItsGroup(t *testing.T) {
	t.Parallel()
	s := newScene(t, role(t, "mover"), realPolicy())
	s.Start()
	s.ready()
	s.Stop()
	n := s.await("stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	if n.LastExit.Signal != syscall.SIGTERM {
		t.Errorf("exit %+v", n.LastExit)
	}
}

func TestCodesAndSignals(t *testing.T) {
	t.Parallel()
	cases := []struct {
		script string
		code   int
		sig    syscall.Signal
	}{
		{"exit 0", 0, 0}, {"exit 3", 3, 0}, {"exit 255", 255, 0},
		{"kill -TERM $$", 0, syscall.SIGTERM}, {"kill -KILL $$", 0, syscall.SIGKILL},
	}
	for _, c := range cases {
		pol := realPolicy()
		pol.Autorestart = false
		s := newScene(t, shell(c.script), pol)
		s.Start()
		n := s.await(c.script, func(n Snapshot) bool { return n.LastExit != nil })
		if e := n.LastExit; e.Code != c.code || e.Signal != c.sig || e.OOM || e.Requested || e.Err != "" {
			t.Errorf("%s: %+v", c.script, e)
		}
	}
}

func TestFiftyKilledAtOnce(t *testing.T) {
	t.Parallel()
	const many = 50
	k := newTestKernel(t)
	var all []*Process
	for range many {
		p := New(Config{Command: Command{Argv: []string{"/bin/sleep", "1000"}}, Policy: realPolicy(), Kernel: k})
		p.Start()
		all = append(all, p)
	}
	alive := func(inc uint64) func(Snapshot) bool {
		return func(n Snapshot) bool { return n.Pid != 0 && n.Incarnation == inc }
	}
	var pids []int
	for _, p := range all {
		pids = append(pids, await(t, p, "alive", alive(1)).Pid)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for _, p := range all {
		n := await(t, p, "again alive", alive(2))
		if n.LastExit.Signal != syscall.SIGKILL || n.LastExit.OOM {
			t.Errorf("exit %+v", n.LastExit)
		}
		p.Stop()
	}
	for _, p := range all {
		p.Close()
	}
	for _, pid := range pids {
		if !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			t.Errorf("%d was not reaped", pid)
		}
	}
}

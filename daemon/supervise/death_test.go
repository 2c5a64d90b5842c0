package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests kill a daemon, a process of its own, and go on in its place: the
// test process is the keeper, to which the daemon's children fall.

// deathPolicy never gives up, and is quick.
func deathPolicy() Policy {
	return Policy{
		Autorestart: true, MinUptime: 20 * time.Millisecond, MaxRestarts: 1000, BackoffStart: time.Millisecond,
		KillSignal: syscall.SIGTERM, KillTimeout: 200 * time.Millisecond, TreeKill: true,
	}
}

// playDaemon supervises the script in SCRIPT and writes every note as a line. It is
// asked to stop after so many starts as STOP says.
func playDaemon() int {
	k, err := NewKernel(KernelOptions{Keeper: os.Getppid})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	stop := uint64(0)
	_, _ = fmt.Sscan(os.Getenv("STOP"), &stop)
	stopping := make(chan struct{}, 1)
	p := New(Config{
		Command: deathCommand(os.Getenv("SCRIPT"), os.Getenv("HOME_OF_IT")), Policy: deathPolicy(), Kernel: k,
		Keep: func(m Machine) {
			note, err := json.Marshal(m)
			if err != nil {
				note = []byte(err.Error())
			}
			_, _ = os.Stdout.Write(append(note, '\n')) // one write: whole, or not at all
			if m.State == Starting && m.Inc == stop {
				stopping <- struct{}{}
			}
		},
	})
	p.Start()
	<-stopping
	p.Stop()
	select {} // ended by SIGKILL
}

// deathCommand runs in folder home, which names it as an app's home would.
func deathCommand(script, home string) Command {
	marker := []string{"pm_id=3", "GOPM_HOME=" + home}
	return Command{
		Argv: []string{"/bin/sh", "-c", script}, Dir: home, Marker: marker,
		Env: append([]string{"PATH=" + os.Getenv("PATH"), "name=it"}, marker...),
	}
}

// victim is a daemon that a test kills.
type victim struct {
	t            *testing.T
	found        Run
	cmd          *exec.Cmd
	notes        *bufio.Scanner
	script, home string
	last         []byte
}

func newVictim(t *testing.T, script string, stop int) *victim {
	t.Helper()
	v := &victim{t: t, script: script, home: t.TempDir()}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	v.cmd = exec.Command(exe)
	v.cmd.Env = append(os.Environ(), roleKey+"daemon", "SCRIPT="+script, "HOME_OF_IT="+v.home, fmt.Sprintf("STOP=%d", stop))
	v.cmd.Stderr = os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	v.notes = bufio.NewScanner(out)
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.cmd.Process.Kill() })
	return v
}

// note reads one; false: the daemon is dead and has no more.
func (v *victim) note() bool {
	if !v.notes.Scan() {
		return false
	}
	v.last = append(v.last[:0], v.notes.Bytes()...)
	return true
}

func (v *victim) machine() (m Machine) {
	v.t.Helper()
	if err := json.Unmarshal(v.last, &m); err != nil {
		v.t.Fatalf("%v in %q", err, v.last)
	}
	return m
}

// until reads notes until one is as it should be.
func (v *victim) until(cond func(Machine) bool) Machine {
	v.t.Helper()
	for v.note() {
		if m := v.machine(); cond(m) {
			return m
		}
	}
	v.t.Fatal("the daemon has ended")
	return Machine{}
}

// die kills it and reads the notes that were still under way.
func (v *victim) die() Machine {
	v.t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		v.t.Fatal(err)
	}
	for v.note() {
	}
	_ = v.cmd.Wait()
	if v.last == nil {
		return Machine{}
	}
	return v.machine()
}

// heir goes on where the victim was.
func (v *victim) heir(m Machine, k *OSKernel, keep func(Machine)) *Process {
	v.t.Helper()
	if m.State == Spawning {
		v.found = v.stray(k)
	}
	p := Restore(Config{
		Command: deathCommand(v.script, v.home), Policy: deathPolicy(), Kernel: k, Keep: keep,
	}, m, v.found)
	v.t.Cleanup(p.Close)
	return p
}

// stray is the newest process of the victim's app.
func (v *victim) stray(k *OSKernel) (found Run) {
	v.t.Helper()
	all, err := k.Strays(v.home, os.Getpid())
	if err != nil {
		v.t.Fatal(err)
	}
	for _, s := range all {
		if s.ID == 3 && s.Name == "it" {
			found = s.Run
		}
	}
	return found
}

// left is what lives of the app.
func (v *victim) left() (pids []int) {
	v.t.Helper()
	proc := procfs{root: "/proc"}
	err := proc.list(func(e entry) {
		env, err := os.ReadFile(proc.path(e.pid, "environ"))
		if err == nil && hasEntries(env, []string{"GOPM_HOME=" + v.home}) {
			pids = append(pids, e.pid)
		}
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return pids
}

// said waits for a word in the log.
func (v *victim) said(word string) {
	v.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !slices.Contains(v.log(), word); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			v.t.Fatalf("it never said %q: %q", word, v.log())
		}
	}
}

// log is what the script has written, by line.
func (v *victim) log() []string {
	data, _ := os.ReadFile(filepath.Join(v.home, "log"))
	return strings.Fields(string(data))
}

// The scripts say when they start and find out whether they are alone.
const (
	alone = `echo start >>log; exec 9>lock; flock -n 9 || echo double >>log; `

	crashes    = alone + `sleep 0.1; exit 3`
	lasts      = alone + `trap 'echo asked >>log; exit 4' TERM; echo up >>log; while :; do sleep 0.05; done`
	leaves     = alone + `sh -c 'trap "" TERM; while :; do sleep 0.05; done' & sleep 0.1; exit 3`
	escapes    = alone + `setsid sh -c 'trap "" TERM; while :; do sleep 0.05; done' & sleep 0.1; exit 3`
	keepsOne   = alone + `sh -c 'trap "" TERM; while :; do sleep 0.05; done' & echo up >>log; while :; do sleep 0.05; done`
	isStubborn = alone + `trap '' TERM; while :; do sleep 0.05; done`
)

// TestDeathAtAnyMoment: whenever the daemon dies, the app is never there twice,
// each of its starts is counted, and no exit is unknown.
func TestDeathAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	for name, script := range map[string]string{"crashes": crashes, "leaves": leaves, "escapes": escapes, "stubborn": isStubborn, "lasts": lasts} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for round := range rounds {
				deathAt(t, script, rand.New(rand.NewPCG(uint64(round), 7)))
			}
		})
	}
}

func deathAt(t *testing.T, script string, r *rand.Rand) {
	stop := 1 + r.IntN(3)
	v := newVictim(t, script, stop)
	for range r.IntN(12) {
		if (script == lasts || script == isStubborn) && v.last != nil && v.machine().State >= Online {
			break // there will be no more notes for some time
		}
		v.note()
	}
	<-time.After(time.Duration(r.IntN(3000)) * time.Microsecond) // any moment will do
	m := v.die()
	k := newTestKernel(t)
	var unknown []Exit
	p := v.heir(m, k, func(m Machine) {
		if m.LastExit != nil && m.LastExit.Code == Unknown {
			unknown = append(unknown, *m.LastExit)
		}
	})
	if m.Want {
		await(t, p, "alive", func(n Snapshot) bool { return n.Pid != 0 })
	}
	p.Stop()
	n := await(t, p, "stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	p.Close()
	log := v.log()
	starts := 0
	for _, l := range log {
		switch l {
		case "start":
			starts++
		case "double":
			t.Errorf("%v: it ran twice: %q", m, log)
		}
	}
	// What was killed before it could say so is a start as well. What had died before
	// anybody could look for it is not.
	unseen := 0
	if m.State == Spawning && v.found.Pid == 0 {
		unseen = 1
	}
	if starts > int(n.Incarnation)+unseen || starts < int(n.Incarnation)-1 {
		t.Errorf("%d starts, %+v; killed at %+v", starts, n, m)
	}
	if n.Restarts != max(int(n.Incarnation)-1, 0) {
		t.Errorf("%d restarts of %d incarnations", n.Restarts, n.Incarnation)
	}
	if left := v.left(); len(left) > unseen*len(left) { // nor is what that has left
		t.Errorf("left: %v; killed at %+v", left, m)
	}
	if len(unknown) > 0 {
		t.Errorf("unknown exits: %+v; killed at %+v", unknown, m)
	}
}

// TestAdoptedProcess: same pid; its end is seen, with its code.
func TestAdoptedProcess(t *testing.T) {
	t.Parallel()
	v := newVictim(t, lasts, 0)
	v.until(func(m Machine) bool { return m.State == Online })
	v.said("up")
	m := v.die()
	p := v.heir(m, newTestKernel(t), nil)
	n := await(t, p, "there", func(Snapshot) bool { return true })
	if n.Pid != m.Run.Pid || n.Status != StatusOnline || n.Restarts != 0 {
		t.Errorf("%+v", n)
	}
	p.Stop()
	n = await(t, p, "stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	if n.LastExit.Code != 4 || !n.LastExit.Requested {
		t.Errorf("exit %+v", n.LastExit)
	}
}

// TestDiedMeanwhile: how is known from the keeper.
func TestDiedMeanwhile(t *testing.T) {
	t.Parallel()
	v := newVictim(t, lasts, 0)
	v.until(func(m Machine) bool { return m.State == Online })
	m := v.die()
	if err := unix.Kill(m.Run.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p := v.heir(m, newTestKernel(t), nil)
	n := await(t, p, "again alive", func(n Snapshot) bool { return n.Pid != 0 && n.Incarnation == 2 })
	if n.LastExit.Signal != syscall.SIGKILL || n.Restarts != 1 || n.LastExit.Requested {
		t.Errorf("%+v, exit %+v", n, n.LastExit)
	}
}

// TestReusedPid: a number that is another's by now is let alone.
func TestReusedPid(t *testing.T) {
	t.Parallel()
	k := newTestKernel(t)
	other := exec.Command("/bin/sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	st, err := k.proc.stat(other.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Adopt(Command{}, Run{Pid: st.pid, StartTime: st.start - 1}, nil); !errors.Is(err, ErrGone) {
		t.Errorf("adopted: %v", err)
	}
	m := in(Stopping)
	m.Want, m.Run = false, Run{Pid: st.pid, StartTime: st.start - 1}
	p := Restore(Config{Command: Command{Argv: []string{"/bin/true"}, Marker: []string{"GOPM_HOME=" + t.TempDir()}}, Policy: realPolicy(), Kernel: k}, m, Run{})
	n := await(t, p, "stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	p.Close()
	if n.LastExit.Code != Unknown {
		t.Errorf("exit %+v", n.LastExit)
	}
	if err := dead(st.pid); err == nil {
		t.Error("the other one was ended")
	}
	_ = other.Process.Kill()
	_ = other.Wait()
}

// TestOrphanedByTheKeeper: a process whose keeper has died has another parent, the
// test, which reaps it when it likes: how it ended isn't known.
func TestOrphanedByTheKeeper(t *testing.T) {
	t.Parallel()
	v := newVictim(t, keepsOne, 0)
	v.until(func(m Machine) bool { return m.State == Online })
	v.said("up")
	m := v.die()
	k := newTestKernel(t)
	k.keeper, k.collect = func() int { return 1 << 23 }, func(int) (unix.WaitStatus, bool) { return 0, false }
	p := v.heir(m, k, nil)
	await(t, p, "adopted", func(Snapshot) bool { return true })
	if err := unix.Kill(m.Run.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Its child ignores SIGTERM, so it is cleared for a kill timeout, which may be over before
	// we look; the exit stays.
	n := await(t, p, "clearing", func(n Snapshot) bool { return n.Clearing || n.Incarnation > m.Inc })
	if n.LastExit == nil || n.LastExit.Code != Unknown {
		t.Errorf("exit %+v", n.LastExit)
	}
	if _, err := unix.Wait4(m.Run.Pid, nil, 0, nil); err != nil { // as init does
		t.Error(err)
	}
	await(t, p, "again alive", func(n Snapshot) bool { return n.Pid != 0 && n.Incarnation > m.Inc })
	p.Stop()
	await(t, p, "stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	if log := v.log(); strings.Contains(strings.Join(log, " "), "double") {
		t.Errorf("%q", log)
	}
}

// TestZombieThatIsNotOurs: a program was killed and started again, then keeper and
// daemon died before the disk had heard of it. While init hasn't reaped the first
// process, the second was taken for a leftover, killed, and a third one started.
func TestZombieThatIsNotOurs(t *testing.T) {
	t.Parallel()
	parent := exec.Command("/bin/sh", "-c", "sleep 0.3 & echo $!; exec sleep 1000") // does not reap
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = parent.Process.Kill(); _ = parent.Wait() })
	var first int
	if _, err := fmt.Fscan(out, &first); err != nil {
		t.Fatal(err)
	}
	k := newTestKernel(t)
	for deadline := time.Now().Add(20 * time.Second); dead(first) != nil; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(dead(first))
		}
	}
	st, err := k.proc.stat(first)
	if err != nil {
		t.Fatal(err)
	}
	second := exec.Command("/bin/sleep", "1000")
	second.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Process.Kill(); _ = second.Wait() })
	now, err := k.proc.stat(second.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	m := in(Online)
	restarts := m.Snapshot().Restarts
	m.Run = Run{Pid: first, StartTime: st.start, Started: time.Now()}
	p := Restore(Config{Command: Command{Argv: []string{"/bin/true"}, Marker: []string{"GOPM_HOME=" + t.TempDir()}}, Policy: realPolicy(), Kernel: k},
		m, Run{Pid: now.pid, StartTime: now.start})
	n := await(t, p, "the second", func(n Snapshot) bool { return n.Pid == now.pid })
	if n.Restarts != restarts+1 || n.LastExit.Code != Unknown {
		t.Errorf("%+v, exit %+v", n, n.LastExit)
	}
	p.Abandon()
}

// TestHandOver: the next daemon goes on with the process, whose pid and life stay;
// what the former one had open for it is closed.
func TestHandOver(t *testing.T) {
	t.Parallel()
	v := &victim{t: t, home: t.TempDir()}
	var note []byte
	cfg := Config{
		Command: deathCommand(lasts, v.home), Policy: deathPolicy(), Kernel: newTestKernel(t),
		Keep: func(m Machine) { note = mustJSON(t, m) },
	}
	old := New(cfg)
	old.Start()
	n := await(t, old, "online", func(n Snapshot) bool { return n.Status == StatusOnline })
	v.said("up")
	old.Abandon()
	cfg.Kernel = newTestKernel(t)
	var m Machine
	if err := json.Unmarshal(note, &m); err != nil || m != old.Machine() && m.Run.Pid != n.Pid {
		t.Fatalf("%v; kept %s", err, note)
	}
	p := Restore(cfg, m, Run{})
	defer p.Close()
	if now := await(t, p, "there", func(Snapshot) bool { return true }); now.Pid != n.Pid || now.Restarts != 0 {
		t.Errorf("%+v", now)
	}
	p.Restart("")
	n = await(t, p, "restarted", func(s Snapshot) bool { return s.Pid != 0 && s.Pid != n.Pid })
	if n.LastExit.Code != 4 || n.Restarts != 1 {
		t.Errorf("%+v, exit %+v", n, n.LastExit)
	}
}

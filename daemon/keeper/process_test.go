package keeper

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The keeper as a process: signals, descriptors, its lock, and large estates.

func TestSignalsToTheKeeper(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.do("ready")
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM} {
		h.must(h.cmd.Process.Signal(sig))
	}
	if code := h.exit(); code != 0 {
		t.Errorf("exit code %d, log:\n%s", code, h.log())
	}
}

// SIGTERM must not hit a daemon that can't act on it yet: it would just end, and the
// apps would go on though they were to be stopped.
func TestTerminateWhileTheDaemonIsAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.putPipe("i/1", Main{}, "")
	d.do("ready")
	d = d.kill()
	h.must(h.cmd.Process.Signal(unix.SIGTERM))
	h.must(h.cmd.Process.Signal(unix.SIGUSR1)) // another that shows that the keeper has seen both
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}})
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}})
	if s := state(d.Pid); s == 'Z' || s == 0 {
		t.Fatal("the daemon has ended")
	}
	h.must(d.out.Encode(request{Do: "ready"}))
	if code := h.exit(); code != 0 {
		t.Errorf("exit code %d, log:\n%s", code, h.log())
	}
}

// The other end of a handshake must be the daemon's alone: its death without a word
// is told by the pipe's end, at once. And what the user's shell had open must not be
// held by a process that stays.
func TestKeeperHoldsNothingOfTheStarters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	h.behave("behave", "hang")
	h.must(unix.Kill(d.Pid, unix.SIGKILL))
	h.must(h.shake.SetReadDeadline(time.Now().Add(10 * time.Second)))
	if text, err := io.ReadAll(h.shake); err != nil || len(text) > 0 {
		t.Errorf("%q, %v", text, err)
	}

	r, w, err := os.Pipe()
	h.must(err)
	defer r.Close()
	other := newHouse(t)
	other.daemon().do("leaving")
	cmd := other.keeper()
	_, null, err := os.Pipe()
	h.must(err)
	defer null.Close()
	cmd.ExtraFiles = []*os.File{null, w} // 4 is a stray of the shell
	cmd.Env = append(cmd.Env, homeVar+"="+other.home)
	other.must(unix.Kill(other.cmd.Process.Pid, unix.SIGTERM))
	other.exit()
	h.must(cmd.Start())
	w.Close()
	other.daemon()
	h.must(r.SetReadDeadline(time.Now().Add(10 * time.Second)))
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("a stray descriptor is still open: %v", err)
	}
	h.must(unix.Kill(cmd.Process.Pid, unix.SIGTERM))
	cmd.Wait()
}

// Two keepers of one home would start two daemons.
func TestOneKeeperPerHome(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.daemon().do("ready")
	second := h.keeper()
	r, w, err := os.Pipe()
	h.must(err)
	second.ExtraFiles = []*os.File{w}
	h.must(second.Start())
	w.Close()
	text, _ := io.ReadAll(r)
	second.Wait()
	if want := fmt.Sprintf("another keeper (pid %d) has this home", h.cmd.Process.Pid); second.ProcessState.ExitCode() != 1 || !strings.Contains(string(text), want) {
		t.Errorf("exit code %d, handshake %q, want %q", second.ProcessState.ExitCode(), text, want)
	}
}

func TestDaemonThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "KEEPER_TEST_BINARY=/nonexistent/gopm")
	text, _ := io.ReadAll(h.shake)
	if code := h.exit(); code != 1 || !strings.Contains(string(text), "cannot start the daemon: /nonexistent/gopm: no such file") {
		t.Errorf("exit code %d, handshake %q", code, text)
	}
}

// An estate of any size is given on, at once; a daemon that changes a key all the
// time leaves its last word.
func TestLargeEstate(t *testing.T) {
	t.Parallel()
	const entries = 1000
	h := newHouse(t)
	d := h.daemon()
	d.ask(request{Do: "many", N: entries, Note: strings.Repeat("x", 1200)})
	d.ask(request{Do: "puts", Key: "busy", N: 10_000})
	d.do("ready")
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}}) // the answer comes after all that waited for room
	for range 3 {
		began := time.Now()
		d = d.kill()
		t.Logf("%d entries of 2 files: %s from the kill to the next daemon's hello", entries, time.Since(began))
		if len(d.Entries) != entries+1 {
			t.Fatalf("%d entries", len(d.Entries))
		}
		for i, e := range d.Entries[:entries] {
			if e.Key != fmt.Sprintf("i/%d", i) || e.Files != 2 || len(e.Note) != 1200 {
				t.Fatalf("entry %d: %s, %d files, %d bytes", i, e.Key, e.Files, len(e.Note))
			}
		}
		if e := d.entry("busy"); e.Note != "9999" {
			t.Errorf("busy: %s", e.Note)
		}
		d.do("ready")
	}
	before := len(open(t, h.cmd.Process.Pid))
	d.ask(request{Do: "many", N: entries}) // the same keys: other files
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}})
	if after := len(open(t, h.cmd.Process.Pid)); before < 2*entries || after != before {
		t.Errorf("%d descriptors before, %d after all were replaced", before, after)
	}
	for i := range entries {
		d.ask(request{Do: "drop", Key: fmt.Sprintf("i/%d", i)})
	}
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}})
	if after := len(open(t, h.cmd.Process.Pid)); after != before-2*entries {
		t.Errorf("%d descriptors are left of %d", after, before)
	}
}

// A daemon is killed at any instant of being told everything.
func TestDaemonsThatDieWhileTheyAreTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.ask(request{Do: "many", N: 700, Note: strings.Repeat("x", 1200)})
	d.do("ready")
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}}) // the answer comes after all that waited for room
	h.must(unix.Kill(d.Pid, unix.SIGKILL))
	killed := 0
	for killed < 4 { // a fifth would be the last
		for _, pid := range childrenOf(h.cmd.Process.Pid) {
			if pid != d.Pid && state(pid) != 'Z' && unix.Kill(pid, unix.SIGKILL) == nil {
				killed++
				d.Pid = pid
			}
		}
	}
	h.must(h.cmd.Process.Signal(unix.SIGUSR1))
	last, err := h.visitor()
	for ; err != nil || state(last.Pid) == 0 || state(last.Pid) == 'Z'; last, err = h.visitor() {
	}
	if len(last.Entries) != 700 || last.Entries[699].Files != 2 {
		t.Errorf("%d entries", len(last.Entries))
	}
}

// The log is rotated by renaming it; a keeper must not write to what was kept for ever.
func TestKeeperFollowsItsLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.do("ready")
	h.must(os.Rename(h.home+"/log", h.home+"/log.1"))
	d = d.kill()
	if text := h.log(); !strings.Contains(text, "was killed by SIGKILL") {
		t.Errorf("log: %q", text)
	}
	if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", d.Pid)); to != h.home+"/log" {
		t.Errorf("the daemon's stderr is %s", to)
	}
	info, err := os.Stat(h.home + "/log")
	h.must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
}

// Where descriptors run out, entries lose theirs; but a daemon can always be started.
func TestTooManyDescriptors(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	h.must(unix.Prlimit(h.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 120, Max: 120}, nil))
	d.ask(request{Do: "many", N: 100, Note: "note"})
	d.do("ready")
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}})
	for range 2 {
		d = d.kill()
		if len(d.Entries) != 100 || d.Entries[0].Files != 2 || d.Entries[99].Files != 0 || d.Entries[99].Note != "note" {
			t.Fatalf("%d entries, the first %+v, the last %+v", len(d.Entries), d.Entries[0], d.Entries[99])
		}
		d.do("ready")
	}
	if !strings.Contains(h.log(), "cannot keep the descriptors of i/99: too many are open") {
		t.Errorf("log:\n%s", h.log())
	}
}

// A daemon that would change what is just being given to it is none of ours.
func TestDaemonThatDoesNotListen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.ask(request{Do: "many", N: 700, Note: strings.Repeat("x", 1200)})
	d.do("ready")
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}})
	h.behave("behave", "early")
	h.must(unix.Kill(d.Pid, unix.SIGKILL))
	eventually(t, "its end", func() bool { return strings.Contains(h.log(), "spoke before it was told everything") })
	h.behave("behave", "")
	h.must(h.cmd.Process.Signal(unix.SIGUSR1))
	if d = h.daemon(); len(d.Entries) != 700 || d.Entries[0].Files != 2 {
		t.Errorf("%d entries", len(d.Entries))
	}
}

package api

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func writeState(t *testing.T, path string, s State) {
	t.Helper()
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The newest complete one counts: state.json, or the one that was being written.
func TestLoadStateTakesTheNewestComplete(t *testing.T) {
	t.Parallel()
	h := Home{t.TempDir()}
	if _, err := h.LoadState(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without a file: %v", err)
	}
	state := func(sequence uint64) State {
		return State{Format: StateFormat, Sequence: sequence, Complete: true}
	}
	writeState(t, h.State(), state(5))
	for _, c := range []struct {
		next State
		want uint64
	}{
		{state(6), 6},
		{state(4), 5},
		{State{Format: StateFormat, Sequence: 7}, 5}, // not complete
		{State{Format: StateFormat + 1, Sequence: 8, Complete: true}, 5},
	} {
		writeState(t, h.NextState(), c.next)
		if s, err := h.LoadState(); err != nil || s.Sequence != c.want {
			t.Errorf("next %+v: sequence %d, %v; want %d", c.next, s.Sequence, err, c.want)
		}
	}
	if err := os.WriteFile(h.State(), []byte(`{"format": 1, "apps": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := h.LoadState(); !errors.As(err, &damaged) || damaged.Path != h.State() {
		t.Errorf("a damaged file: %v", err)
	}
	writeState(t, h.NextState(), state(6))
	if s, err := h.LoadState(); err != nil || s.Sequence != 6 {
		t.Errorf("a damaged file and a good next one: %d, %v", s.Sequence, err)
	}
}

// Alive is by pid, start time and the machine's boot.
func TestStateAlive(t *testing.T) {
	t.Parallel()
	start := readStat(os.Getpid()).start
	if start == 0 {
		t.Fatal("no start time of our own")
	}
	s := State{Boot: BootID(), Apps: []SavedApp{{Instances: []SavedInstance{
		{ID: 1, Process: Process{Pid: os.Getpid()}, Start: start},
		{ID: 2, Process: Process{Pid: os.Getpid()}, Start: start + 1},
		{ID: 3},
	}}}}
	if alive := s.Alive(); len(alive) != 1 || alive[1] != os.Getpid() {
		t.Errorf("alive: %v, want 1 alone", alive)
	}
	s.Boot = "another"
	if alive := s.Alive(); len(alive) != 0 {
		t.Errorf("after a reboot: %v", alive)
	}
}

// A program that was started just before the death of both is known by its pipes.
func TestStateAliveByPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	run := func(attr *syscall.SysProcAttr) int {
		cmd := exec.Command("sleep", "1000")
		cmd.Stdout, cmd.SysProcAttr = w, attr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return cmd.Process.Pid
	}
	run(nil)                                // of our group: a child of an app
	run(&syscall.SysProcAttr{Setsid: true}) // a daemon that an app has made
	s := State{Boot: BootID(), Apps: []SavedApp{{Instances: []SavedInstance{
		{ID: 1, Want: true, Out: SavedLog{Pipe: st.Ino}}, {ID: 2, Want: true, Out: SavedLog{Pipe: st.Ino + 1}},
	}}}}
	if alive := s.Alive(); len(alive) != 0 {
		t.Errorf("alive: %v", alive)
	}
	pid := run(&syscall.SysProcAttr{Setpgid: true})
	if alive := s.Alive(); len(alive) != 1 || alive[1] != pid {
		t.Errorf("alive: %v, want 1 with the pid %d", alive, pid)
	}
	s.Ended = "kill"
	if alive := s.Alive(); len(alive) != 0 {
		t.Errorf("after an end in order: %v", alive)
	}
}

package supervise

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"
)

// FuzzMachine reads what another daemon has noted, or a disk has made of it: what is taken
// for a machine is written again as it was read, and goes on whatever happens to it.
func FuzzMachine(f *testing.F) {
	golden, err := os.ReadFile("testdata/machine.json")
	if err != nil {
		f.Fatal(err)
	}
	all := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	f.Add(golden, all)
	for s := range states {
		f.Add([]byte(`{"state":"`+State(s).String()+`"}`), all)
		f.Add([]byte(`{"state":"`+State(s).String()+`","want":true,"inc":3,"run":{"pid":-1},"count":{"unstable":-7},"plan":{"then":"run","due":"9999-12-31T23:59:59Z","delay_ns":-5}}`), []byte{2, 8, 4, 7, 6, 2})
	}
	for _, text := range []string{"", "null", "[]", "{", `{"state":""}`, `{"state":7}`, `{"inc":-1}`, `{"last_exit":null,"state":"clearing"}`, `{"run":{"started":"yesterday"}}`} {
		f.Add([]byte(text), all)
	}
	f.Fuzz(func(t *testing.T, text, story []byte) {
		var m Machine
		if json.Unmarshal(text, &m) != nil {
			return
		}
		first := written(t, m)
		var again Machine
		if err := json.Unmarshal(first, &again); err != nil || !bytes.Equal(written(t, again), first) {
			t.Fatalf("%s\nreads as\n%s, %v", first, written(t, again), err)
		}
		now := t0
		for _, b := range story[:min(len(story), 50)] {
			now = now.Add(time.Duration(b) * time.Second)
			ev := Event{
				Kind: EventKind(int(b) % events), At: now, Inc: m.Inc, Epoch: m.Timer.Epoch, Cause: "why", Run: Run{Pid: 70, Started: now},
				Exit: Exit{Code: int(b >> 6)}, Remains: Remains{Pid: int(b>>5) % 2 * 70},
			}
			before := m
			var acts []Action
			m, acts = Step(m, newWorld(uint64(b)).pol, ev)
			if m.State < 0 || int(m.State) >= states {
				t.Fatalf("%+v becomes %+v by %v", before, m, ev.Kind)
			}
			for _, a := range acts {
				if a.Kind < ActSpawn || a.Kind > ActDisarm || a.Delay < 0 {
					t.Errorf("%+v orders %+v", before, a)
				}
			}
			written(t, m)
			_ = m.Snapshot()
		}
	})
}

func written(t *testing.T, m Machine) []byte {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatalf("%+v can't be kept: %v", m, err)
	}
	return text
}

// FuzzProcText reads what stands below /proc besides stat.
func FuzzProcText(f *testing.F) {
	for _, s := range []string{"low 1\noom_kill 7\n", "oom_kill \n", "oom_kill -1\noom_kill 2", "pm_id=3\x00HOME=/\x00", "pm_id=3", "\x00\x00pm_id=3\x00", "xpm_id=3\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, has := parseOOMKills(text); (has || n > 0) && !bytes.Contains(text, []byte("oom_kill ")) {
			t.Errorf("%q: a kill", text)
		}
		framed := append([]byte{0}, text...)
		const entry = "pm_id=3"
		has := bytes.Contains(append(framed, 0), []byte("\x00"+entry+"\x00"))
		if hasEntries(text, []string{entry}) != has {
			t.Errorf("%q: %v, want %v", text, !has, has)
		}
	})
}

// TestNobodysPid: a note that names init, or no process, is of one that is gone: nothing
// that it could mean may be signalled.
func TestNobodysPid(t *testing.T) {
	t.Parallel()
	k, err := NewKernel(KernelOptions{Keeper: os.Getppid})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	start, err := procfs{root: "/proc"}.stat(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{-1, 0, 1} {
		if _, err := k.Adopt(Command{}, Run{Pid: pid, StartTime: start.start}, func() {}); !errors.Is(err, ErrGone) {
			t.Errorf("pid %d: %v, want that it is gone", pid, err)
		}
	}
	for _, pid := range []int{0, 1} {
		c := &child{k: k, pid: pid, pidfd: -1, reaped: 1 << 60}
		if c.isLeftover(procStat{pid: os.Getppid(), group: pid, ppid: 1 << 20}, nil) {
			t.Errorf("what is in the group %d counts as left by an app", pid)
		}
	}
}

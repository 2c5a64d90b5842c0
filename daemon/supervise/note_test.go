package supervise

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// full is a machine with everything in it at once.
func full() Machine {
	exit := &Exit{
		At: t0, Code: 3, Signal: syscall.SIGKILL, CoreDump: true, OOM: true, Err: "no such file: \"x\"\n", Uptime: 90 * time.Second,
		Requested: true, Incarnation: 6,
	}
	ended := *exit
	ended.Code = Unknown
	return Machine{
		State: Clearing, Want: true, Inc: 7, Run: Run{Pid: 42, StartTime: 99, Started: t0},
		Timer: Timer{Epoch: 5, Armed: true, Due: t0.Add(time.Second), Delay: time.Second},
		Count: Count{Restarts: 4, Unstable: 2}, Plan: Plan{Then: thenFail, Due: t0.Add(1), Delay: time.Minute, Again: true},
		Recycle: true, Asked: true, Killed: true, Cause: "memory 210 MB > 200 MB", LastExit: exit, Ended: &ended,
		Remains: Remains{Pid: 41, StartTime: 98, Reaped: 100},
	}
}

// TestNoteIsStable: later and earlier releases read it. Names may be added to the
// golden file; those that are there stay.
func TestNoteIsStable(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/machine.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(full(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != strings.TrimSpace(string(golden)) {
		t.Errorf("written is\n%s\nthe golden file has\n%s", got, golden)
	}
	var m Machine
	if err := json.Unmarshal(golden, &m); err != nil || !reflect.DeepEqual(m, full()) {
		t.Errorf("read is %+v, %v", m, err)
	}
}

// TestNoteOfAnotherRelease: what isn't known is let be, what is missing is zero,
// and a state that we don't have is an error.
func TestNoteOfAnotherRelease(t *testing.T) {
	t.Parallel()
	var m Machine
	if err := json.Unmarshal([]byte(`{"state":"online","want":true,"inc":3,"later":{"x":1},"run":{"pid":4,"colour":"red"}}`), &m); err != nil {
		t.Error(err)
	}
	if want := (Machine{State: Online, Want: true, Inc: 3, Run: Run{Pid: 4}}); m != want {
		t.Errorf("%+v", m)
	}
	for _, note := range []string{`{"state":"dreaming"}`, `{"plan":{"then":"dream"}}`, `{"state":3}`} {
		if err := json.Unmarshal([]byte(note), &m); err == nil {
			t.Errorf("%s was read as %+v", note, m)
		}
	}
}

// TestEveryStateHasAName that can be read again.
func TestEveryStateHasAName(t *testing.T) {
	t.Parallel()
	for s := range State(states) {
		var got State
		if text, _ := s.MarshalText(); got.UnmarshalText(text) != nil || got != s {
			t.Errorf("%v became %v", s, got)
		}
	}
	for p := thenRest; p <= thenFail; p++ {
		var got then
		if text, _ := p.MarshalText(); got.UnmarshalText(text) != nil || got != p {
			t.Errorf("%v became %v", p, got)
		}
	}
}

// BenchmarkNote is on the path of every crash, twice.
func BenchmarkNote(b *testing.B) {
	m := full()
	m.Ended, m.Remains = nil, Remains{Reaped: 100}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(m); err != nil {
			b.Fatal(err)
		}
	}
}

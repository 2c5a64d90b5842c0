package daemon

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/daemon/supervise"
)

// Each row of the table has a name by Prometheus' rules, and is in the documentation with
// its type.
func TestMetricTable(t *testing.T) {
	text, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range metricTable {
		kind := "gauge"
		if m.counter {
			kind = "counter"
		}
		switch {
		case !strings.HasPrefix(m.name, "gopm_") || m.help == "" || seen[m.name]:
			t.Errorf("%+v: a name of its own and a help are wanted", m)
		case m.counter != strings.HasSuffix(m.name, "_total"):
			t.Errorf("%s: counters end with _total, and nothing else does", m.name)
		case !strings.Contains(string(text), "| `"+m.name+"` | "+kind+" |"):
			t.Errorf("%s, a %s, is not in docs/monitoring.md", m.name, kind)
		}
		seen[m.name] = true
	}
	for _, value := range append(restartReasons[:], exitResults[:]...) {
		if !strings.Contains(string(text), "`"+value+"`") {
			t.Errorf("%s is not in docs/monitoring.md", value)
		}
	}
}

func TestMetricsAddress(t *testing.T) {
	for _, tt := range []struct{ in, want, wrong string }{
		{in: "127.0.0.1:9209", want: "tcp 127.0.0.1:9209"},
		{in: "localhost:9209", want: "tcp 127.0.0.1:9209"},
		{in: "[::1]:9209", want: "tcp [::1]:9209"},
		{in: "unix:/run/x.sock", want: "unix /run/x.sock"},
		{in: "0.0.0.0:9209", want: "tcp 0.0.0.0:9209 public"},
		{in: "[::]:9209", want: "tcp [::]:9209 public"},
		{in: "10.1.2.3:9209", want: "tcp 10.1.2.3:9209 public"},
		{in: ":9209", wrong: "127.0.0.1:9209"},
		{in: "9209", wrong: "127.0.0.1:PORT"},
		{in: "web.example:9209", wrong: "want an address"},
		{in: "127.0.0.1:many", wrong: "no port"},
		{in: "127.0.0.1:0", wrong: "no port"},
		{in: "unix:x.sock", wrong: "absolute"},
		{in: "unix:", wrong: "absolute"},
	} {
		a, err := parseMetricsAddress(tt.in)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%q: %+v, %v; want an error with %q", tt.in, a, err, tt.wrong)
			}
			continue
		}
		got := a.network + " " + a.address
		if a.public {
			got += " public"
		}
		if err != nil || got != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestReasonOfRestart(t *testing.T) {
	code := func(n int) supervise.Exit { return supervise.Exit{Code: n, Incarnation: 4} }
	by := func(change func(*supervise.Exit)) supervise.Exit {
		e := supervise.Exit{Incarnation: 4, Signal: syscall.SIGKILL}
		change(&e)
		return e
	}
	requested := by(func(e *supervise.Exit) { e.Requested = true })
	for _, tt := range []struct {
		name  string
		exit  supervise.Exit
		asked *again
		want  string
	}{
		{"code 0", code(0), nil, byExit},
		{"code 3", code(3), nil, byCrash},
		{"signal", by(func(*supervise.Exit) {}), nil, byCrash},
		{"a crash before what was asked for", code(3), &again{4, byMemory}, byCrash},
		{"unknown", code(supervise.Unknown), nil, byUnknown},
		{"oom", by(func(e *supervise.Exit) { e.OOM = true }), nil, byOOM},
		{"hang", by(func(e *supervise.Exit) { e.Hang = "5 connections" }), nil, byHang},
		{"watchdog", by(func(e *supervise.Exit) { e.Fault = faultWatchdog + "silent" }), nil, byHang},
		{"health", by(func(e *supervise.Exit) { e.Fault = faultUnhealthy + "503" }), nil, byHealth},
		{"not ready", by(func(e *supervise.Exit) { e.Fault = "not ready within 1m0s" }), nil, byNotReady},
		{"no such file", supervise.Exit{Err: "no such file", Incarnation: 4}, nil, bySpawn},
		{"a command", requested, nil, byHand},
		{"memory", requested, &again{4, byMemory}, byMemory},
		{"of another incarnation", requested, &again{3, byMemory}, byHand},
		{"a reload, long after a crash", supervise.Exit{Code: 3, Incarnation: 2}, &again{4, byReload}, byReload},
	} {
		s := supervise.Snapshot{Incarnation: 5, LastExit: &tt.exit}
		if got := reasonOf(s, tt.asked); got != tt.want {
			t.Errorf("%s: counted as %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := reasonOf(supervise.Snapshot{Incarnation: 1}, nil); got != byHand {
		t.Errorf("without any exit: counted as %q", got)
	}
}

func TestParseProcess(t *testing.T) {
	line := "42 (a) b) S 7 42 42 0 -1 4194304 1 2 3 4 100 50 20 10 20 0 3 0 12345 1000000 250 18446744073709551615 1 1\n"
	p, is := parseProcess([]byte(line))
	want := processLine{parent: 7, cpu: 1500 * time.Millisecond, waited: 300 * time.Millisecond, threads: 3, start: 12345, memory: 250 * int64(os.Getpagesize())}
	if !is || p != want {
		t.Errorf("%+v, %v; want %+v", p, is, want)
	}
	for _, bad := range []string{"", "42", "42 (a) S 1 2", ")"} {
		if p, is := parseProcess([]byte(bad)); is {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

// A tree is added up whatever /proc has said in between, also a circle.
func TestProcessTree(t *testing.T) {
	table := processTable{
		of: map[int]processLine{
			-10: {start: 1, cpu: time.Second, memory: 10, threads: 1},
			-11: {parent: -10, start: 2, cpu: time.Second, waited: time.Second, memory: 20, threads: 2},
			-12: {parent: -11, start: 3, memory: 30, threads: 3},
		},
		children: map[int][]int{-10: {-11}, -11: {-12}, -12: {-10}},
	}
	u, is := table.tree(-10, 1)
	if want := (treeUse{cpu: 3 * time.Second, memory: 60, threads: 6, processes: 3}); !is || u != want {
		t.Errorf("%+v, %v; want %+v", u, is, want)
	}
	if _, is := table.tree(-10, 9); is {
		t.Error("a process that was started at another time was taken for it")
	}
	all, err := allProcesses()
	if err != nil {
		t.Fatal(err)
	}
	self, is := all.of[os.Getpid()]
	if !is || self.parent != os.Getppid() || self.memory == 0 || self.threads == 0 {
		t.Errorf("this process: %+v, %v", self, is)
	}
	if u, is := all.tree(os.Getpid(), self.start); !is || u.processes < 1 || u.files < 3 {
		t.Errorf("this process with its children: %+v, %v", u, is)
	}
}

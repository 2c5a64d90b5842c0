package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// gopm run: what a run writes and how it ends is its starter's.

// ends waits for the end of a command and returns its exit code.
func (f *follower) ends() int {
	f.g.Helper()
	_ = f.cmd.Wait() // its exit code says all
	return f.cmd.ProcessState.ExitCode()
}

func TestRunPassesOutputAndCode(t *testing.T) {
	g := newGopm(t)
	g.script("both", `echo to stdout; echo to stderr >&2; printf 'no newline'; exit 3`)
	g.script("killed", "kill -9 $$")
	g.script("fine", "echo fine")
	g.script("gone", "echo gone")
	g.sleeper("service")
	g.file("e.json", `{"apps": [
		{"name": "both", "script": "./both", "schedule": "0 3 29 2 *"},
		{"name": "killed", "script": "./killed", "schedule": "0 3 29 2 *"},
		{"name": "fine", "script": "./fine", "autorestart": false, "autostart": false},
		{"name": "gone", "script": "./gone", "schedule": "0 3 29 2 *"},
		{"name": "late", "script": "./service", "schedule": {"at": "0 3 29 2 *", "timeout": "500ms"}},
		{"name": "quiet", "script": "./both", "disable_logs": true, "schedule": "0 3 29 2 *"},
		{"name": "service", "script": "./service", "min_uptime": "100ms"}]}`)
	g.run("start", "e.json")
	g.run("stop", "killed") // what isn't scheduled can be run, too
	for _, want := range []struct {
		app, out, err string
		code          int
	}{
		{"both", "to stdout\nno newline", "to stderr\n", 3},
		{"both", "to stdout\nno newline", "to stderr\n", 3}, // and nothing of the run before
		{"killed", "", "gopm: killed: ended by SIGKILL after ", 137},
		{"fine", "fine\n", "", 0},
		{"late", "", "gopm: late: timed out after 500ms: ended by gopm after ", 143},
		{"quiet", "", "can't be shown: ", 3},
	} {
		r := g.try("run", want.app)
		if r.code != want.code || r.out != want.out || !strings.HasPrefix(r.err, want.err) && want.app != "quiet" || want.err == "" && r.err != "" {
			t.Errorf("run %s: %v", want.app, r)
		}
		if want.app == "quiet" {
			contains(t, "run quiet", r.err, "stdout can't be shown: no file", "stderr can't be shown: no file")
		}
	}
	g.fileSays(g.app("both").Env.Out, "to stdout\nno newlineto stdout\nno newline")
	must(t, os.Remove(filepath.Join(g.dir, "gone")))
	g.fail(1, []string{"gone cannot be started: ", "no such file"}, "run", "gone")
	g.fail(2, []string{"service is an app that always runs: gopm start service"}, "run", "service")
	g.fail(2, []string{"all means 7 instances, and gopm run is for one"}, "run", "all")
	g.fail(1, []string{`no app or namespace named "nobody"`, "gopm start their file first"}, "run", "nobody")
	g.fail(2, []string{"run wants the name of one app"}, "run")
	g.fail(2, []string{"arguments of its program are set in its file"}, "run", "both", "--", "-x")
}

// What is written is shown as it comes, and Ctrl-C ends the run as stop would.
func TestRunIsFollowedAndEnded(t *testing.T) {
	g := newGopm(t)
	g.script("ask", `trap 'echo bye; exit 7' TERM; printf 'password: '; while [ ! -e go ]; do sleep 0.02; done; echo thanks; while :; do sleep 0.02; done`)
	g.file("e.json", `{"apps": [{"name": "ask", "script": "./ask", "treekill": false, "schedule": "0 3 29 2 *"}]}`)
	g.run("start", "e.json")
	f := g.goesOn("run", "ask")
	f.says("password: ")
	lacks(t, "before it was told to go on", f.text(), "thanks")
	g.fail(1, []string{"ask is running (pid ", "gopm logs ask", "gopm stop ask"}, "run", "ask")
	g.file("go", "")
	f.says("thanks\n")
	must(t, f.cmd.Process.Signal(syscall.SIGINT))
	if code := f.ends(); code != 130 || !strings.HasPrefix(f.text(), "password: thanks\nbye\n") {
		t.Errorf("after Ctrl-C: %d, %q", code, f.text())
	}
	if e := g.app("ask"); e.Pid != 0 || e.Env.ExitCode == nil || *e.Env.ExitCode != 7 {
		t.Errorf("after Ctrl-C: %v", e)
	}
	contains(t, "ls", g.run("ls"), "scheduled, next run 2028-02-29")
	f = g.goesOn("run", "ask") // and gopm stop ends it for who follows it
	f.says("thanks\n")
	g.run("stop", "ask")
	if code := f.ends(); code != 7 || !strings.HasPrefix(f.text(), "password: thanks\nbye\n") {
		t.Errorf("after stop: %d, %q", code, f.text())
	}
}

// Overlap decides what becomes of a run that goes on.
func TestRunOverlaps(t *testing.T) {
	g := newGopm(t)
	open := g.gated("queue")
	g.gated("kill")
	g.file("e.json", `{"apps": [
		{"name": "queue", "script": "./queue", "schedule": {"at": "0 3 29 2 *", "overlap": "queue"}},
		{"name": "kill", "script": "./kill", "schedule": {"at": "0 3 29 2 *", "overlap": "kill"}}]}`)
	g.run("start", "e.json")
	first := g.goesOn("run", "queue")
	first.says("begun")
	second := g.goesOn("run", "queue")
	second.says("waiting for the run before to end")
	open()
	if code := first.ends(); code != 0 {
		t.Errorf("the first: %d, %q", code, first.text())
	}
	second.says("begun")
	open()
	if code := second.ends(); code != 0 || strings.Count(second.text(), "begun") != 1 {
		t.Errorf("the second: %d, %q", code, second.text())
	}
	old := g.goesOn("run", "kill")
	old.says("begun")
	young := g.goesOn("run", "kill")
	young.says("begun")
	if code := old.ends(); code != 143 {
		t.Errorf("the old one: %d, %q", code, old.text())
	}
	g.file("kill.go", "")
	if code := young.ends(); code != 0 {
		t.Errorf("the young one: %d, %q", code, young.text())
	}
}

// Nothing is lost or shown twice when the daemon dies meanwhile, or the log is rotated.
func TestRunOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	const lines = 50_000
	g.script("count", fmt.Sprintf(`i=0; while [ $i -lt %d ]; do i=$((i+1)); echo "line $i"; done; exit 5`, lines))
	g.file("e.json", `{"apps": [{"name": "count", "script": "./count", "schedule": "0 3 29 2 *", "max_size": "50K", "retain": 0}]}`)
	g.run("start", "e.json")
	f := g.goesOn("run", "count")
	f.says("line 100\n")
	g.killDaemon()
	if code := f.ends(); code != 5 {
		t.Errorf("exit code %d", code)
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	if got := f.text(); got != want.String() {
		t.Errorf("%d bytes, want %d; …%q", len(got), want.Len(), got[max(0, len(got)-200):])
	}
	if rotated, _ := filepath.Glob(filepath.Join(g.home, "logs", "count-out*")); len(rotated) < 3 {
		t.Errorf("nothing was rotated: %v", rotated)
	}
}

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child compiles child.c for a test.
func child(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	path := filepath.Join(t.TempDir(), "child")
	if err := compile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// started runs the child until the test ends.
func started(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// eventually waits for a fact.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	if !wait(context.Background(), 10*time.Second, time.Millisecond, fact) {
		t.Fatalf("not within 10 s: %s", what)
	}
}

func TestChildWritesWhatIsChecked(t *testing.T) {
	t.Parallel()
	program, dir := child(t), t.TempDir()
	s := stamps{path: filepath.Join(dir, "stamps")}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, "log", s.path, "log0", "20000")
	cmd.Stdout = out
	started(t, cmd)
	eventually(t, "the writer is ready", func() bool { return s.count("ready") == 1 })
	if info, _ := out.Stat(); info.Size() != 0 {
		t.Error("it writes before it is told")
	}
	appendTo(t, s.path+".go", "")
	eventually(t, "it is done", func() bool { return s.count("done") == 1 })
	got, err := check("log0", 20000, []string{out.Name()})
	if err != nil || got.String() != "" {
		t.Errorf("%v %v", got, err)
	}
	if from, to := s.latest("begin")["log0"].at, s.latest("done")["log0"].at; from <= 0 || to <= from {
		t.Errorf("begin %d, done %d", from, to)
	}
}

func TestSupervisorAndList(t *testing.T) {
	t.Parallel()
	program, dir := child(t), t.TempDir()
	s := stamps{path: filepath.Join(dir, "stamps")}
	cmd := exec.Command(program, "super", program, s.path, "3")
	cmd.Dir = dir
	started(t, cmd)
	t.Cleanup(func() {
		cmd.Process.Kill() // first, else it starts them again
		cmd.Wait()
		for _, one := range s.poll() {
			if executable(one.pid) == program {
				unix.Kill(one.pid, unix.SIGKILL)
			}
		}
	})
	eventually(t, "three apps", func() bool { return s.count("start") == 3 })
	old := s.latest("start")["app0001"]
	if err := unix.Kill(old.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a successor", func() bool { return s.latest("start")["app0001"].pid != old.pid })
	if wrong := s.wrong(3, 4, alive); wrong != "" {
		t.Error(wrong)
	}
	out, err := exec.Command(program, "list", s.path).Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := shown(string(out), []app{{name: "app0000"}, {name: "app0001"}, {name: "app0002"}, {name: "app0003"}}); n != 3 {
		t.Errorf("the list shows %d apps:\n%s", n, out)
	}
	if n := strings.Count(string(out), "\n"); n != 3 {
		t.Errorf("%d lines, a dead process among them:\n%s", n, out)
	}
}

// TestChildTellsWhatItWrote: each line that is in the output is told, and no other.
func TestChildTellsWhatItWrote(t *testing.T) {
	t.Parallel()
	program, dir := child(t), t.TempDir()
	s := stamps{path: filepath.Join(dir, "stamps")}
	told := stamps{path: s.path + ".told"}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, "tick", s.path, "app0", "1")
	cmd.Stdout = out
	started(t, cmd)
	eventually(t, "ten lines", func() bool { return len(told.poll()) >= 10 })
	appendTo(t, s.path+".stop", "")
	before := -1
	eventually(t, "it has stopped", func() bool {
		n := len(told.poll())
		defer func() { before = n }()
		return n == before
	})
	logged := map[string]bool{}
	for line := range strings.Lines(readFile(out.Name())) {
		logged[strings.TrimSpace(line)] = true
	}
	if n := missing(told.poll(), logged); n != 0 || len(logged) < 10 || s.count("start") != 1 {
		t.Errorf("%d of %d told lines are missing among %d; %d starts", n, len(told.all), len(logged), s.count("start"))
	}
}

// TestChildKeepsItsPace: each line by itself and none before it is due, with what the check expects.
func TestChildKeepsItsPace(t *testing.T) {
	t.Parallel()
	program, dir := child(t), t.TempDir()
	s := stamps{path: filepath.Join(dir, "stamps")}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	appendTo(t, s.path+".go", "")
	cmd := exec.Command(program, "pace", s.path, "log0", "101", "1000")
	cmd.Stdout = out
	started(t, cmd)
	eventually(t, "it is done", func() bool { return s.count("done") == 1 })
	if took := time.Duration(s.latest("done")["log0"].at - s.first("begin")); took < 100*time.Millisecond {
		t.Errorf("101 lines at 1000 a second took %v", took)
	}
	got, err := check("log0", 101, []string{out.Name()})
	if err != nil || got.String() != "" {
		t.Errorf("%v %v", got, err)
	}
}

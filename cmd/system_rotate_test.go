package cmd_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// logFiles are a stream's files, the oldest first.
func (g *gopm) logFiles(current string) []string {
	g.Helper()
	stem := strings.TrimSuffix(current, ".log")
	rotated, err := filepath.Glob(stem + "-2*.log*")
	must(g.T, err)
	slices.Sort(rotated)
	return append(rotated, current)
}

// numbered checks that the files hold the lines "line 0" to "line n-1" in order.
func numbered(t *testing.T, files []string, n int, form string) {
	t.Helper()
	next := 0
	for _, path := range files {
		data, err := os.ReadFile(path)
		must(t, err)
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			if want := fmt.Sprintf(form, next); lines.Text() != want {
				t.Fatalf("%s: line %d is %.80q, want %q", filepath.Base(path), next, lines.Text(), want)
			}
			next++
		}
		must(t, lines.Err())
	}
	if next != n {
		t.Errorf("%d lines, want %d", next, n)
	}
}

func TestThirtyMegabytesAreRotatedAndComplete(t *testing.T) {
	g := newGopm(t)
	const n = 300_000 // of 105 bytes: 31.5 MB
	filler := strings.Repeat("x", 90)
	g.script("flood", fmt.Sprintf(`awk 'BEGIN { for (i = 0; i < %d; i++) printf "line %%08d %s\n", i }'; echo all written > done; exec sleep 1000`, n, filler))
	g.run("start", "./flood", "--min-uptime", "100ms")
	eventually(t, 30*time.Second, func() error {
		_, err := os.Stat(g.dir + "/done")
		return err
	})
	out := g.app("flood").Env.Out
	form := "line %08d " + filler
	last := fmt.Sprintf(form, n-1)
	eventually(t, soon, func() error {
		if text := g.run("logs", "flood", "--nostream", "--raw", "--lines", "1"); text != last+"\n" {
			return fmt.Errorf("the last line is %q", text)
		}
		return nil
	})
	files := g.logFiles(out)
	if len(files) < 4 {
		t.Errorf("want four files of 10 MB, got %v", files)
	}
	for _, path := range files {
		info, err := os.Stat(path)
		must(t, err)
		if info.Size() > 11<<20 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, %v", path, info.Size(), info.Mode())
		}
	}
	numbered(t, files, n, form)
	text := g.run("logs", "flood", "--nostream", "--raw", "--lines", "150000") // over a rotation
	if got := strings.Count(text, "\n"); got != 150_000 || !strings.HasPrefix(text, fmt.Sprintf(form, n-150_000)) {
		t.Errorf("--lines 150000 gave %d lines from %.30q", got, text)
	}
	lacks(t, "info", g.run("info", "flood"), "dropped")
}

func TestFollowAcrossRotation(t *testing.T) {
	g := newGopm(t)
	const n = 4000
	g.script("flood", fmt.Sprintf(`echo ready; while [ ! -e go ]; do sleep 0.02; done; i=0; while [ $i -lt %d ]; do echo "line $i of the flood"; i=$((i+1)); done; exec sleep 1000`, n))
	g.run("start", "./flood", "--min-uptime", "100ms", "--max-size", "20K", "--retain", "100")
	f := g.follow("flood", "--raw")
	f.says("ready\n")
	g.file("go", "")
	f.says(fmt.Sprintf("line %d of the flood\n", n-1))
	f.end()
	next := 0
	for line := range strings.Lines(strings.TrimPrefix(f.text(), "ready\n")) {
		if want := fmt.Sprintf("line %d of the flood\n", next); line != want {
			t.Fatalf("line %d is %q", next, line)
		}
		next++
	}
	if files := g.logFiles(g.app("flood").Env.Out); len(files) < 4 {
		t.Errorf("it was not rotated: %v", files)
	}
}

func TestRetain(t *testing.T) {
	g := newGopm(t)
	g.script("flood", `i=0; while [ $i -lt 5000 ]; do echo "line $i of the flood"; i=$((i+1)); done; echo over; exec sleep 1000`)
	g.run("start", "./flood", "--min-uptime", "100ms", "--max-size", "10K", "--retain", "3")
	out := g.app("flood").Env.Out
	g.fileSays(out, "over")
	eventually(t, soon, func() error {
		if files := g.logFiles(out); len(files) != 4 {
			return fmt.Errorf("want three rotated files and the current one: %v", files)
		}
		return nil
	})
}

func TestSharedAndSpecialLogTargets(t *testing.T) {
	g := newGopm(t)
	g.script("say", `i=0; while [ $i -lt 200 ]; do echo "out $name $i"; echo "err $name $i" >&2; i=$((i+1)); done; exec sleep 1000`)
	g.file("eco.json", `[
  {"name": "a", "script": "./say", "out_file": "logs/both.txt", "error_file": "logs/both.txt", `+quick+`},
  {"name": "b", "script": "./say", "out_file": "logs/both.txt", "error_file": "/dev/null", `+quick+`},
  {"name": "full", "script": "./say", "out_file": "/dev/full", `+quick+`},
  {"name": "none", "script": "./say", "disable_logs": true, `+quick+`},
]`)
	g.run("start", "eco.json")
	eventually(t, soon, func() error {
		text, err := os.ReadFile(g.dir + "/logs/both.txt")
		if err != nil {
			return err
		}
		for _, stream := range []string{"out a", "err a", "out b"} {
			for i := range 200 {
				if !bytes.Contains(text, fmt.Appendf(nil, "%s %d\n", stream, i)) {
					return fmt.Errorf("no line %q in %d bytes", fmt.Sprintf("%s %d", stream, i), len(text))
				}
			}
		}
		return nil
	})
	if _, err := os.Stat(g.home + "/logs/none-out.log"); err == nil {
		t.Error("disable_logs made a file")
	}
	// A log that refuses writes hinders nobody, and is told.
	eventually(t, soon, func() error {
		if out := g.run("ls"); !strings.Contains(out, "full log: ") || !strings.Contains(out, "dropped") {
			return fmt.Errorf("ls says nothing of dropped bytes:\n%s", out)
		}
		return nil
	})
	contains(t, "info", g.run("info", "full"), "/dev/full (", "dropped", "no space left")
}

// After reloadLogs nobody writes into the file that was moved away, which may be
// compressed next: not the other instances either that shared it.
func TestReloadLogsOfAFileOfSeveralInstances(t *testing.T) {
	g := newGopm(t)
	g.script("say", `i=$NODE_APP_INSTANCE; echo "$i ready"; while :; do [ -e go$i ] && { rm go$i; echo "$i out"; echo "$i err" >&2; }; sleep 0.02; done`)
	g.file("eco.json", `{"name": "a", "script": "./say", "instances": 2, "exec_mode": "fork", "merge_logs": true, "error_file": "/dev/null", "log_file": "all.log", `+quick+`}`)
	g.run("start", "eco.json")
	files := []string{filepath.Join(g.home, "logs", "a-out.log"), filepath.Join(g.dir, "all.log")}
	for _, file := range files {
		g.fileSays(file, "0 ready")
		g.fileSays(file, "1 ready")
		must(t, os.Rename(file, file+".1"))
	}
	g.run("reloadLogs")
	for _, i := range []string{"0", "1"} {
		g.file("go"+i, "")
		g.fileSays(files[0], i+" out\n")
		g.fileSays(files[1], i+" err\n")
	}
	for _, file := range files {
		text, err := os.ReadFile(file + ".1")
		must(t, err)
		lacks(t, file+".1", string(text), "out", "err")
	}
}

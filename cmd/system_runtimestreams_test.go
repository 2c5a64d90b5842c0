package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Where the streams of a gopm in the foreground go.

// TestRuntimeForms: one file, every form of lines; they are whole, of several instances that
// write parts of them, too, and a file that is named gets them besides.
func TestRuntimeForms(t *testing.T) {
	g := newGopm(t)
	g.script("app.sh", `for i in 1 2 3 4 5 6 7 8 9; do printf one; printf "%s" two; echo three; echo "oops $i" >&2; done`)
	g.script("shy.sh", "echo unseen; echo unheard >&2")
	file := g.file("eco.json", `{"apps": [
		{"name": "web", "script": "app.sh", "instances": 3, "exec_mode": "fork", "autorestart": false, "out_file": "web.log", "merge_logs": true},
		{"name": "shy", "script": "shy.sh", "autorestart": false, "out_file": "/dev/null", "error_file": "/dev/null"}]}`)
	forms := map[string]func(line string) bool{
		"--raw":       func(line string) bool { return line == "onetwothree" },
		"--formatted": func(line string) bool { return strings.HasSuffix(line, "|web | onetwothree") },
		"--format": func(line string) bool {
			return strings.HasPrefix(line, "timestamp=") && strings.Contains(line, " app=web id=") && strings.HasSuffix(line, " type=out message=onetwothree")
		},
		"--json": func(line string) bool {
			var l struct{ Message, Type, Timestamp, App string }
			return json.Unmarshal([]byte(line), &l) == nil && l.Message == "onetwothree" && l.Type == "out" && l.Timestamp != ""
		},
	}
	for form, fits := range forms {
		f := g.front(file, form)
		f.ends(0)
		n := 0
		for line := range strings.Lines(f.out.String()) {
			if n++; !fits(strings.TrimSuffix(line, "\n")) {
				t.Errorf("%s: %q", form, line)
			}
		}
		if n != 27 {
			t.Errorf("%s: %d lines", form, n)
		}
		if errors := f.err.String(); strings.Count(errors, "oops") != 27 || strings.Contains(errors, "unheard") {
			t.Errorf("%s: %s", form, errors)
		}
		for line := range strings.Lines(f.err.String()) {
			if isJSON := json.Valid([]byte(line)); isJSON != (form == "--json") {
				t.Errorf("%s: %q on stderr", form, line)
			}
		}
	}
	if text := g.fileSays(filepath.Join(g.dir, "web.log"), "onetwothree\n"); text != strings.Repeat("onetwothree\n", 27*len(forms)) {
		t.Errorf("the file has %q", text)
	}
	f := g.front("nothing.json", "--json") // what comes before the start, too
	f.ends(2)
	if err := f.err.String(); !json.Valid([]byte(err)) || !strings.Contains(err, `"type":"gopm"`) {
		t.Errorf("%q", err)
	}
	g.fail(2, []string{"exclude one another"}, "runtime", file, "--json", "--raw")
	g.fail(2, []string{"--web is left out on purpose"}, "runtime", "start", file, "--web", "9615")
}

// TestRuntimeLogs: gopm logs shows what is in files, and says where the rest is.
func TestRuntimeLogs(t *testing.T) {
	g := newGopm(t)
	g.script("app.sh", "echo seen; exec sleep 100")
	f := g.front(g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh"}, {"name": "kept", "script": "app.sh", "out_file": "kept.log"}]}`))
	g.fileSays(filepath.Join(g.dir, "kept.log"), "seen\n")
	r := g.try("logs", "web", "--nostream")
	contains(t, "logs", r.err, "web: what is in no log file goes to stdout and stderr of gopm runtime", "docker logs")
	lacks(t, "logs", r.out, "seen")
	r = g.try("logs", "kept", "--nostream", "--out")
	contains(t, "logs", r.out, "seen")
	lacks(t, "logs", r.err, "no log file")
	g.run("kill")
	f.ends(143)
}

// TestRuntimeStreams: whatever stdout is, its lines get there and the code is the app's.
func TestRuntimeStreams(t *testing.T) {
	g := newGopm(t)
	g.script("app.sh", "echo one; echo two; exit 4")
	file := g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh", "autorestart": false}]}`)
	shared, err := os.Create(filepath.Join(g.dir, "out"))
	must(t, err)
	defer shared.Close()
	_, err = shared.WriteString("before\n")
	must(t, err)
	cmd := g.command("runtime", file)
	cmd.Stdout = shared
	g.frontOf(cmd).ends(4)
	_, err = shared.WriteString("after\n") // as in ( gopm runtime; echo after ) > out
	must(t, err)
	if text := g.fileSays(shared.Name(), "after"); text != "before\none\ntwo\nafter\n" {
		t.Errorf("a file: %q", text)
	}

	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	ours, its := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "its")
	defer ours.Close()
	cmd = g.command("runtime", file)
	cmd.Stdout = its
	f := g.frontOf(cmd)
	its.Close()
	f.ends(4)
	buf := make([]byte, 100)
	if n, err := ours.Read(buf); string(buf[:n]) != "one\ntwo\n" {
		t.Errorf("a socket: %q, %v", buf[:n], err)
	}

	cmd = g.command("runtime", file) // without any stream
	cmd.Args = append([]string{"sh", "-c", `exec "$@" >&- 2>&- <&-`, "sh"}, cmd.Args...)
	cmd.Path = "/bin/sh"
	g.frontOf(cmd).ends(4)
}

// serves waits until a daemon in the foreground answers, and its list has a word.
func (g *gopm) serves(word string) {
	g.Helper()
	eventually(g.T, soon, func() error {
		if r := g.try("ls"); !strings.Contains(r.out, " "+word+" ") {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
}

// TestRuntimeIsNotRead: programs wait for who reads their lines, as without gopm, and
// nothing else does; and when nobody is left who could read them they go on.
func TestRuntimeIsNotRead(t *testing.T) {
	g := newGopm(t)
	const lines = 200000 // more than the pipes and gopm take
	g.script("app.sh", fmt.Sprintf("seq %d; exit 4", lines))
	file := g.file("eco.json", `{"apps": [{"name": "web", "script": "app.sh", "autorestart": false}]}`)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd := g.command("runtime", file)
	cmd.Stdout = w
	f := g.frontOf(cmd)
	w.Close()
	g.serves("online")
	if text := g.run("info", "web"); !strings.Contains(text, "online") {
		t.Errorf("info: %s", text)
	}
	n, buf := 0, make([]byte, 64<<10)
	for {
		got, err := r.Read(buf)
		n += strings.Count(string(buf[:got]), "\n")
		if err != nil {
			break
		}
	}
	f.ends(4)
	if n != lines {
		t.Errorf("%d lines", n)
	}

	r, w, err = os.Pipe() // as in gopm runtime | head -1
	must(t, err)
	cmd = g.command("runtime", file)
	cmd.Stdout = w
	f = g.frontOf(cmd)
	w.Close()
	_, err = r.Read(buf[:10])
	must(t, err)
	r.Close()
	f.ends(4)
	f.says("", "broken pipe")

	r, w, err = os.Pipe() // nobody reads, and it has to end all the same
	must(t, err)
	defer r.Close()
	cmd = g.command("runtime", file)
	cmd.Stdout, cmd.Stderr = w, w
	f = g.frontOf(cmd)
	w.Close()
	g.serves("online")
	must(t, f.cmd.Process.Signal(unix.SIGTERM))
	f.ends(128 + 15)
}

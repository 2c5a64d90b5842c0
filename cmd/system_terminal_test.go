package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// screen runs gopm commands in a real terminal of some width, by tmux, and returns
// what is on it: plain, with wrapped lines joined, or with escape sequences.
type screen struct {
	g      *gopm
	socket string
}

func newScreen(g *gopm, width int, commands string) *screen {
	g.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		g.Fatal("tmux is needed: tools/parts test installs it")
	}
	s := &screen{g, filepath.Join(filepath.Dir(g.home), fmt.Sprintf("tmux%d", width))}
	script := g.file(fmt.Sprintf("on-%d.sh", width), fmt.Sprintf("export GOPM_HOME=%s\n%s\necho DONE\nunset GOPM_HOME\nexec cat\n", g.home, commands))
	s.tmux("-f", os.DevNull, "new-session", "-d", "-x", fmt.Sprint(width), "-y", "90", "sh "+script)
	g.Cleanup(func() { s.tmux("kill-server") })
	eventually(g.T, 2*soon, func() error {
		if text := s.capture(); !strings.Contains(text, "DONE") {
			return fmt.Errorf("not done: %s", text)
		}
		return nil
	})
	return s
}

func (s *screen) tmux(args ...string) string {
	s.g.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...)
	cmd.Dir, cmd.Env = s.g.dir, append(s.g.env[:len(s.g.env):len(s.g.env)], "TERM=xterm-256color", "SHELL=/bin/sh") // the shell of nobody ends at once
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.g.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func (s *screen) capture(options ...string) string {
	s.g.Helper()
	text := s.tmux(append([]string{"capture-pane", "-p", "-S", "-"}, options...)...)
	return strings.TrimRight(text, "\n ") + "\n"
}

func (s *screen) mustNotWrap() {
	s.g.Helper()
	plain, joined := s.capture(), s.capture("-J")
	if a, b := strings.Count(plain, "\n"), strings.Count(joined, "\n"); a != b {
		s.g.Errorf("%d lines wrapped:\n%s", a-b, plain)
	}
}

// someApps starts apps of which every row and line is long.
func someApps(t *testing.T) *gopm {
	g := newGopm(t)
	g.script("crash", "exit 3")
	g.eco("a-file-with-a-rather-long-name.json", `"name": "storefront"`, `"name": "payments", "namespace": "backoffice"`)
	g.run("start", "a-file-with-a-rather-long-name.json")
	g.try(crashes("start", "./crash", "--restart-delay", "1h", "--name", "waits")...)
	return g
}

func TestTerminalWidths(t *testing.T) {
	g := someApps(t)
	for width, columns := range map[int]string{
		60:  "id name status cpu mem",
		110: "id name mode pid uptime ↺ status cpu mem",
		200: "id name namespace version mode pid uptime ↺ status cpu mem user watching",
	} {
		s := newScreen(g, width, "gopm ls")
		s.mustNotWrap()
		text := s.capture()
		header := ""
		for _, line := range strings.Split(text, "\n") {
			if strings.Contains(line, " id ") {
				header = strings.Join(cells(line), " ")
			}
		}
		if header != columns {
			t.Errorf("%d columns: %q, want %q\n%s", width, header, columns, text)
		}
		contains(t, fmt.Sprint(width, " columns"), text, "storefront", "payments", "waits", "(exit 3)")
	}
}

func TestTerminalInfoAndStartDoNotWrap(t *testing.T) {
	g := someApps(t)
	newScreen(g, 60, "gopm info storefront").mustNotWrap()
	newScreen(g, 110, "gopm info storefront; gopm start a-file-with-a-rather-long-name.json; gopm stop payments").mustNotWrap()
}

func TestTerminalColours(t *testing.T) {
	g := someApps(t)
	coloured := newScreen(g, 110, "gopm ls").capture("-e")
	contains(t, "ls on a terminal", coloured, "\x1b[32monline", "\x1b[31mwaiting")
	for width, command := range map[int]string{111: "NO_COLOR=1 gopm ls", 112: "gopm ls --no-color", 113: "TERM=dumb gopm ls", 114: "gopm ls | cat"} {
		lacks(t, command, newScreen(g, width, command).capture("-e"), "\x1b[")
	}
}

func TestTerminalProgress(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "good"`, `"name": "bad", "args": ["bad"], `+slowly)
	g.script("run", `[ "$1" = bad ] && exit 4; exec sleep 1000`)
	text := newScreen(g, 120, "gopm start eco.json --wait 30s; echo code $?").capture()
	contains(t, "start on a terminal", text, "good:0 online", "bad:0 failed", "code 1")
}

// A long name or reason is cut rather than broken over lines.
func TestTerminalLongNamesAndReasons(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	must(t, os.MkdirAll(g.dir+"/a/rather/long/path/to/a/folder/that/will/be/gone", 0o755))
	g.run("start", "./run", "--min-uptime", "100ms", "--name", strings.Repeat("name", 25))
	g.run("start", "./run", "--min-uptime", "100ms", "--name", "日本語の名前がとても長いアプリケーションの名前です")
	g.run("start", "./run", "--min-uptime", "100ms", "--name", "lost", "--cwd", "a/rather/long/path/to/a/folder/that/will/be/gone", "--restart-delay", "1h")
	must(t, os.RemoveAll(g.dir+"/a"))
	g.fail(1, []string{"cannot enter cwd"}, "restart", "lost")
	for _, width := range []int{60, 80, 110} {
		s := newScreen(g, width, "gopm ls")
		s.mustNotWrap()
		contains(t, fmt.Sprint(width, " columns"), s.capture(), "namename", "online", "lost", "waiting")
	}
}

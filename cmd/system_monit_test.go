package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// dashboard runs monit in a terminal.
func dashboard(g *gopm, width, height int, before string) *screen {
	g.Helper()
	s := &screen{g, filepath.Join(filepath.Dir(g.home), "monit")}
	script := g.file("monit.sh", fmt.Sprintf("export GOPM_HOME=%s\n%s gopm monit\necho \"DONE $?\"\nunset GOPM_HOME\nexec cat\n", g.home, before))
	s.tmux("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "sh "+script)
	g.Cleanup(func() { s.tmux("kill-server") })
	return s
}

func (s *screen) keys(keys ...string) { s.tmux(append([]string{"send-keys"}, keys...)...) }

// awaits is the screen when it has all of some texts.
func (s *screen) awaits(texts ...string) (now string) {
	s.g.Helper()
	eventually(s.g.T, 2*soon, func() error {
		now = s.tmux("capture-pane", "-p")
		for _, text := range texts {
			if !strings.Contains(now, text) {
				return fmt.Errorf("no %q on\n%s", text, now)
			}
		}
		return nil
	})
	return now
}

// TestMonit is looked at and used by keys, at 80×24; the daemon dies meanwhile, and
// the terminal is as it was afterwards.
func TestMonit(t *testing.T) {
	g := newGopm(t)
	g.script("talk", "echo hello from stdout; echo hello from stderr >&2; exec sleep 1000")
	g.script("idle", "exec sleep 1000")
	g.run("start", g.file("e.json", `{"apps": [{"name": "talk", "script": "talk"}, {"name": "idle", "script": "idle", "instances": 2, "exec_mode": "fork"}]}`))
	s := dashboard(g, 80, 24, "")
	s.awaits("3 instances, 3 online", "› ")
	s.keys("/", "t", "a", "l", "Enter")
	s.awaits("› 0", "hello from stdout", "hello from stderr", "Log of 0|talk")
	before := g.app("talk").Pid
	s.keys("r")
	s.awaits("talk:0 (id 0): restarted")
	if now := g.awaitStatus("talk", "online"); now.Pid == before {
		t.Error("it was not restarted")
	}
	s.keys("s")
	s.awaits("0   talk", "stopped")
	g.awaitStatus("talk", "stopped")
	daemon, _ := g.daemon()
	g.killHard(daemon)
	s.keys("S")
	g.awaitStatus("talk", "online")
	s.keys("Escape")
	s.awaits("idle", "3 instances, 3 online")
	s.tmux("resize-window", "-x", "50", "-y", "12")
	s.awaits("monit needs 60×15")
	s.tmux("resize-window", "-x", "120", "-y", "40")
	s.awaits("pid ", "script")
	s.tmux("resize-window", "-x", "80", "-y", "24") // or tmux itself, leaving the other screen, shows what was on it
	s.awaits("┘\n┌─ Details")
	s.keys("q")
	text := s.awaits("DONE 0")
	if lines := strings.Fields(text); len(lines) != 2 {
		t.Errorf("it has left on the screen:\n%s", text)
	}
}

// TestMonitLeavesTheTerminal as it found it, however it ends, and has no colours where
// nobody wants them.
func TestMonitLeavesTheTerminal(t *testing.T) {
	g := newGopm(t)
	g.run("start", "/bin/sleep", "--name", "naps", "--", "1000")
	s := dashboard(g, 100, 30, "NO_COLOR=1")
	s.awaits("1 instances, 1 online")
	if text := s.tmux("capture-pane", "-p", "-e"); strings.Contains(text, "\x1b[3") {
		t.Errorf("colours:\n%q", text)
	}
	last := strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_pid}"))
	for next := last; next != ""; { // shells, then gopm
		last = next
		children, err := os.ReadFile(fmt.Sprintf("/proc/%s/task/%s/children", last, last))
		must(t, err)
		next = strings.TrimSpace(string(children))
	}
	pid, err := strconv.Atoi(last)
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGTERM))
	if text := s.awaits("DONE 130"); strings.Contains(text, "┌") {
		t.Errorf("it has left on the screen:\n%s", text)
	}
	if r := g.try("monit"); r.code != 2 || !strings.Contains(r.err, "gopm ls --json") {
		t.Errorf("not on a terminal: %+v", r)
	}
}

package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A real bash completes with the script: commands, apps, files, and nothing where
// no daemon runs.
func TestCompletionInBash(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.file("eco.json", `{"apps": [{"name": "web", "script": "./run", "min_uptime": "100ms"}, {"name": "worker", "script": "./run", "min_uptime": "100ms", "namespace": "jobs"}]}`)
	complete := func(words ...string) string {
		g.Helper()
		script := fmt.Sprintf("source <(gopm completion bash)\ncompopt() { echo \"compopt $*\"; }\nCOMP_WORDS=(%s)\nCOMP_CWORD=%d\n_gopm\nprintf '%%s\\n' \"${COMPREPLY[@]}\"",
			strings.Join(words, " "), len(words)-1)
		cmd := g.command()
		cmd.Path, cmd.Args = "/bin/bash", []string{"bash", "--norc", "-c", script}
		r := g.execute(cmd)
		if r.code != 0 || r.err != "" {
			t.Errorf("%v: %v", words, r)
		}
		return strings.Join(strings.Fields(r.out), " ")
	}
	if got := complete("gopm", "stop", "w"); got != "compopt -o default" {
		t.Errorf("without a daemon: %q", got)
	}
	g.run("start", "eco.json", "-s")
	config := filepath.Join(filepath.Dir(g.home), "u/.ssh/config")
	must(t, os.MkdirAll(filepath.Dir(config), 0o700))
	must(t, os.WriteFile(config, []byte("Host alpha *.example.com\n  Port 22\nhost = beta !gamma\n"), 0o600))
	for _, tt := range []struct{ call, want string }{
		{"gopm rel", "reload reloadLogs"},
		{"gopm stop w", "web worker"},
		{"gopm stop web wo", "worker"},
		{"gopm info j", "jobs"},
		{"gopm logs 1", "1"},
		{"gopm start e", "compopt -o default"},
		{"gopm start r", "compopt -o default"},
		{"gopm scale w", "web worker"},
		{"gopm scale web 1", ""},
		{"gopm sendSignal SIGU", "SIGUSR1 SIGUSR2"},
		{"gopm sendSignal SIGUSR2 we", "web"},
		{"gopm env web --sh", "--show --show-secrets"},
		{"gopm completion f", "fish"},
		{"gopm -H s", "ssh://alpha ssh://beta"},
		{"gopm -H ssh : //a", "//alpha"},
		{"gopm -H ssh :", "//alpha //beta"},
		{"gopm -H ssh : //alpha rel", "reload reloadLogs"},
	} {
		if got := complete(strings.Fields(tt.call)...); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.call, got, tt.want)
		}
	}
	if got := complete("gopm", "start", "''"); !strings.Contains(got, "web worker") || !strings.Contains(got, "eco.json") {
		t.Errorf("gopm start: %q, want apps and files", got)
	}
}

func TestCompletionScripts(t *testing.T) {
	g := newGopm(t)
	for shell, words := range map[string]string{"zsh": "#compdef gopm", "fish": "complete -c gopm", "install": "source <(gopm completion bash)"} {
		contains(t, shell, g.run("completion", shell), words)
	}
	contains(t, "no shell", g.run("completion"), ".bashrc")
	g.fail(2, []string{"bash, zsh or fish", `"tcsh"`}, "completion", "tcsh")
	if text := g.run("__complete", "stop", ""); strings.TrimSpace(text) != ":0" {
		t.Errorf("without a daemon: %q", text)
	}
	if _, err := os.Stat(g.home); err == nil {
		t.Error("completion made a home")
	}
}

// A list that is watched is drawn in place: what ends disappears.
func TestListWatch(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.run("start", "./run", "-s", "--min-uptime", "100ms", "-n", "one")
	g.run("start", "./run", "-s", "--min-uptime", "100ms", "-n", "two")
	s := &screen{g, filepath.Join(filepath.Dir(g.home), "tmuxw")}
	s.tmux("-f", os.DevNull, "new-session", "-d", "-x", "80", "-y", "24", "GOPM_HOME="+g.home+" gopm ls --watch")
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", s.socket, "kill-server").Run() })
	see := func(what string, ok func(string) bool) {
		g.Helper()
		eventually(t, soon, func() error {
			if text := s.capture(); !ok(text) {
				return fmt.Errorf("%s: the screen shows\n%s", what, text)
			}
			return nil
		})
	}
	see("both", func(s string) bool { return strings.Contains(s, "one") && strings.Contains(s, "two") })
	g.run("delete", "two", "-s")
	see("one", func(s string) bool {
		return strings.Contains(s, "one") && !strings.Contains(s, "two") && strings.Count(s, "┌") == 1
	})
	g.run("delete", "all", "-s")
	see("none", func(s string) bool { return strings.HasPrefix(s, "no apps (home ") && !strings.Contains(s, "┌") })
	s.tmux("send-keys", "C-c")
}

// A report says what matters of machine, daemon and apps, and no variable.
func TestReport(t *testing.T) {
	g := newGopm(t)
	contains(t, "without a daemon", g.run("report"), "gopm ", "v0.0.0-test", "kernel ", "home ", "daemon not running")
	g.sleeper("run")
	g.file("eco.json", `{"apps": [{"name": "web", "script": "./run", "args": "hunter1", "min_uptime": "100ms", "env": {"WORD": "hunter2"}}]}`)
	g.run("start", "eco.json", "-s")
	text := g.run("report")
	contains(t, "report", text, "daemon ", "up ", "rss ", "descriptors ", "keeper ", "open files ", "free", "│ web", "last lines of", "web:0 (id 0) online")
	lacks(t, "report", text, "hunter", "WORD")
	g.fail(2, []string{"no arguments"}, "report", "web")
}

// env prints what the kernel says the program was given, also under another user.
func TestEnvIsWhatTheProgramHas(t *testing.T) {
	g := newGopm(t)
	users := []string{""}
	if os.Geteuid() == 0 {
		users = append(users, `, "uid": "nobody"`)
	}
	for i, user := range users {
		name := fmt.Sprint("web", i)
		g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": %q, "script": "sleep", "args": "1000", "min_uptime": "100ms", "env": {"API_KEY": "k", "HTTP": "1"}%s}]}`, name, user))
		g.run("start", "eco.json", "-s")
		given, err := os.ReadFile(fmt.Sprintf("/proc/%s/environ", strings.TrimSpace(g.run("pid", name))))
		must(t, err)
		want := strings.Split(strings.TrimRight(string(given), "\x00"), "\x00")
		slices.SortFunc(want, func(a, b string) int { return strings.Compare(a[:strings.Index(a, "=")], b[:strings.Index(b, "=")]) })
		if got := g.run("env", name, "--show"); got != strings.Join(want, "\n")+"\n" {
			t.Errorf("%s: gopm env says\n%s\nbut it has\n%s", name, got, strings.Join(want, "\n"))
		}
	}
}

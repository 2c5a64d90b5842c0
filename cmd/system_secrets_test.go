package cmd_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecrets: a secret that is everywhere it may be is in nothing that gopm shows, nor in
// any file but those that have to keep it, which are for their owner alone.
func TestSecrets(t *testing.T) {
	g := newGopm(t)
	const sentinel = "zq7SENTINELx41"
	g.env = append(g.env, "SHELL_API_KEY="+sentinel)
	g.sleeper("run")
	g.file(".env", "FROM_FILE_TOKEN="+sentinel+"\n")
	g.script("fails", "exit 3")
	file := func(value string) string {
		return strings.ReplaceAll(`[
			{"name": "web", "script": "run", "args": ["--db-password", "SENT", "--url=postgres://me:SENT@h/db"], "min_uptime": 100, "ready": "uptime", "env_file": ".env",
			 "secrets": ["PLAIN"], "env": {"PLAIN": "SENT", "DB_PASS": "SENT", "DATABASE": "postgres://me:SENT@h/db"},
			 "pre_start": "true --token SENT", "post_start": "PASSWORD=SENT ./fails",
			 "health": {"exec": "PLAIN=SENT; echo it was SENT >&2; ./fails", "interval": "200ms", "retries": 1}},
			{"name": "asks", "script": "run", "min_uptime": 100, "ready": "uptime", "health": {"http": {"url": "http://me:SENT@127.0.0.1:1/?token=SENT", "headers": {"Authorization": "Bearer SENT"}}, "interval": "200ms", "retries": 1}},
			{"name": "told", "script": "run", "min_uptime": 100, "spares": 1, "exec_mode": "cluster", "ready": "uptime", "max_restarts": 1,
			 "standby": {"promote": {"exec": "./fails --secret SENT", "timeout": "1s"}, "demote": {"http": {"url": "http://127.0.0.1:1/", "headers": {"X": "SENT"}, "body": {"pw": "SENT"}}}}}]`, "SENT", value)
	}
	g.file("eco.json", file(sentinel))
	shown := map[string]string{}
	show := func(args ...string) {
		t.Helper()
		r := g.try(args...)
		shown["gopm "+strings.Join(args, " ")] += r.out + r.err
	}
	show("start", "eco.json")
	g.run("start", "run", "--name", "line", "--", "--api-token", sentinel)
	eventually(t, soon, func() error {
		if log := g.log(); !strings.Contains(log, "web:0 (id 0) unhealthy") || !strings.Contains(log, "asks:0 (id 1) unhealthy") || !strings.Contains(log, "told:0 (id 2)") {
			return fmt.Errorf("not all has failed yet")
		}
		return nil
	})
	for _, command := range []string{"ls", "ls -m", "jlist", "prettylist", "ls --json", "info all", "info all --json", "env all", "env all --json", "env web --origin",
		"events --nostream", "events --nostream --json", "report", "metrics", "healthcheck", "healthcheck --json", "doctor", "logs --nostream --lines 50", "save"} {
		show(strings.Fields(command)...)
	}
	other := strings.ReplaceAll(sentinel, "x41", "x42")
	g.file("eco.json", file(other))
	show("start", "eco.json")
	show("restart", "web", "--update-env")
	show("describe", "web")
	for command, text := range shown {
		if at := strings.Index(text, "SENTINEL"); at >= 0 {
			t.Errorf("%s shows it: …%s", command, text[max(0, at-200):min(len(text), at+20)])
		}
		if len(text) == 0 && command != "gopm healthcheck" {
			t.Errorf("%s shows nothing", command)
		}
	}
	for _, args := range [][]string{{"env", "web", "--show-secrets"}, {"env", "web", "--show"}, {"jlist", "--show-secrets"}, {"info", "web", "--json", "--show-secrets"}, {"info", "web", "--show-secrets"}} {
		contains(t, "gopm "+strings.Join(args, " "), g.run(args...), other)
	}

	for _, p := range belongingTo(g.home) {
		if strings.Contains(p.cmdline, "SENTINEL") && !strings.Contains(p.cmdline, "/run ") && !strings.Contains(p.cmdline, "sleep") && !strings.HasPrefix(p.cmdline, "/bin/sh -c") {
			t.Errorf("%v is seen by everybody", p)
		}
	}
	kept := 0
	must(t, filepath.WalkDir(g.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		info, gone := d.Info()
		if errors.Join(err, gone) != nil || !strings.Contains(string(text), "SENTINEL") {
			if errors.Is(errors.Join(err, gone), fs.ErrNotExist) { // what is being written has become what it is to be
				return nil
			}
			return errors.Join(err, gone)
		}
		name, _ := filepath.Rel(g.home, path)
		name = strings.TrimSuffix(name, ".next") // written just now
		switch {
		case info.Mode().Perm() != 0o600:
			t.Errorf("%s has it, and the mode %v", name, info.Mode())
		case name != "state.json" && name != "saved.json" && !strings.HasPrefix(name, "env/"):
			t.Errorf("%s has it", name)
		}
		kept++
		return nil
	}))
	if kept < 2 {
		t.Errorf("it is in %d files: then nothing would be started after a boot", kept)
	}
}

package cmd_test

import (
	"os"
	"strings"
	"testing"
)

// A call that makes no sense: exit code 2, words a person understands, and none of
// the library's.
func TestUsageErrors(t *testing.T) {
	g := newGopm(t)
	g.file("src/x", "")
	for _, tt := range []struct {
		args  string
		words []string
	}{
		{"ls extra", []string{"extra"}},
		{"jlist extra", []string{"extra"}},
		{"kill me", []string{"me"}},
		{"ping me", []string{"me"}},
		{"version 3", []string{"3"}},
		{"startOrRestart", []string{"startOrRestart", "file"}},
		{"startOrRestart a.json b.json", []string{"startOrRestart"}},
		{"logs --lines many", []string{"--lines", `"many"`}},
		{"start x.json --wait soon", []string{"--wait", `"soon"`}},
		{"frobnicate --help", []string{"command not found: frobnicate"}},
		{"frobnicate --force x", []string{"command not found: frobnicate"}},
		{"start run.sh --watch src", []string{"--watch=src"}},
		{"restart run --watch src", []string{"--watch=src"}},
		{"start --nosuch", []string{"--nosuch", "gopm start --help"}},
		{"-x", []string{"-x", "gopm --help"}},
	} {
		r := g.fail(2, tt.words, strings.Fields(tt.args)...)
		lacks(t, tt.args, r.err, "strconv", "invalid duration", "arg(s)", "gopm gopm", "unknown command", "Usage:")
	}
	r := g.fail(2, []string{"command not found"}, "")
	lacks(t, "an empty word", r.err, "did you mean")
}

func TestHelp(t *testing.T) {
	g := newGopm(t)
	for _, call := range []string{"", "--help", "help", "-h"} {
		contains(t, "gopm "+call, g.run(strings.Fields(call)...), "start", "restart", "logs", "Exit codes")
	}
	for _, command := range strings.Fields("start stop restart reload delete startOrRestart startOrReload ls jlist prettylist info env id pid logs flush reloadLogs report completion kill ping version") {
		r := g.try(command, "--help")
		if r.code != 0 || !strings.Contains(r.out, "gopm ") || r.err != "" {
			t.Errorf("%s --help: %v", command, r)
		}
		lacks(t, command, r.out, "keeper", "daemon HOME")
	}
}

// A disk that is full is a failure of what was to be written to it.
func TestOutputThatCannotBeWritten(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.run("start", "./run", "--min-uptime", "100ms")
	for _, command := range []string{"ls", "jlist", "info run", "logs --nostream", "ping", "version"} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		must(t, err)
		cmd := g.command(strings.Fields(command)...)
		var errOut strings.Builder
		cmd.Stdout, cmd.Stderr = full, &errOut
		_ = cmd.Run() // the exit code tells
		must(t, full.Close())
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(errOut.String(), "no space left") {
			t.Errorf("gopm %s > /dev/full: exit code %d, %q", command, code, errOut.String())
		}
	}
}

package cmd_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the results of the sessions into testdata")

// TestSessions replays each testdata/*.txt: files (`-- name --` and the content; a
// name that ends with * is executable), then `-- session --` with commands of
// bash after "$ ", each followed by what it answered: stdout, stderr after "! ",
// and the exit code as [code] if it is not 0.
func TestSessions(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txt")
	must(t, err)
	if len(paths) == 0 {
		t.Fatal("no testdata")
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			g := newGopm(t)
			text, err := os.ReadFile(path)
			must(t, err)
			files, session, found := strings.Cut(string(text), "-- session --\n")
			if !found {
				t.Fatal("it has no session")
			}
			g.unpack(files)
			got := g.replay(session)
			if got == session {
				return
			}
			if *update {
				must(t, os.WriteFile(path, []byte(files+"-- session --\n"+got), 0o644))
				return
			}
			differences(t, got, session)
		})
	}
}

// differences reports the commands that answered something else.
func differences(t *testing.T, got, want string) {
	t.Helper()
	answers, wanted := strings.SplitAfter("\n"+got, "\n$ "), strings.SplitAfter("\n"+want, "\n$ ")
	for i := range min(len(answers), len(wanted)) {
		if answers[i] != wanted[i] {
			t.Errorf("got:\n$ %s\nwant:\n$ %s", strings.TrimSuffix(answers[i], "$ "), strings.TrimSuffix(wanted[i], "$ "))
		}
	}
}

// unpack writes the files of a session.
func (g *gopm) unpack(files string) {
	g.Helper()
	for _, section := range strings.Split("\n"+files, "\n-- ")[1:] {
		title, body, _ := strings.Cut(section, " --\n")
		path := g.file(strings.TrimSuffix(title, "*"), body+"\n")
		if strings.HasSuffix(title, "*") {
			must(g.T, os.Chmod(path, 0o755))
		}
	}
}

// replay runs the commands of a session and writes it anew.
func (g *gopm) replay(session string) string {
	g.Helper()
	var out strings.Builder
	for line := range strings.Lines(session) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		if !isCommand {
			continue
		}
		out.WriteString(line)
		cmd := g.command()
		cmd.Path, cmd.Args = "/bin/bash", []string{"bash", "-c", strings.TrimSpace(command)}
		r := g.execute(cmd)
		out.WriteString(g.hide(r.out))
		for line := range strings.Lines(g.hide(r.err)) {
			out.WriteString(strings.TrimRight("! "+strings.TrimSuffix(line, "\n"), " ") + "\n")
		}
		if r.code != 0 {
			out.WriteString("[" + strconv.Itoa(r.code) + "]\n")
		}
	}
	return out.String()
}

// hide replaces what differs from run to run, and draws tables without a frame.
func (g *gopm) hide(text string) string {
	text = strings.NewReplacer(g.home, "$GOPM_HOME", g.dir, "$DIR").Replace(text)
	text = regexp.MustCompile(`\b(waiting|after|next try|in) ([\d.]+h)?([\d.]+m)?[\d.]+(ms|s|m|h)\b`).ReplaceAllString(text, "$1 TIME")
	text = regexp.MustCompile(`@gopm/[0-9a-f]+/`).ReplaceAllString(text, "@gopm/HOME/")
	var out strings.Builder
	var header []string
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "┌"), strings.HasPrefix(line, "├"), strings.HasPrefix(line, "└"):
			continue
		case strings.HasPrefix(line, "another gopm daemon runs: "): // of this machine's users, or of a test beside this
			continue
		case strings.HasPrefix(line, "│"):
			row := cells(strings.TrimSuffix(line, "\n"))
			if header == nil || len(row) > 0 && row[0] == "id" {
				header = slices.Clone(row)
			} else {
				hideRow(header, row)
			}
			line = strings.TrimRight(strings.Join(row, " | "), " ") + "\n"
		}
		out.WriteString(line)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		out.WriteString("(no newline)\n")
	}
	return out.String()
}

func hideRow(header, row []string) {
	for i, title := range header {
		switch {
		case i >= len(row):
		case title == "pid" && row[i] != "N/A":
			row[i] = "PID"
		case title == "uptime", title == "cpu", title == "mem", title == "user":
			row[i] = "…"
		}
	}
}

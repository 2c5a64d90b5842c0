package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReadme runs the commands of the README's console blocks, each block where
// the comment before it says, and compares what they print. Numbers, and the
// widths that follow from them, may differ; a line "…" stands for any lines.
func TestReadme(t *testing.T) {
	g := newGopm(t).withConsul()
	beside := *g
	beside.dir = filepath.Dir(g.home) // where all examples are copied to: node looks there, too
	beside.modules("slides")
	g.showsAs("README.md", 5)
}

// TestLifecycle is that for docs/lifecycle.md; there a block without such a comment only
// shows how it looks.
func TestLifecycle(t *testing.T) {
	newGopm(t).showsAs("docs/lifecycle.md", 2)
}

// showsAs runs the console blocks of a page, at least as many.
func (g *gopm) showsAs(page string, least int) {
	t := g.T
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	must(t, err)
	blocks := slices.DeleteFunc(readmeBlocks(string(text)), func(b readmeBlock) bool { return b.folder == "" })
	if len(blocks) < least {
		t.Fatalf("%d console blocks in %s, want more", len(blocks), page)
	}
	for _, b := range blocks {
		dir := filepath.Join(filepath.Dir(g.home), filepath.Base(b.folder))
		if _, err := os.Stat(dir); err != nil {
			must(t, os.CopyFS(dir, os.DirFS(filepath.Join("..", b.folder))))
			must(t, exec.Command("chmod", "-R", "u+w", dir).Run())
			restoreModes(t, filepath.Join("..", b.folder), dir)
		}
		for _, step := range b.steps {
			if app, is := strings.CutPrefix(step.command, "gopm reload "); is {
				g.listens(app)
			}
			cmd := exec.Command("bash", "-c", step.command)
			cmd.Dir = dir
			cmd.Env = g.command().Env
			r, err := g.finish(cmd)
			must(t, err)
			got := g.readable(r.out + r.err)
			if !matchLines(normalLines(step.output), normalLines(got)) {
				t.Errorf("$ %s\nprints:\n%s\nbut %s says:\n%s", step.command, got, page, step.output)
			}
		}
	}
}

// listens waits until all instances of a clustered app do. start waits for no port unless
// it is told to, and what a reload finds without one has no connections: nothing is
// drained there, and nothing said of it. A reader of a page types more slowly than that.
func (g *gopm) listens(app string) {
	g.Helper()
	eventually(g.T, 3*soon, func() error {
		if out := g.run("info", app); strings.Contains(out, "it listens on none") {
			return fmt.Errorf("%s does not listen:\n%s", app, out)
		}
		return nil
	})
}

// readable puts the README's words in the place of this test's folders and user.
func (g *gopm) readable(s string) string {
	base := filepath.Dir(g.home)
	s = strings.ReplaceAll(s, g.home, "~/.gopm")
	s = strings.ReplaceAll(s, "~/"+filepath.Base(g.home), "~/.gopm")
	s = strings.ReplaceAll(s, base+"/", "~/")
	if u, err := user.Current(); err == nil {
		s = strings.ReplaceAll(s, "│ "+u.Username+" ", "│ root ")
	}
	return readmeOthers.ReplaceAllString(s, "")
}

func restoreModes(t *testing.T, from, to string) {
	entries, err := os.ReadDir(from)
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		must(t, os.Chmod(filepath.Join(to, e.Name()), info.Mode().Perm()|0o600))
	}
}

type readmeBlock struct {
	folder string
	steps  []readmeStep
}

type readmeStep struct{ command, output string }

// readmeBlocks finds the console blocks and cuts them at their prompts.
func readmeBlocks(text string) []readmeBlock {
	var blocks []readmeBlock
	folder, inside := "", false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "<!-- tested in "):
			folder = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "<!-- tested in "), " -->")
		case strings.HasPrefix(line, "<!-- not tested -->"):
			folder = ""
		case strings.HasPrefix(line, "```console"):
			blocks, inside = append(blocks, readmeBlock{folder: folder}), true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && strings.HasPrefix(line, "$ "):
			b := &blocks[len(blocks)-1]
			b.steps = append(b.steps, readmeStep{command: strings.TrimSpace(line[2:])})
		case inside:
			steps := blocks[len(blocks)-1].steps
			steps[len(steps)-1].output += line
		}
	}
	return blocks
}

var (
	readmeOthers  = regexp.MustCompile(`(?m)^another gopm daemon runs: .*\n`) // of whoever else tests on this machine
	readmeNumbers = regexp.MustCompile(`~?\d+(\.\d+)?`)
	readmeRules   = regexp.MustCompile(`─+`)
	readmeBlanks  = regexp.MustCompile(` +`)
)

func normalLines(text string) []string {
	text = readmeNumbers.ReplaceAllString(text, "0")
	text = readmeRules.ReplaceAllString(text, "─")
	text = readmeBlanks.ReplaceAllString(text, " ")
	return strings.Split(strings.TrimSpace(text), "\n")
}

// matchLines compares line by line; "…" matches any number of lines.
func matchLines(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case want[0] == "…":
		for i := range len(got) + 1 {
			if matchLines(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && want[0] == got[0] && matchLines(want[1:], got[1:])
}

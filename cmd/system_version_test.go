package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// otherVersion is the same program by another name, built once.
var otherVersion = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(toolbox, "other", "gopm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X gopm/cmd.version=v0.0.9-other", "-o", binary, "gopm/cmd/gopm")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	_, err := cmd.CombinedOutput()
	return binary, err
})

// A command of another version than the daemon works, and says so once, on stderr.
func TestCommandOfAnotherVersion(t *testing.T) {
	g := newGopm(t)
	other, err := otherVersion()
	must(t, err)
	g.eco("eco.json", `"name": "a"`)
	g.run("start", "eco.json")
	ours := g.binary
	g.binary = other
	defer func() { g.binary = ours }()
	const note = "note: the daemon is gopm v0.0.0-test, this command is v0.0.9-other: gopm update\n"
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}, {"restart", "a"}, {"start", "eco.json"}, {"scale", "a", "2"}, {"info", "a"}} {
		r := g.try(args...)
		if r.code != 0 || strings.Count(r.err, note) != 1 {
			t.Errorf("%v: want the note once, got %v", args, r)
		}
		lacks(t, "stdout", r.out, "note:")
	}
	if r := g.try("ls", "-s"); r.err != "" || r.code != 0 {
		t.Errorf("-s: %v", r)
	}
}

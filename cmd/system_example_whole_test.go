package cmd_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The examples that are whole systems, with the parts that these have in production. The
// tests start the very folder that a reader starts, only on ports of their own.

// whole copies such an example into the working folder, with its npm modules, and has
// it use a free port in the place of each of these.
func (g *gopm) whole(name string, ports ...int) (free map[int]int) {
	g.Helper()
	g.example(name)
	g.modules(name)
	free = map[int]int{}
	var pairs []string
	for _, port := range ports {
		free[port] = freePort(g.T)
		pairs = append(pairs, strconv.Itoa(port), strconv.Itoa(free[port]))
	}
	found := map[string]bool{}
	must(g.T, filepath.WalkDir(g.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, port := range ports {
			found[strconv.Itoa(port)] = found[strconv.Itoa(port)] || bytes.Contains(text, []byte(strconv.Itoa(port)))
		}
		return os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o755)
	}))
	for _, port := range ports {
		if !found[strconv.Itoa(port)] {
			g.Errorf("examples/%s names no port %d", name, port)
		}
	}
	return free
}

// modules puts what the example's package.json asks for where `npm install` would, from
// the parts that tools/parts has installed.
func (g *gopm) modules(name string) {
	g.Helper()
	text, err := os.ReadFile(filepath.Join("..", "examples", name, "package.json"))
	if os.IsNotExist(err) {
		return
	}
	must(g.T, err)
	part := filepath.Join(g.parts(), fmt.Sprintf("modules-%s-%x", name, sha256.Sum256(text))[:len("modules-")+len(name)+1+12])
	if _, err := os.Stat(part); err != nil {
		g.Fatalf("%v; tools/parts test installs it", err)
	}
	must(g.T, os.Symlink(filepath.Join(part, "node_modules"), filepath.Join(g.dir, "node_modules")))
}

// figure prints a line of an example's README anew, with what was measured now. The README
// must have that line, with whatever numbers.
func (g *gopm) figure(example, format string, args ...any) {
	g.Helper()
	line := fmt.Sprintf(format, args...)
	g.Logf("figure: %s: %s", example, line)
	readme, err := os.ReadFile(filepath.Join("..", "examples", example, "README.md"))
	must(g.T, err)
	if !slices.ContainsFunc(normalLines(string(readme)), func(l string) bool {
		return strings.TrimSpace(l) == strings.TrimSpace(normalLines(line)[0])
	}) {
		g.Errorf("examples/%s/README.md has no line such as: %s", example, line)
	}
}

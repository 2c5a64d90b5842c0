package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// goPackage is what `go list -json` says of a package, as far as it matters here.
type goPackage struct {
	ImportPath   string
	Dir          string
	Standard     bool
	Module       struct{ Path, Dir string }
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// name is the package's path inside the module: "daemon/keeper".
func (p goPackage) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/")
}

// source is one parsed file.
type source struct {
	pkg   goPackage
	name  string // of the file, from the module's root
	test  bool
	lines int
	set   *token.FileSet
	file  *ast.File
}

// at is a place in the form that editors jump to.
func (s source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.name, s.set.Position(pos).Line)
}

// height is how many lines a piece of source takes.
func (s source) height(n ast.Node) int {
	return s.set.Position(n.End()).Line - s.set.Position(n.Pos()).Line + 1
}

// list asks the go command for the packages of the module that dir is in.
func list(ctx context.Context, dir string) ([]goPackage, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-json=ImportPath,Dir,Standard,Module,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = dir
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot list packages: %w: %s", err, strings.TrimSpace(problems.String()))
	}
	return decode(bytes.NewReader(out))
}

// decode reads go list's output, one JSON object after the other.
func decode(r io.Reader) ([]goPackage, error) {
	var packages []goPackage
	for in := json.NewDecoder(r); ; {
		var p goPackage
		err := in.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read go list's output: %w", err)
		}
		packages = append(packages, p)
	}
}

// parse reads the files of the packages.
func parse(packages []goPackage) ([]source, error) {
	var sources []source
	for _, p := range packages {
		tests := append(append([]string{}, p.TestGoFiles...), p.XTestGoFiles...)
		for i, file := range append(append([]string{}, p.GoFiles...), tests...) {
			text, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				return nil, err
			}
			s, err := parseFile(p, file, text)
			if err != nil {
				return nil, err
			}
			s.test = i >= len(p.GoFiles)
			sources = append(sources, s)
		}
	}
	return sources, nil
}

func parseFile(p goPackage, name string, text []byte) (source, error) {
	s := source{pkg: p, name: filepath.Join(p.name(), name), lines: bytes.Count(text, []byte("\n")), set: token.NewFileSet()}
	var err error
	s.file, err = parser.ParseFile(s.set, s.name, text, parser.SkipObjectResolution)
	return s, err
}

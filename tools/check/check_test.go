package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestLayout holds the module itself to the table of packages.
func TestLayout(t *testing.T) {
	t.Parallel()
	packages, err := list(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 3 {
		t.Fatalf("only %d packages found", len(packages))
	}
	sources, err := parse(packages)
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range append(misplaced(packages), imports(sources)...) {
		t.Error(finding)
	}
}

// file is a source of the package named, as if it were in the module.
func file(t *testing.T, pkg, name, text string) source {
	t.Helper()
	p := goPackage{ImportPath: "gopm/" + pkg}
	p.Module.Path = "gopm"
	s, err := parseFile(p, name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s.test = strings.HasSuffix(name, "_test.go")
	return s
}

func TestImports(t *testing.T) {
	t.Parallel()
	tests := []struct{ pkg, file, path, want string }{
		{"cmd", "ls.go", "gopm/daemon/api", ""},
		{"cmd", "ls.go", "gopm/daemon", "only cmd/hidden.go may import daemon"},
		{"cmd", "ls.go", "gopm/daemon/supervise", "cmd may not import daemon/supervise"},
		{"cmd", "hidden.go", "gopm/daemon/keeper", ""},
		{"cmd", "ls_test.go", "gopm/daemon", ""},
		{"logs", "pump.go", "gopm/ecosystem", "logs may not import ecosystem"},
		{"daemon", "table.go", "gopm/cmd", "daemon may not import cmd"},
		{"daemon", "table.go", "net/http", ""},
		{"daemon", "table.go", "golang.org/x/sys/unix", ""},
		{"daemon", "table.go", "github.com/spf13/cobra", "only cmd may import github.com/spf13/cobra"},
		{"cmd", "ls.go", "github.com/olekukonko/tablewriter/tw", ""},
		{"daemon", "sampler.go", "github.com/shirou/gopsutil/v3/process", ""},
		{"ecosystem", "yaml.go", "go.yaml.in/yaml/v3", ""},
		{"ecosystem", "yaml.go", "github.com/new/thing", "library github.com/new/thing has no importer"},
		{"examples/hello", "main.go", "gopm/logs", "examples/hello may not import logs"},
	}
	for _, test := range tests {
		s := file(t, test.pkg, test.file, fmt.Sprintf("package x\n\nimport _ %q\n", test.path))
		got := imports([]source{s})
		if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.file+":3: "+test.want)) {
			t.Errorf("%s imports %s: %q, want %q", s.name, test.path, got, test.want)
		}
	}
}

func TestMisplaced(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{"cmd": 0, "examples/hello": 0, "tools/check": 0, "daemon/utils": 2, "web": 1, "internal/x": 2} {
		p := goPackage{ImportPath: "gopm/" + path}
		p.Module.Path = "gopm"
		if got := misplaced([]goPackage{p}); len(got) != want {
			t.Errorf("%s: %q, want %d findings", path, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	fields := func(n int) string { return strings.Repeat("a, b int\n", n/2) + strings.Repeat("c int\n", n%2) }
	body := func(lines int) string { return strings.Repeat("_ = 1\n", lines-2) }
	tests := map[string]struct {
		text string
		want string
	}{
		"struct of 15":      {"type t struct {\n" + fields(15) + "}", ""},
		"struct of 16":      {"type t struct {\n" + fields(16) + "}", "x.go:2: struct t: 16 fields, at most 15"},
		"interface of 5":    {"type t interface { a(); b(); c(); d(); error }", ""},
		"interface of 6":    {"type t interface { a(); b(); c(); d(); e(); error }", "interface t: 6 methods, at most 5"},
		"5 parameters":      {"func f(a, b, c int, d string, e bool) {}", ""},
		"6 parameters":      {"func f(a, b, c, d int, e, g bool) {}", "function f: 6 parameters, at most 5"},
		"function of 60":    {"func f() {\n" + body(60) + "}", ""},
		"function of 61":    {"func f() {\n" + body(61) + "}", "function f: 61 lines, at most 60"},
		"file of 500 lines": {strings.Repeat("\n", 499), ""},
		"file of 501 lines": {strings.Repeat("\n", 500), "x.go: 501 lines, at most 500"},
	}
	for name, test := range tests {
		got := strings.Join(sizes([]source{file(t, "logs", "x.go", "package x\n"+test.text)}), "\n")
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if got := sizes([]source{file(t, "logs", "x_test.go", "package x\nfunc f() {\n"+body(100)+"}")}); len(got) > 0 {
		t.Errorf("a long test: %q", got)
	}
}

func TestSleepsAndInits(t *testing.T) {
	t.Parallel()
	text := "package x\nimport \"time\"\nfunc init() {}\nfunc f() { time.Sleep(1) }\ntype t int\nfunc (t) init() {}\n"
	code, test := file(t, "logs", "x.go", text), file(t, "logs", "x_test.go", text)
	if got := sleeps([]source{code, test}); len(got) != 1 || !strings.HasPrefix(got[0], "logs/x_test.go:4: ") {
		t.Errorf("sleeps: %q", got)
	}
	if got := inits([]source{code}); len(got) != 1 || !strings.HasPrefix(got[0], "logs/x.go:3: ") {
		t.Errorf("inits: %q", got)
	}
}

func TestCountLines(t *testing.T) {
	t.Parallel()
	sources := []source{
		file(t, "logs", "a.go", "package x\n\n"), file(t, "logs", "b.go", "package x\n"), file(t, "logs", "a_test.go", "package x\n"),
	}
	want := map[string]lineCount{"logs": {files: 2, lines: 3, tests: 1}}
	if got := countLines(sources); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestParseTrace(t *testing.T) {
	t.Parallel()
	text := "init internal/godebug @0.11 ms, 0.022 ms clock, 616 bytes 9 allocs\n" +
		"gopm 1.0\ninit\ninit x @1 ms, broken\ninit github.com/x/y @1.1 ms, 2 ms clock, 204800 bytes 3 allocs\n"
	want := []initCost{{"internal/godebug", 0.022, 616}, {"github.com/x/y", 2, 204800}}
	if got := parseTrace(strings.NewReader(text)); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var out strings.Builder
	printCosts(&out, want)
	if got := out.String(); strings.Contains(got, "dear: internal") || !strings.Contains(got, "dear: github.com/x/y: 2.00 ms, 200 KB") {
		t.Errorf("%s", got)
	}
}

package ecosystem

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// FuzzRead: whatever the bytes, reading ends, does not panic, and speaks of
// places that are in the file.
func FuzzRead(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.txt")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		text, _, _ = cutSections(string(text))
		f.Add(text, strings.Contains(path, "yaml"))
	}
	for _, s := range []string{"a: &a [*a]", "<<: *x", "a: !!binary x", "- <<: [{script: x}]", "{\"a\":[1,]}", "/*", "\"\\ud800\"", "? [a]", "apps:\n - *a\n", "%YAML 1.1\n---\n", "a: 0x1_0", "[{\"script\": \"'\"}]"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, isYAML bool) {
		r := &reader{name: "f", dir: "/nowhere", world: newWorld(Options{Dir: "/", CPUs: 2})}
		var root *node
		if isYAML {
			root = r.yaml(data)
		} else {
			root = r.json(data)
		}
		if root == nil && !r.problems.failed() {
			t.Fatal("nothing was read, and no error says why")
		}
		_, _ = r.file(root, "f")
		l := newLines(data)
		for _, p := range r.problems {
			if p.Line < 1 || p.Line > len(l.starts) || p.Col < 1 || p.Col > len(l.line(p.Line))+2 {
				t.Errorf("%d:%d is not in the file: %s", p.Line, p.Col, p)
			}
			if p.Text == "" || strings.ContainsAny(p.Text, "\x00\x1b") {
				t.Errorf("text %q", p.Text)
			}
		}
	})
}

// cutSections is the content of the first file of a golden test.
func cutSections(text string) (first []byte, rest string, found bool) {
	_, text, _ = strings.Cut(text, " --\n")
	content, rest, found := strings.Cut(text, "\n-- ")
	return []byte(content), rest, found
}

// FuzzWords: what is split and joined again splits the same.
func FuzzWords(f *testing.F) {
	f.Add(`a "b c" 'd'`)
	f.Fuzz(func(t *testing.T, s string) {
		words, err := splitWords(s)
		if err != nil {
			return
		}
		again, err := splitWords(joinWords(words))
		if err != nil || fmt.Sprintf("%q", again) != fmt.Sprintf("%q", words) {
			t.Errorf("%q: %q, then %q, %v", s, words, again, err)
		}
	})
}

// FuzzSocket: what is taken as a socket says fully what to listen on, and reads the
// same when it is written that way.
func FuzzSocket(f *testing.F) {
	for _, s := range []string{":3000", "3000", "tcp://0.0.0.0:3000", "tcp6://:80", "tcp://[fe80::1%eth0]:80", "tcp4://[::ffff:1.2.3.4]:1", "unix:x", "unix:///x", "unix:@x", "/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseSocket(textNode(s))
		if err != nil {
			return
		}
		if l.Network == "unix" {
			if l.Address == "" || strings.ContainsRune(l.Address, 0) {
				t.Errorf("%q: path %q", s, l.Address)
			}
			return
		}
		_, port, err := net.SplitHostPort(l.Address)
		if n, numberErr := strconv.Atoi(port); err != nil || numberErr != nil || n < 1 || n > maxPort {
			t.Errorf("%q: address %q", s, l.Address)
		}
		if again, err := parseSocket(textNode(l.Network + "://" + l.Address)); err != nil || again != l {
			t.Errorf("%q: %v, then %v, %v", s, l, again, err)
		}
	})
}

// FuzzDotenv: whatever the bytes, parsing ends with variables or a located error.
func FuzzDotenv(f *testing.F) {
	f.Add([]byte("export A=\"x\ny\" # z\nB='c'\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		vars, err := parseDotenv(data)
		if err != nil {
			var line, col int
			if _, scanErr := fmt.Sscanf(err.Error(), "%d:%d:", &line, &col); scanErr != nil || line < 1 || col < 1 {
				t.Errorf("error without a place: %v", err)
			}
		}
		for name, v := range vars {
			if err := checkVar(name, v.value); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzProcfile: whatever the bytes, reading ends with apps or located errors.
func FuzzProcfile(f *testing.F) {
	f.Add([]byte("web: node app.js --port $PORT\n# comment\nworker: ./tool\r\n"))
	f.Add([]byte("a:b:c\n:\n\x00: x\nall: y\n1: z"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &reader{name: "Procfile", dir: "/nowhere", world: newWorld(Options{Dir: "/", CPUs: 2})}
		root := r.procfile(data, "", 5000)
		if (root == nil) != r.problems.failed() {
			t.Fatalf("%v, problems %v", root, r.problems)
		}
		_, _ = r.file(root, "/nowhere/Procfile")
		l := newLines(data)
		for _, p := range r.problems {
			if p.Line < 1 || p.Line > len(l.starts) || p.Col < 1 || strings.ContainsAny(p.Text, "\x00\x1b") {
				t.Errorf("%d:%d %q", p.Line, p.Col, p.Text)
			}
		}
	})
}

// BenchmarkRead reads a file of 100 apps.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	var apps []string
	for i := range 100 {
		apps = append(apps, fmt.Sprintf(`{"name": "app%d", "script": "app", "args": "--port %d", "instances": 2, "exec_mode": "fork",
			"max_memory_restart": "200M", "env": {"A": "1", "B": 2}, "env_production": {"A": "2"}, "kill_timeout": "3s"}`, i, i))
	}
	for name, text := range map[string]string{"app": "#!/bin/sh\n", "e.json": `{"apps": [` + strings.Join(apps, ",\n") + "]}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	o := Options{Dir: dir, CPUs: 2, Environ: os.Environ()}
	for b.Loop() {
		f, err := Read(b.Context(), "e.json", o)
		if err != nil {
			b.Fatal(err)
		}
		if apps, _, err := f.Select("production", nil); err != nil || len(apps) != 100 {
			b.Fatal(len(apps), err)
		}
	}
}

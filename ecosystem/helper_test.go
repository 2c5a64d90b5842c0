package ecosystem

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// project is a folder with a script of each kind, and a PATH with programs that
// only exist: nothing in most tests is ever run.
type project struct {
	t   *testing.T
	dir string
	bin string
}

func newProject(t *testing.T) *project {
	t.Helper()
	root := t.TempDir()
	p := &project{t: t, dir: filepath.Join(root, "app"), bin: filepath.Join(root, "bin")}
	for _, name := range []string{"node", "python3", "bash", "ruby", "npm", "serve"} {
		p.program("../bin/"+name, "#!/bin/sh\n")
	}
	p.file("app.js", "console.log('app')\n")
	p.file("api.js", "console.log('api')\n")
	p.file("server.py", "print('x')\n")
	p.file("run.sh", "echo x\n")
	p.program("tool", "#!/bin/sh\necho x\n")
	p.program("binary", "\x7fELF\x02\x01\x01\x00\x00")
	p.file("notes", "just text\n")
	p.file("package.json", `{"name": "demo", "version": "1.2.3"}`)
	p.file("sub/worker.js", "1\n")
	return p
}

// file writes a file below the project's folder and returns its path.
func (p *project) file(name, content string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	must(p.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(p.t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

func (p *project) program(name, content string) string {
	p.t.Helper()
	path := p.file(name, content)
	must(p.t, os.Chmod(path, 0o755))
	return path
}

func (p *project) options() Options {
	return Options{
		Environ: []string{"PATH=" + p.bin, "HOME=" + p.dir + "/home"},
		Dir:     p.dir,
		CPUs:    4,
	}
}

// read reads content as a file of that name.
func (p *project) read(name, content string) (*File, error) {
	p.t.Helper()
	p.file(name, content)
	return Read(p.t.Context(), name, p.options())
}

// app reads the fields of one app and selects env_<env>.
func (p *project) app(fields, env string) App {
	p.t.Helper()
	f, err := p.read("eco.json", `{"apps": [{"script": "app.js", `+fields+`}]}`)
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	apps, _, err := f.Select(env, nil)
	if err != nil {
		p.t.Fatalf("select: %v", err)
	}
	return apps[0]
}

// hide replaces the test's folders by names.
func (p *project) hide(text string) string {
	return strings.NewReplacer(p.dir, "$DIR", p.bin, "$BIN").Replace(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mentions fails unless err's text has all parts.
func mentions(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q:\n%v", part, err)
		}
	}
}

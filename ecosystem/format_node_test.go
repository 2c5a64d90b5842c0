package ecosystem

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// withNode is a project whose PATH has the machine's node.
func withNode(t *testing.T) (*project, Options) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("needs node")
	}
	p := newProject(t)
	o := p.options()
	o.Environ = os.Environ()
	return p, o
}

func TestModules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, text string }{
		{"commonjs", "e.config.js", "module.exports = {apps: [{name: 'web', script: 'app.js', env: {A: process.env.HOME && 1, GONE: undefined}}]}"},
		{"exports", "e.config.cjs", "exports.apps = [{name: 'web', script: 'app.js', env: {A: 1}}]"},
		{"es module", "e.config.mjs", "export default {apps: [{name: 'web', script: 'app.js', env: {A: 1}}]}"},
		{"es module, names", "e.config.mjs", "export const apps = [{name: 'web', script: 'app.js', env: {A: 1}}]"},
		{"list", "e.config.js", "module.exports = [{name: 'web', script: 'app.js', env: {A: 1}}]"},
		{"transpiled", "e.config.js", "exports.__esModule = true; exports.default = [{name: 'web', script: 'app.js', env: {A: 1}}]"},
		{"promise", "e.config.js", "module.exports = Promise.resolve([{name: 'web', script: 'app.js', env: {A: 1}}])"},
		{"noisy", "e.config.js", "console.log('{'); console.error('x'); process.stdout.write('}'); module.exports = [{name: 'web', script: 'app.js', env: {A: 1}}]"},
		{"unfinished", "e.config.js", "setInterval(() => {}, 1000); module.exports = [{name: 'web', script: 'app.js', env: {A: 1}}]"},
		{"folder", "e.config.js", "const fs = require('fs'); module.exports = [{name: 'web', script: fs.existsSync('app.js') && require('path').join(__dirname, 'app.js'), env: {A: 1}}]"},
		{"other file", "e.config.js", "module.exports = require('./parts/apps')"},
		{"large", "e.config.js", "module.exports = [{name: 'web', script: 'app.js', env: {A: 1}, 'x-pad': 'x'.repeat(300000)}]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, o := withNode(t)
			p.file("parts/apps.js", "module.exports = [{name: 'web', script: 'app.js', env: {A: 1}}]")
			p.file(c.file, c.text)
			f, err := Read(t.Context(), c.file, o)
			must(t, err)
			apps, _, err := f.Select("", nil)
			must(t, err)
			a := apps[0]
			if len(apps) != 1 || a.Name != "web" || a.Command.Script != p.dir+"/app.js" || len(a.Env.Vars) != 1 || a.Env.Vars["A"] != "1" {
				t.Errorf("apps = %+v", apps)
			}
		})
	}
}

func TestModuleMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, text, want string }{
		{"field", "e.config.js", "module.exports = [{script: 'app.js', instnces: 1}]", `e.config.js: [0].instnces: unknown field, did you mean "instances"?`},
		{"syntax", "e.config.js", "module.exports = {\n  apps: [}\n", `e.config.js:2:1: SyntaxError: Unexpected token '}'`},
		{"throws", "e.config.js", "\nthrow new Error('no luck')", `e.config.js:2:7: Error: no luck`},
		{"throws late", "e.config.js", "setTimeout(() => { throw new Error('late') }); module.exports = new Promise(() => {})", `Error: late`},
		{"missing module", "e.config.js", "require('./nope')", `e.config.js:1:1: Error: Cannot find module './nope'`},
		{"es syntax", "e.config.cjs", "export default {}", `SyntaxError`},
		{"nothing", "e.config.js", "module.exports = () => 1", `e.config.js: it exports nothing usable (function)`},
		{"circle", "e.config.js", "const a = {}; a.a = a; module.exports = a", `TypeError: Converting circular structure`},
		{"exits", "e.config.js", "process.exit(0)", `cannot read e.config.js: node ended before the file had exported anything`},
		{"fails", "e.config.js", "console.error('sorry'); process.exit(3)", `cannot read e.config.js: node failed (exit status 3): sorry`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, o := withNode(t)
			p.file(c.file, c.text)
			_, err := Read(t.Context(), c.file, o)
			mentions(t, err, c.want)
			if err != nil && strings.Contains(err.Error(), "node:internal") {
				t.Errorf("shows node's internals: %v", err)
			}
		})
	}
}

// TestModuleEndsWithContext: the file's own children end too.
func TestModuleEndsWithContext(t *testing.T) {
	t.Parallel()
	p, o := withNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	fifo := filepath.Join(p.dir, "started")
	p.file("e.config.js", "require('child_process').spawn('sleep', ['1000'], {stdio: 'inherit'}); require('fs').writeFileSync('started', ''); module.exports = new Promise(() => setInterval(() => {}, 1000))")
	done := make(chan error, 1)
	go func() { // ends with Read, is waited for below
		_, err := Read(ctx, "e.config.js", o)
		done <- err
	}()
	waitFor(t, func() bool { _, err := os.Stat(fifo); return err == nil })
	cancel()
	select {
	case err := <-done:
		mentions(t, err, "node was still evaluating it: context canceled")
	case <-time.After(10 * time.Second):
		t.Fatal("Read did not end with its context")
	}
}

func TestNoNode(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	must(t, os.Remove(p.bin+"/node"))
	_, err := p.read("e.config.js", "module.exports = []")
	mentions(t, err, "cannot read e.config.js: it is JavaScript and needs node, which is not on PATH")
}

// TestGeneratedFile: a file with the fields that `pm2 init` writes, and the
// scripts it speaks of, is taken without an error.
func TestGeneratedFile(t *testing.T) {
	t.Parallel()
	p, o := withNode(t)
	p.file("index.js", "1")
	p.file("service-worker/index.js", "1")
	p.file("ecosystem.config.js", `module.exports = {
  apps: [
    { script: 'index.js', watch: '.' },
    { script: './service-worker/', watch: ['./service-worker'] }
  ],
  deploy: {
    production: {
      user: 'SSH_USERNAME', host: 'SSH_HOSTMACHINE', ref: 'origin/master', repo: 'GIT_REPOSITORY',
      path: 'DESTINATION_PATH', 'pre-deploy-local': '',
      'post-deploy': 'npm install && pm2 reload ecosystem.config.js --env production', 'pre-setup': ''
    }
  }
};
`)
	f, err := Read(t.Context(), "ecosystem.config.js", o)
	must(t, err)
	if len(f.Problems) != 0 {
		t.Errorf("problems = %v", f.Problems)
	}
	apps, _, err := f.Select("", nil)
	must(t, err)
	if len(apps) != 2 || apps[0].Name != "index" || apps[1].Name != "service-worker" || apps[1].Command.Script != p.dir+"/service-worker" ||
		!slices.Equal(apps[0].Watch.Paths, []string{p.dir}) || !slices.Equal(apps[1].Watch.Paths, []string{p.dir + "/service-worker"}) {
		t.Errorf("apps = %+v", apps)
	}
}

// waitFor waits for a fact.
func waitFor(t *testing.T, fact func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-deadline:
			t.Fatal("waited in vain")
		case <-tick.C:
		}
	}
}

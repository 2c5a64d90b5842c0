package cmd_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pm2 is a real pm2 with a home of its own.
type pm2 struct {
	*gopm
	binary string
	env    []string
}

func newPM2(g *gopm) *pm2 {
	g.Helper()
	found, _ := filepath.Glob(filepath.Join(g.parts(), "pm2-*", "node_modules", ".bin", "pm2"))
	if len(found) == 0 {
		g.Skip("no pm2 in the parts: tools/parts test fetches it")
	}
	home := filepath.Join(filepath.Dir(g.home), "p")
	p := &pm2{gopm: g, binary: found[0], env: append(g.env[:len(g.env):len(g.env)], "PM2_HOME="+home, "FROM_SHELL=1")}
	g.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(home, "rpc.sock")); err == nil {
			p.pm2("kill")
		}
	})
	return p
}

func (p *pm2) pm2(args ...string) string {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	out, err := cmd.Output()
	if err != nil {
		p.Errorf("pm2 %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestImportRunningPM2 takes the apps of a real pm2 over: from the running one,
// then from its dump, and starts them.
func TestImportRunningPM2(t *testing.T) {
	g := newGopm(t)
	p := newPM2(g)
	g.file("web.js", "console.log('port', process.env.PORT, 'mode', process.env.MODE); setInterval(() => {}, 1000)\n")
	g.file("pm2.config.js", `module.exports = {apps: [
		{name: 'web', script: 'web.js', args: ['--x', 'a b'], env: {PORT: 1234, TOKEN: 's3cr3t'}, env_production: {MODE: 'live'}, max_memory_restart: '300M', kill_timeout: 2000},
		{name: 'line', script: 'sleep 1000', autorestart: false},
	]}`)
	p.pm2("start", "pm2.config.js")
	p.pm2("save")

	asks := func(args ...string) result {
		cmd := g.command(append([]string{"import", "pm2"}, args...)...)
		cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(p.binary)+":"+os.Getenv("PATH"), "PM2_HOME="+filepath.Join(filepath.Dir(g.home), "p"), "FROM_SHELL=1")
		return g.execute(cmd)
	}
	r := asks()
	contains(t, "stdout", r.out, "ecosystem.json: web, line", "gopm start ecosystem.json", "rotates at 10M")
	if r.code != 0 || r.err != "" || strings.Contains(r.out, "s3cr3t") || strings.Contains(r.out, "does not run") {
		t.Errorf("import: %v", r)
	}
	path := filepath.Join(g.dir, "ecosystem.json")
	text, err := os.ReadFile(path)
	must(t, err)
	want := `// Made from pm2's list by: gopm import pm2
{
  "apps": [
    {
      "name": "web",
      "script": "web.js",
      "args": ["--x", "a b"],
      "max_memory_restart": "300M",
      "kill_timeout": 2000,
      "env": {
        "PORT": 1234,
        "TOKEN": "s3cr3t"
      },
      "env_production": {
        "MODE": "live"
      }
    },
    {
      "name": "line",
      "script": "sleep 1000",
      "autorestart": false
    }
  ]
}
`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}

	r = asks()
	contains(t, "stderr", r.err, "ecosystem.json is there already", "--force")
	if r.code != 2 {
		t.Errorf("a second import: %v", r)
	}
	p.pm2("kill")
	r = asks("--force")
	contains(t, "stdout", r.out, "pm2 does not run", "dump.pm2")
	if again, err := os.ReadFile(path); err != nil || string(again) != want {
		t.Errorf("from the dump: %v\n%s", err, again)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(g.home), "p", "rpc.sock")); err == nil {
		t.Error("asking has started pm2")
	}
	contains(t, "start", g.run("start", "ecosystem.json", "--env", "production"), "App [web] launched", "App [line] launched")
	contains(t, "logs", g.run("logs", "web", "--nostream", "--raw"), "port 1234 mode live")
}

package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// called is the same gopm by a name of pm2's, through the link that gopm shims makes.
func (g *gopm) called(name string) *gopm {
	g.Helper()
	dir := filepath.Join(g.dir, "shims")
	g.run("shims", dir)
	as := *g
	as.binary = filepath.Join(dir, name)
	return &as
}

func TestShims(t *testing.T) {
	g := newGopm(t)
	out := g.run("shims", "bin")
	contains(t, "shims", out, "pm2, pm2-runtime, pm2-docker in "+g.dir+"/bin lead to "+g.binary, "put it first in PATH: export PATH="+g.dir+"/bin:$PATH")
	for _, name := range []string{"pm2", "pm2-runtime", "pm2-docker"} {
		if to, err := os.Readlink(filepath.Join(g.dir, "bin", name)); err != nil || to != g.binary {
			t.Errorf("%s leads to %q, %v", name, to, err)
		}
	}
	g.run("shims", "bin") // they are there
	must(t, os.Remove(g.dir+"/bin/pm2"))
	must(t, os.Symlink("/nowhere/gopm", g.dir+"/bin/pm2")) // an older one's
	g.run("shims", "bin")
	must(t, os.Remove(g.dir+"/bin/pm2"))
	must(t, os.Remove(g.dir+"/bin/pm2-docker"))
	for _, target := range []string{"/nowhere/pm2/bin/pm2", "/bin/sh"} {
		must(t, os.Symlink(target, g.dir+"/bin/pm2-docker"))
		g.fail(1, []string{g.dir + "/bin/pm2-docker is there and no link to gopm: nothing was made"}, "shims", "bin")
		must(t, os.Remove(g.dir+"/bin/pm2-docker"))
	}
	g.file("bin/pm2-docker", "somebody's")
	g.fail(1, []string{"pm2-docker is there"}, "shims", "bin")
	if _, err := os.Lstat(g.dir + "/bin/pm2"); err == nil {
		t.Error("half of the links were made")
	}
	g.fail(2, []string{"the folder for the links"}, "shims")
}

// What deploy scripts and package.json have of pm2.
func TestCalledAsPM2(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.script("other", "exec sleep 1000")
	g.file("eco.json", `{"apps": [{"name": "web", "script": "./run", "min_uptime": "100ms"}, {"name": "api", "script": "./other", "min_uptime": "100ms"}]}`)
	pm2 := g.called("pm2")
	if out := pm2.run("id", "web"); out != "[]\n" { // before the first start, in scripts that end at any failure
		t.Errorf("id: %q", out)
	}
	if out := pm2.run("pid", "web"); out != "" {
		t.Errorf("pid: %q", out)
	}
	if out := pm2.run("jlist"); out != "[]\n" {
		t.Errorf("jlist: %q", out)
	}
	contains(t, "the module", pm2.run("install", "pm2-logrotate"), "rotation is built in")
	pm2.fail(2, []string{"there are no modules", "max_size"}, "set", "pm2-logrotate:max_size", "5M")
	pm2.run("update")

	r := pm2.try("-s", "start", "eco.json", "--only", "web api", "--no-vizion", "--attach")
	if r.code != 0 || strings.Contains(r.out, "│") {
		t.Error(r)
	}
	before := g.pids()
	if len(before) != 2 {
		t.Fatalf("it has started %v", before)
	}
	var all []struct {
		Name string
		Pid  int
		Env  struct{ Status string } `json:"pm2_env"`
	}
	must(t, json.Unmarshal([]byte(pm2.run("jlist")), &all))
	if len(all) != 2 || all[0].Env.Status != "online" || all[0].Pid != before[all[0].Name+":0"] {
		t.Errorf("jlist: %v", all)
	}
	if r := pm2.try("reload", "web", "--attach"); r.code != 0 || !strings.Contains(r.err, "note: no effect here: --attach") {
		t.Error(r)
	}
	pm2.run("save")
	if pm2.try("describe", "nobody").code == 0 || pm2.try("restart", "nobody").code == 0 {
		t.Error("what is not there was found")
	}
	pm2.run("start", "run", "-n", "more", "-i", "2", "--watch-delay", "4", "--merge-logs", "--max-memory-restart", "200M", "--", "-n", "5")
	contains(t, "info", g.run("info", "more"), "-n 5")
	pm2.run("delete", "more", "api", "-s")
	if now := g.pids(); len(now) != 1 {
		t.Errorf("left: %v", now)
	}
}

// A script of npm's finds the link in PATH; who keeps pm2s apart by PM2_HOME keeps gopms apart; the update looks behind the link.
func TestShimInPath(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	pm2 := g.called("pm2")
	home := filepath.Join(filepath.Dir(g.home), "p")
	sh := func(line string) result {
		cmd := exec.Command("sh", "-ec", line)
		cmd.Dir = g.dir
		cmd.Env = append(g.env[:len(g.env):len(g.env)], "PM2_HOME="+home, "PATH="+filepath.Dir(pm2.binary)+":"+os.Getenv("PATH"))
		return g.execute(cmd)
	}
	other := g.at(filepath.Join(home, "gopm"))
	t.Cleanup(other.close)
	r := sh(`pm2 start run --name web --min-uptime 100ms >/dev/null; pm2 pid web; rm -r shims`)
	if r.code != 0 || r.out != fmt.Sprintln(other.pids()["web:0"]) {
		t.Errorf("%v, and there run %v", r, other.pids())
	}
	var ping struct{ Home, Binary string }
	must(t, json.Unmarshal([]byte(other.run("ping", "--json")), &ping))
	if ping.Binary != g.binary || ping.Home != filepath.Join(home, "gopm") {
		t.Errorf("%+v", ping)
	}
	g.fail(1, []string{"daemon not running"}, "pid", "web") // the usual home has nothing
}

// Software that keeps its own pm2-runtime (by PM2_HOME) can be an app of gopm: what it
// starts has a gopm of its own, and ends with it.
func TestRuntimeOfAnApp(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.run("shims", "shims")
	g.script("node", `exec shims/pm2-runtime start -i 2 ./run`)
	g.file("eco.json", `{"apps": [{"name": "node", "script": "./node", "min_uptime": "100ms", "env": {"PM2_HOME": "own"}}]}`)
	g.run("start", "eco.json")
	inner := g.at(filepath.Join(g.dir, "own", "gopm"))
	var pids map[string]int
	eventually(t, soon, func() error {
		if r := inner.try("jlist"); r.code != 0 {
			return fmt.Errorf("the inner gopm: %v", r)
		}
		if pids = inner.pids(); len(pids) != 2 || pids["run:0"] == 0 || pids["run:1"] == 0 {
			return fmt.Errorf("want two instances: %v", pids)
		}
		return nil
	})
	if outer := g.list(); len(outer) != 1 {
		t.Errorf("the outer gopm has %v", outer)
	}
	g.run("stop", "node")
	for _, pid := range pids {
		eventually(t, soon, gone(pid))
	}
}

// The call of NocoBase: start is a word of pm2-runtime's, and after -- an argument of the program.
func TestCalledAsRuntime(t *testing.T) {
	for _, name := range []string{"pm2-runtime", "pm2-docker"} {
		t.Run(name, func(t *testing.T) {
			g := newGopm(t)
			port := freePort(t)
			g.file("node_modules/@noco/app/lib/index.js", `require('http').createServer((q, a) => a.end(JSON.stringify([process.pid, process.argv.slice(2), process.env.CLUSTER]))).listen(`+fmt.Sprint(port)+`, '127.0.0.1')
				console.log('up')
				process.on('SIGTERM', () => process.exit(7))`)
			f := g.called(name).with("CLUSTER=yes").foreground("start", "-i", "2", "node_modules/@noco/app/lib/index.js", "--raw", "--", "start")
			url := fmt.Sprintf("http://127.0.0.1:%d/", port)
			eventually(t, 3*soon, func() error {
				text, err := getText(url)
				if err == nil && !strings.HasSuffix(text, `,["start"],"yes"]`) {
					t.Errorf("it says %s", text)
				}
				return err
			})
			eventually(t, 2*soon, func() error {
				if n := len(g.pids()); n != 2 || strings.Count(f.out.String(), "up\n") != 2 {
					return fmt.Errorf("%d instances; %q", n, f.out.String())
				}
				return nil
			})
			must(t, f.cmd.Process.Signal(syscall.SIGTERM))
			f.ends(7)
		})
	}
}

package cmd_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopm/bench/load"
)

// served starts an app that is a test server and is its address, once it answers.
func (g *gopm) served(kind, args, fields string) string {
	g.Helper()
	target := fmt.Sprintf("127.0.0.1:%d", freePort(g.T))
	g.startWeb("web", kind, strings.TrimSpace(args+" "+target), fields)
	answering(g.T, target)
	return target
}

// noneFailed is for a load that nothing may have happened to.
func noneFailed(t *testing.T, r load.Result) {
	t.Helper()
	if r.Failed() > 0 || r.OK == 0 {
		t.Error(r.Text())
	}
}

// steady is a load of new connections, some of them with requests that take long.
func steady(target string) load.Plan {
	return load.Plan{Target: target, Rate: 150, SlowPath: "/slow?ms=300", SlowShare: 0.2}
}

// TestReloadLosesNothing: ten reloads of a program that handles no signal.
func TestReloadLosesNothing(t *testing.T) {
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := g.served(kind, "", `"instances": 2, "min_uptime": "300ms"`)
			const reloads = 10
			r := underLoad(t, steady(target), func() {
				for range reloads {
					before := g.pids()
					out := g.run("reload", "web")
					contains(t, "reload", out, fmt.Sprintf("web:0 replaced (pid %d ", before["web:0"]), fmt.Sprintf("web:1 replaced (pid %d ", before["web:1"]))
					if strings.Contains(out, " cut") {
						t.Errorf("it cut requests: %s", out)
					}
				}
			})
			noneFailed(t, r)
			if len(r.Servers) < 2*reloads { // the first two may have ended before the load's first answers
				t.Errorf("%d servers have answered: %s", len(r.Servers), r.Text())
			}
			for _, e := range g.list() {
				if e.Env.Restarts != reloads {
					t.Errorf("%s: %d restarts", e.Name, e.Env.Restarts)
				}
			}
		})
	}
}

// TestReloadOfOneProcess: exec_mode cluster gives it to an app of one instance too.
func TestReloadOfOneProcess(t *testing.T) {
	g := newGopm(t)
	target := g.served("node", "", `"exec_mode": "cluster", "min_uptime": "300ms"`)
	noneFailed(t, underLoad(t, steady(target), func() {
		for range 3 {
			g.run("reload", "0")
		}
	}))
}

// TestReloadKeptConnections: clients that keep their connections are moved without a
// request executed twice or by half; those between two requests may meet a close.
func TestReloadKeptConnections(t *testing.T) {
	g := newGopm(t)
	target := g.served("node", "-account", `"instances": 2, "min_uptime": "300ms", "drain": {"idle": "150ms"}`)
	r := underLoad(t, load.Plan{Target: target, Clients: 20, KeepAlive: true, SlowPath: "/slow?ms=200", SlowShare: 0.1,
		Think: func() time.Duration { return 400 * time.Millisecond }}, func() {
		for range 2 {
			if out := g.run("reload", "web"); strings.Contains(out, " cut") {
				t.Errorf("it cut requests: %s", out)
			}
		}
	})
	if r.Failed() != r.ResetReused {
		t.Error(r.Text())
	}
	g.audit(r, "web")
}

// TestReloadOfABadVersion: the old version goes on, nothing is touched, and the command
// says what the new one said.
func TestReloadOfABadVersion(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	foreign := l.Addr().(*net.TCPAddr).Port
	for name, c := range map[string]struct {
		script string
		fields string
		words  []string
	}{
		"exits at once": {`console.error("no such database"); process.exit(3)`, "", []string{"exited with code 3", "no such database", "the old version goes on"}},
		"wrong syntax":  {`function (`, "", []string{"exited with code 1", "SyntaxError"}},
		"never listens": {`console.error("waiting for godot"); setInterval(() => {}, 1000)`, `, "listen_timeout": "1500ms"`, []string{"doesn't listen after 1.5s (listen_timeout)", "waiting for godot"}},
		"port is taken": {fmt.Sprintf(`require("http").createServer(() => {}).listen(%d, "127.0.0.1")`, foreign), "", []string{"exited with code 1", "EADDRINUSE"}},
		"listens and dies": {`const s = require("http").createServer((q, r) => r.end(String(process.pid)));
			s.listen(Number(process.argv[2].split(":")[1]), "127.0.0.1"); setTimeout(() => { console.error("cannot go on"); process.exit(1) }, 300)`,
			"", []string{"exited with code 1", "cannot go on"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGopm(t)
			target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			file := g.file("eco.json", `{"apps": [`+g.webApp("web", "node", target, `"instances": 2, "min_uptime": "800ms"`+c.fields)+`]}`)
			g.run("start", file)
			answering(t, target)
			before := g.pids()
			must(t, os.WriteFile(filepath.Join(g.dir, "web.js"), []byte(c.script), 0o644))
			g.file("eco.json", `{"apps": [`+strings.Replace(appText(target, c.fields), "DIR", g.dir, 1)+`]}`)
			r := underLoad(t, load.Plan{Target: target, Rate: 50}, func() {
				g.fail(1, append(c.words, "web:0"), "reload", "eco.json")
			})
			noneFailed(t, r)
			if after := g.pids(); after["web:0"] != before["web:0"] || after["web:1"] != before["web:1"] {
				t.Errorf("%v have become %v", before, after)
			}
			if got := g.run("env", "web"); strings.Contains(got, "VERSION=2") {
				t.Errorf("the app has the new version's environment: %s", got)
			}
		})
	}
}

// appText is version 2 of the app that is reloaded.
func appText(target, fields string) string {
	return fmt.Sprintf(`{"name": "web", "script": "DIR/web.js", "args": %q, "env": {"VERSION": "2"}, "instances": 2, "min_uptime": "800ms"%s}`, target, fields)
}

// TestReloadTakesTheFile: a changed file reaches all instances, one after the other, and
// another number of instances after that.
func TestReloadTakesTheFile(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	version := func(n, instances int) string {
		return g.file("eco.json", `{"apps": [`+g.webApp("web", "node", target, fmt.Sprintf(`"instances": %d, "exec_mode": "cluster", "min_uptime": "300ms", "env": {"VERSION": "%d"}`, instances, n))+`]}`)
	}
	g.run("startOrReload", version(1, 2))
	answering(t, target)
	noneFailed(t, underLoad(t, steady(target), func() {
		for n, instances := range []int{2: 2, 3: 3, 4: 1} {
			if instances == 0 {
				continue
			}
			out := g.run("startOrReload", version(n, instances))
			contains(t, "reload", out, "web:0 replaced", "changed: ", "env.VERSION")
			for id := range instances {
				contains(t, "env", g.run("env", fmt.Sprint(id)), fmt.Sprintf("VERSION=%d\n", n))
			}
			if running := len(g.pids()); running != instances {
				t.Errorf("%d instances, want %d", running, instances)
			}
		}
	}))
}

// TestReloadLimits: with surge 0 an old process goes before the new one comes.
func TestReloadLimits(t *testing.T) {
	g := newGopm(t)
	target := g.served("go", "", `"instances": 3, "min_uptime": "200ms", "reload": {"surge": 0, "unavailable": 1}`)
	noneFailed(t, underLoad(t, steady(target), func() {
		out := g.run("reload", "web")
		contains(t, "reload", out, "web:0 replaced", "web:1 replaced", "web:2 replaced")
	}))
	var begun []string
	for line := range strings.Lines(g.log()) {
		for _, what := range []string{"stopping\n", "it takes over"} { // it is online later, when it has lived for its min_uptime
			if strings.Contains(line, what) {
				begun = append(begun, strings.TrimSpace(what))
			}
		}
	}
	if want := slices.Repeat([]string{"stopping", "it takes over"}, 3); !slices.Equal(begun, want) {
		t.Errorf("%v, want %v", begun, want)
	}
}

// TestReloadSettles: a new version that is all in place and dies within its min_uptime
// is no success, and one that fails at once is told of at once.
func TestReloadSettles(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	listen := `require("http").createServer((q, r) => r.end(String(process.pid))).listen(Number(process.argv[2].split(":")[1]), "127.0.0.1");`
	g.file("app.js", listen)
	g.run("start", g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "./app.js", "args": %q, "instances": 2, "min_uptime": "1s"}]}`, target)))
	answering := func() error { _, err := load.Get(target, "/", soon); return err }
	eventually(t, soon, answering)
	g.file("app.js", listen+` if (process.env.NODE_APP_INSTANCE == 1) setTimeout(() => { throw new Error("late") }, 500)`)
	g.fail(1, []string{"web:1, which was replaced already, exited with code 1"}, "reload", "web")
	g.file("app.js", listen)
	g.run("restart", "web", "-s")
	g.file("app.js", `process.exit(4)`)
	g.fail(1, []string{"the new process exited with code 4"}, "reload", "web")
	if n := strings.Count(g.log(), "exited with code 4 after"); n > 3 { // the process's end, the reload's, and perhaps one more try
		t.Errorf("its end was told of %d times: %s", n, g.log())
	}
}

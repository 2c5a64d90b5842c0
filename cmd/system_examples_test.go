package cmd_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopm/bench/load"
)

// Programs that people have: npm, koa, python, a Go server.

// get is the answer of a server on this machine.
func get(port int) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// answers waits for an answer that is accepted, and returns it.
func answers(t *testing.T, port int, ok func(string) bool) string {
	t.Helper()
	var last string
	eventually(t, 2*soon, func() (err error) {
		if last, err = get(port); err == nil && !ok(last) {
			err = fmt.Errorf("port %d answers %q", port, last)
		}
		return err
	})
	return last
}

func anything(string) bool { return true }

// npm leaves its server running when it is killed; it must not keep the port.
func TestNpmStartComesBackOnItsPort(t *testing.T) {
	g := newGopm(t)
	port := freePort(t)
	g.file("package.json", `{"name": "web", "version": "1.0.0", "scripts": {"start": "node server.js"}}`)
	g.file("server.js", `require('http').createServer((q, s) => s.end('pid ' + process.pid)).listen(process.env.PORT, '127.0.0.1')`)
	g.with(fmt.Sprintf("PORT=%d", port)).run("start", "npm", "--name", "web", "--", "start")
	first := answers(t, port, anything)
	e := g.app("web")
	if first == fmt.Sprint("pid ", e.Pid) {
		t.Fatal("npm is the server itself, this tests nothing")
	}
	contains(t, "info", g.run("info", "web"), fmt.Sprint("127.0.0.1:", port))
	g.killHard(e.Pid)
	answers(t, port, func(s string) bool { return s != first })
	steadily(t, 1500*time.Millisecond, func() error {
		_, err := get(port)
		return err
	})
	if e := g.awaitStatus("web", "online"); e.Env.Restarts != 1 {
		t.Errorf("want one restart: %v", e)
	}
	lacks(t, "logs", g.run("logs", "web", "--nostream"), "EADDRINUSE")
	g.run("stop", "web")
	if _, err := get(port); err == nil {
		t.Error("it answers after stop")
	}
}

// example is a copy of an example in the working folder.
func (g *gopm) example(name string) {
	g.Helper()
	source, err := filepath.Abs(filepath.Join("..", "examples", name))
	must(g.T, err)
	must(g.T, os.CopyFS(g.dir, os.DirFS(source)))
	paths, err := filepath.Glob(g.dir + "/*")
	must(g.T, err)
	for _, path := range paths { // CopyFS keeps the execute bits only
		must(g.T, os.Chmod(path, 0o755))
	}
}

// parts is where tools/parts keeps what it has fetched.
func (g *gopm) parts() string {
	g.Helper()
	if parts := os.Getenv("GOPM_PARTS"); parts != "" {
		return parts
	}
	cache := os.Getenv("GOPM_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		must(g.T, err)
		cache = filepath.Join(base, "gopm")
	}
	return filepath.Join(cache, "parts")
}

// koaApp is the example with its modules, on a port of the test's own.
func (g *gopm) koaApp() (port int) {
	g.Helper()
	g.example("koa")
	g.modules("koa")
	port = freePort(g.T)
	text, err := os.ReadFile(g.dir + "/app.js")
	must(g.T, err)
	if !strings.Contains(string(text), "app.listen(3000);") {
		g.Fatalf("the app has another port than 3000:\n%s", text)
	}
	g.file("app.js", strings.Replace(string(text), "3000", fmt.Sprint(port), 1))
	return port
}

func hello(s string) bool { return s == "Hello Koa@2" }

func TestKoaAsInTheSlides(t *testing.T) {
	g := newGopm(t)
	port := g.koaApp()
	g.run("start", "app.js")
	answers(t, port, hello)
	g.run("startOrRestart", "ecosystem.json")
	answers(t, port, hello)
	eventually(t, soon, func() error {
		out := g.run("logs", "app", "--nostream")
		if !strings.Contains(out, "| send response\n") || !strings.Contains(out, "| (err) fake error\n") {
			return fmt.Errorf("out and err are not both there:\n%s", out)
		}
		return nil
	})
	contains(t, "info", g.run("info", "app"), fmt.Sprint(":", port), "SIGINT", g.dir+"/ecosystem.json")
	g.wantEnv("app", map[string]string{"NODE_ENV": "production"})
	pid := g.app("app").Pid
	g.killHard(pid)
	eventually(t, soon, gone(pid))
	answers(t, port, hello)
	contains(t, "kill", g.run("kill"), "app")
	if _, err := get(port); err == nil {
		t.Error("it answers after kill")
	}
}

// The slides' app, twice on its one port: nobody notices a reload, and a death costs nothing but what the dead one had accepted.
func TestKoaTwiceOnOnePort(t *testing.T) {
	g := newGopm(t)
	port := g.koaApp()
	g.run("start", "ecosystem2.json")
	for _, id := range []string{"0", "1"} {
		eventually(t, 2*soon, func() error { // to be online is only to have lived for min_uptime
			if info := g.run("info", id); !strings.Contains(info, fmt.Sprint(":", port)) || !strings.Contains(info, "cluster_mode") {
				return fmt.Errorf("it doesn't share port %d:\n%s", port, info)
			}
			return nil
		})
	}
	target := fmt.Sprintf("127.0.0.1:%d", port)
	before := g.pids()
	if r := underLoad(t, load.Plan{Target: target, Rate: 200, Body: "Hello Koa@2", Timeout: soon}, func() { g.run("reload", "app") }); r.Failed() > 0 {
		t.Errorf("a reload: %s", r.Text())
	}
	if now := g.pids(); len(now) != 2 || now["app:0"] == before["app:0"] || now["app:1"] == before["app:1"] {
		t.Errorf("%v and after a reload %v", before, now)
	}
	for _, plan := range []load.Plan{{Rate: 200}, {KeepAlive: true, Clients: 20, Think: func() time.Duration { return rand.N(100 * time.Millisecond) }}} {
		plan.Target, plan.Body, plan.Timeout = target, "Hello Koa@2", soon
		r := underLoad(t, plan, func() {
			old := g.pids()["app:0"]
			g.killHard(old)
			eventually(t, soon, func() error { return g.isReplaced("app:0", old) })
		})
		if lost := r.Reset + r.ResetReused + r.Cut; r.Failed() > lost || lost > 20 { // what the killed one had accepted: at most a request of each client
			t.Errorf("a death, connections kept %v: %s", plan.KeepAlive, r.Text())
		}
	}
}

func TestExamplePython(t *testing.T) {
	g := newGopm(t)
	g.example("python")
	port := freePort(t)
	text, err := os.ReadFile(g.dir + "/ecosystem.yaml")
	must(t, err)
	g.file("ecosystem.yaml", strings.Replace(string(text), "8000", fmt.Sprint(port), 1))
	g.run("start", "ecosystem.yaml")
	if body := answers(t, port, anything); body != "hello from python\n" {
		t.Errorf("%q", body)
	}
	e := g.app("python")
	g.fileSays(e.Env.Out, "answered")
	g.fileSays(e.Env.Err, `"GET / HTTP/1.1" 200`)
}

func TestExampleShell(t *testing.T) {
	g := newGopm(t)
	g.example("shell")
	g.run("start", "ecosystem.json")
	e := g.app("tick")
	g.fileSays(e.Env.Out, "tick 1")
	g.run("stop", "tick")
	g.fileSays(e.Env.Out, "asked to stop")
	if e := g.app("tick"); e.Env.ExitCode == nil || *e.Env.ExitCode != 0 {
		t.Error(e)
	}
}

func TestExampleHello(t *testing.T) {
	g := newGopm(t)
	g.example("hello")
	goBuild := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(g.dir, "hello"), "gopm/examples/hello")
	if out, err := goBuild.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	port := freePort(t)
	text, err := os.ReadFile(g.dir + "/ecosystem.json")
	must(t, err)
	g.file("ecosystem.json", strings.Replace(string(text), "8080", fmt.Sprint(port), 1))
	g.run("start", "ecosystem.json")
	for i := range 2 {
		answers(t, port+i, func(s string) bool { return strings.HasPrefix(s, fmt.Sprintf("hello from instance %d ", i)) })
	}
	g.run("stop", "all")
	for _, e := range g.list() {
		if e.Env.ExitCode == nil || *e.Env.ExitCode != 0 {
			t.Errorf("it did not end in order: %v", e)
		}
	}
}

package cmd_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
)

// What meets a reload that is under way, and scaling, which goes the same ways.

// slowReload starts an app whose reload takes long: its new processes boot for a minute.
func (g *gopm) slowReload() (target string) {
	g.Helper()
	target = fmt.Sprintf("127.0.0.1:%d", freePort(g.T))
	version := func(boot int) string {
		return g.file("eco.json", `{"apps": [`+g.webApp("web", "node", fmt.Sprintf("-boot-ms %d %s", boot, target), `"instances": 2, "min_uptime": "200ms", "listen_timeout": "60s"`)+`]}`)
	}
	g.run("start", version(0))
	answering(g.T, target) // one of the two: that is enough to know what the app does
	out := g.run("reload", version(60000), "--no-wait")
	contains(g.T, "reload", out, "web: reloading 2 instances (changed: args)")
	eventually(g.T, soon, func() error {
		if info := g.run("info", "0"); !strings.Contains(info, "reload: a new process is starting") {
			return fmt.Errorf("info says nothing of it: %s", info)
		}
		return nil
	})
	return target
}

// webProcesses are the processes of the app web.
func (g *gopm) webProcesses() (all []process) {
	for _, p := range belongingTo(g.home) {
		if strings.Contains(p.String(), "web.js") {
			all = append(all, p)
		}
	}
	return all
}

// TestOneReloadAtATime: who wants to change the app meanwhile is told why it can't be.
func TestOneReloadAtATime(t *testing.T) {
	g := newGopm(t)
	target := g.slowReload()
	for _, words := range [][]string{{"reload", "web"}, {"reload", "eco.json"}, {"start", "web"}, {"start", "eco.json"}, {"scale", "web", "3"}, {"update"}} {
		g.fail(1, []string{"web", "reload", "under way"}, words...)
	}
	g.run("reset", "web")
	g.run("start", g.sleeper("other")) // other apps are nobody's business
	answering(t, target)
}

// TestStopDuringReload: stop, restart, delete and kill break a reload off: nothing of
// the new version stays, and they do what they always do.
func TestStopDuringReload(t *testing.T) {
	for _, word := range []string{"stop", "restart", "delete", "kill"} {
		t.Run(word, func(t *testing.T) {
			g := newGopm(t)
			g.slowReload()
			before := g.pids()
			switch word {
			case "kill":
				g.run("kill")
			default:
				g.run(word, "web")
			}
			left := g.webProcesses()
			switch {
			case word != "restart":
				if len(left) > 0 {
					t.Errorf("left running: %v", left)
				}
			case len(left) != 2:
				t.Errorf("want two processes: %v", left)
			default:
				if after := g.pids(); after["web:0"] == before["web:0"] || after["web:0"] == 0 {
					t.Errorf("%v have become %v", before, after)
				}
			}
			contains(t, "the log", g.log(), "the reload has failed", "the old version goes on")
		})
	}
}

// TestReloadGoesOn: it doesn't need the command that has begun it.
func TestReloadGoesOn(t *testing.T) {
	g := newGopm(t)
	g.served("node", "-boot-ms 1500", `"instances": 2, "min_uptime": "200ms"`)
	before := g.pids()
	cmd := g.command("reload", "web")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	eventually(t, soon, func() error {
		if n := strings.Count(g.log(), "starting web:0"); n == 0 {
			return fmt.Errorf("it has not begun")
		}
		return nil
	})
	must(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait() // it ends by the signal
	contains(t, "reload", out.String(), "what has begun goes on")
	eventually(t, 2*soon, func() error {
		if after := g.pids(); after["web:0"] == before["web:0"] || after["web:1"] == before["web:1"] {
			return fmt.Errorf("%v are still %v", before, after)
		}
		return nil
	})
}

// TestReloadDuringCrashes: old and new processes die while they are being exchanged. What
// dies before it is ready ends the reload; the app serves on, whatever happens.
func TestReloadDuringCrashes(t *testing.T) {
	g := newGopm(t)
	target := g.served("go", "", `"instances": 2, "min_uptime": "100ms", "max_restarts": 1000`)
	r := underLoad(t, load.Plan{Target: target, Rate: 150}, func() {
		for round := range 12 {
			cmd := g.command("reload", "web", "-s")
			must(t, cmd.Start())
			for range round % 3 {
				if pid := g.pids()[fmt.Sprintf("web:%d", round%2)]; pid > 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL) // an error: it has ended meanwhile
				}
			}
			_ = cmd.Wait() // 1: something had died
		}
		g.run("reload", "web")
	})
	if lost := r.Failed() - r.Reset - r.Cut; lost > 0 { // what a killed process had accepted is lost
		t.Error(r.Text())
	}
	for name, pid := range g.pids() {
		if pid == 0 {
			t.Errorf("%s is down", name)
		}
	}
	if left := belongingTo(g.home); len(left) > 4 { // two instances, daemon, keeper
		t.Errorf("there are too many processes: %v", left)
	}
}

// TestScaleLosesNothing: more and fewer instances, by command and by file.
func TestScaleLosesNothing(t *testing.T) {
	g := newGopm(t)
	target := g.served("node", "", `"instances": 2, "min_uptime": "300ms"`)
	noneFailed(t, underLoad(t, steady(target), func() {
		for _, words := range [][]string{{"4"}, {"-2"}, {"+1"}, {"1"}, {"+2"}} {
			g.run("scale", "web", words[0])
		}
		text, err := os.ReadFile(g.dir + "/web.json")
		must(t, err)
		for _, n := range []int{4, 2} {
			g.file("web.json", strings.Replace(string(text), `"instances": 2`, fmt.Sprintf(`"instances": %d`, n), 1))
			out := g.run("start", "web.json")
			contains(t, "start", out, "web: scaled (changed: instances)")
			if n == 2 {
				contains(t, "start", out, "ended (pid ", "drained in")
			}
			if running := len(g.pids()); running != n {
				t.Errorf("%d instances, want %d", running, n)
			}
		}
	}))
}

// TestCanary: the first new process is watched before anything else is touched.
func TestCanary(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	script := `require("http").createServer((q, r) => r.writeHead(200, {"X-Pid": process.pid, "X-Id": q.headers["x-id"]}).end(process.pid + " " + q.headers["x-id"] + "\n")).listen(Number(process.argv[2].split(":")[1]), "127.0.0.1");`
	app := g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": %q, "args": %q, "instances": 2, "min_uptime": "100ms", "hang_timeout": "1500ms", "reload": {"canary": "4s"}}]}`, g.file("app.js", script), target))
	g.run("start", app)
	allAnswer(t, target, 2) // each has read the file that is about to be replaced
	before := g.pids()
	g.file("app.js", script+` setTimeout(() => { throw new Error("late trouble") }, 700)`)
	g.fail(1, []string{"exited with code 1", "late trouble", "the old version goes on"}, "reload", "web")
	if after := g.pids(); after["web:0"] != before["web:0"] || after["web:1"] != before["web:1"] {
		t.Errorf("%v have become %v", before, after)
	}
	g.file("app.js", script+` setTimeout(() => { for (;;); }, 700)`)
	underLoad(t, load.Plan{Target: target, Rate: 60, Timeout: 2 * time.Second}, func() {
		g.fail(1, []string{"did not accept connections", "the old version goes on"}, "reload", "web")
	})
	g.file("app.js", script)
	began := time.Now()
	g.run("reload", "web")
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("it was watched for %v", took)
	}
}

// TestDrainModes: a program that ends its connections itself is told to at once and has
// the time it needs; with mode off nobody waits.
func TestDrainModes(t *testing.T) {
	g := newGopm(t)
	target := g.served("node", "-graceful", `"instances": 2, "min_uptime": "200ms", "kill_timeout": "300ms", "drain": {"mode": "signal"}`)
	noneFailed(t, underLoad(t, load.Plan{Target: target, Rate: 60, SlowPath: "/slow?ms=900", SlowShare: 0.2}, func() {
		for range 3 { // the requests take longer than kill_timeout
			g.run("reload", "web")
		}
	}))
	g.run("delete", "web")
	target = g.served("node", "-account", `"instances": 2, "min_uptime": "200ms", "drain": {"mode": "off"}`)
	answer := make(chan error, 1)
	go func() { // ended by the reload, at the latest by the end of the program that it asks
		_, err := load.Get(target, "/slow?ms=60000", time.Minute)
		answer <- err
	}()
	eventually(t, soon, func() error {
		for _, e := range g.list() {
			if text, _ := os.ReadFile(e.Env.Out); strings.Count(string(text), "begin") > strings.Count(string(text), "end") {
				return nil
			}
		}
		return fmt.Errorf("the request has not begun")
	})
	g.run("reload", "web")
	select {
	case err := <-answer:
		if err == nil {
			t.Error("a request of a minute has been answered")
		}
	case <-time.After(2 * soon):
		t.Error("the request is still waiting")
	}
}

// TestLogsGoOn: who follows the logs of an app sees what old and new processes write,
// each line once.
func TestLogsGoOn(t *testing.T) {
	g := newGopm(t)
	target := g.served("go", "-account", `"exec_mode": "cluster", "min_uptime": "200ms"`)
	f := g.follow("web", "--raw", "--lines", "0")
	ids := func() (all []string) {
		for line := range strings.Lines(f.text()) {
			if id, is := strings.CutSuffix(strings.TrimSpace(line), " begin"); is {
				all = append(all, id)
			}
		}
		return all
	}
	asked := 0
	ask := func() {
		t.Helper()
		for range 5 {
			_, err := load.Get(target, "/", soon)
			must(t, err)
			asked++
		}
		eventually(t, soon, func() error {
			if n := len(ids()); n < asked {
				return fmt.Errorf("%d of %d lines: %s", n, asked, f.text())
			}
			return nil
		})
	}
	eventually(t, soon, func() error { // until the follower is there
		if _, err := load.Get(target, "/", soon); err != nil {
			return err
		}
		if len(ids()) == 0 {
			return fmt.Errorf("the follower sees nothing")
		}
		return nil
	})
	asked = len(ids())
	for range 3 {
		ask()
		g.run("reload", "web")
	}
	ask()
	f.end()
	seen := map[string]bool{}
	for _, id := range ids() {
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
	}
}

// TestReloadOfWhatIsDown: an app that is stopped is started by a reload, and there is no
// gap to warn of.
func TestReloadOfWhatIsDown(t *testing.T) {
	g := newGopm(t)
	target := g.served("go", "", `"instances": 2, "min_uptime": "100ms"`)
	g.run("start", g.sleeper("sleeper"))
	g.run("stop", "web")
	r := g.try("reload", "all")
	if r.code != 0 {
		t.Errorf("reload: %v", r)
	}
	contains(t, "the note", r.err, "sleeper runs in fork mode")
	lacks(t, "the note", r.err, "web runs in fork mode") // it was down
	answering(t, target)
	g.run("stop", "web")
	contains(t, "scaling down", g.run("scale", "web", "1"), "web:1 is given up; it was down")
}

// TestReloadCuts: what takes longer than drain.timeout is cut, and counted; nothing else
// waits longer for it, neither the reload nor, in the middle of one, the daemon's end.
func TestReloadCuts(t *testing.T) {
	g := newGopm(t)
	target := g.served("node", "-account", `"instances": 2, "min_uptime": "200ms", "drain": {"timeout": "700ms"}`)
	answer := make(chan error, 2)
	ask := func() {
		go func() { // ended by the end of the program that it asks
			_, err := load.Get(target, "/slow?ms=600000", time.Minute)
			answer <- err
		}()
	}
	begun := 0
	awaitBegun := func() {
		t.Helper()
		begun++
		eventually(t, soon, func() error {
			n := 0
			for id := range 2 {
				text, _ := os.ReadFile(g.list()[id].Env.Out)
				n += strings.Count(string(text), "begin") - strings.Count(string(text), "end")
			}
			if n < begun {
				return fmt.Errorf("%d of %d requests have begun", n, begun)
			}
			return nil
		})
	}
	ask()
	awaitBegun()
	contains(t, "reload", g.run("reload", "web"), "1 request cut")
	if err := <-answer; err == nil {
		t.Error("a request of ten minutes has been answered")
	}
	text, err := os.ReadFile(g.dir + "/web.json")
	must(t, err)
	g.file("web.json", strings.Replace(string(text), "700ms", "10m", 1))
	g.run("start", "web.json") // that alone restarts nothing
	ask()
	awaitBegun()
	g.run("reload", "web", "--no-wait")
	eventually(t, soon, func() error {
		if !strings.Contains(g.run("info", "web"), "is being drained and ended") {
			return fmt.Errorf("nothing drains: %s", g.log())
		}
		return nil
	})
	g.run("kill")
	if err := <-answer; err == nil {
		t.Error("a request of ten minutes has been answered")
	}
}

// TestReloadPidFile: the file has the pid of who has the place.
func TestReloadPidFile(t *testing.T) {
	g := newGopm(t)
	g.served("go", "", fmt.Sprintf(`"exec_mode": "cluster", "min_uptime": "200ms", "pid_file": %q`, g.dir+"/web.pid"))
	for range 3 {
		g.run("reload", "web")
		text, err := os.ReadFile(g.dir + "/web.pid")
		must(t, err)
		if got, want := strings.TrimSpace(string(text)), fmt.Sprint(g.pids()["web:0"]); got != want {
			t.Errorf("it has %s, want %s", got, want)
		}
	}
	g.run("stop", "web")
	if text, err := os.ReadFile(g.dir + "/web.pid"); err == nil {
		t.Errorf("a stopped app has a pid: %s", text)
	}
}

// TestReloadClearsTheOldTree: what an old process has left behind, in a session of its
// own, is ended with it; what the new one has is not touched.
func TestReloadClearsTheOldTree(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.script("run", fmt.Sprintf("setsid -f sleep 2345\nexec %s %s", g.web("go"), target))
	g.run("start", g.file("eco.json", `{"apps": [{"name": "web", "script": "./run", "exec_mode": "cluster", "min_uptime": "200ms"}]}`))
	answering(t, target)
	left := map[int]bool{}
	for round := range 3 {
		if round > 0 {
			g.run("reload", "web")
		}
		var now []int
		for _, p := range belongingTo(g.home) {
			if p.cmdline == "sleep 2345" {
				now = append(now, p.pid)
			}
		}
		if len(now) != 1 || left[now[0]] {
			t.Fatalf("round %d: the rest of the trees: %v, those of before: %v", round, now, left)
		}
		left[now[0]] = true
	}
}

// TestReloadRefills: where the old process had to go first and the new one doesn't come,
// the old version is started again.
func TestReloadRefills(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.file("app.js", `if (process.env.BAD) process.exit(5);
		require("http").createServer((q, r) => r.end(String(process.pid))).listen(Number(process.argv[2].split(":")[1]), "127.0.0.1")`)
	version := func(env string) string {
		return g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "./app.js", "args": %q, "instances": 2, "min_uptime": "300ms", "env": {%s},
			"reload": {"surge": 0, "unavailable": 1}}]}`, target, env))
	}
	g.run("start", version(""))
	eventually(t, soon, func() error { _, err := load.Get(target, "/", soon); return err })
	for range 2 {
		before := g.pids()
		r := underLoad(t, load.Plan{Target: target, Rate: 60}, func() {
			g.fail(1, []string{"web:0", "exited with code 5", "the old version goes on"}, "reload", version(`"BAD": "1"`))
			eventually(t, soon, func() error {
				for _, e := range g.list() {
					if e.Env.Status != "online" {
						return fmt.Errorf("%v", e)
					}
				}
				return nil
			})
		})
		noneFailed(t, r)
		if after := g.pids(); after["web:1"] != before["web:1"] || after["web:0"] == before["web:0"] {
			t.Errorf("%v have become %v", before, after)
		}
	}
	g.run("reload", version(`"GOOD": "1"`))
	contains(t, "env", g.run("env", "0"), "GOOD=1")
}

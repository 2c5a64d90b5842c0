package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// watched starts an app of a file, and waits until its files are watched.
func (g *gopm) watched(fields string) {
	g.Helper()
	g.sleeper("app/run")
	g.run("start", g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "./run", "cwd": %q, "min_uptime": "100ms", "watch_delay": 300, %s}]}`, filepath.Join(g.dir, "app"), fields)))
	g.awaitWatch()
}

func (g *gopm) awaitWatch() {
	g.Helper()
	eventually(g.T, soon, func() error {
		if info := g.run("info", "web"); !strings.Contains(info, "the kernel (inotify)") {
			return fmt.Errorf("it is not watched:\n%s", info)
		}
		return nil
	})
}

// restarts waits until an app was restarted so many times.
func (g *gopm) restarts(want int) {
	g.Helper()
	e := g.await("web", fmt.Sprintf("%d restarts", want), func(e entry) bool { return e.Env.Restarts >= want && e.Env.Status == "online" })
	if e.Env.Restarts != want {
		g.Fatalf("%d restarts, want %d", e.Env.Restarts, want)
	}
}

// TestWatch: an edit restarts, a new folder is watched, what is ignored is, and what is stopped stays so.
func TestWatch(t *testing.T) {
	g := newGopm(t)
	g.watched(`"watch": true, "ignore_watch": "uploads", "out_file": "out.txt", "error_file": "err.txt"`)
	contains(t, "ls", g.run("ls"), "enabled")
	g.file("app/server.txt", "1")
	g.restarts(1)
	info := g.run("info", "web")
	contains(t, "info", info, "server.txt", "last restart because", "watch: server.txt", "inotify")
	contains(t, "the events", g.run("events", "--nostream"), "changed: server.txt; it is restarted")

	g.file("app/node_modules/m/i.js", "1")
	g.file("app/uploads/u", "1")
	g.file("app/.hidden/x", "1")
	g.file("app/out.txt", "1")
	g.file("app/new/deep/n", "1")
	g.restarts(2)
	contains(t, "info", g.run("info", "web"), "watch: new/deep/n")
	g.file("app/new/deep/n", "2")
	g.restarts(3)

	if r := g.try("stop", "web", "--watch"); r.code != 0 || !strings.Contains(r.err, "with its start it is watched again") {
		t.Errorf("pm2's stop --watch: %v", r)
	}
	g.file("app/server.txt", "2")
	g.run("start", "web")
	g.awaitWatch()
	g.file("app/server.txt", "3")
	g.await("web", "one more restart", func(e entry) bool { return e.Env.Restarts > 3 && e.Env.Status == "online" })
	contains(t, "the log", g.log(), "changed: server.txt; it is restarted")
	contains(t, "jlist", g.run("jlist"), `"watch":true`)
	g.run("restart", "web", "--watch=false")
	contains(t, "ls", g.run("ls"), "disabled")
}

// TestWatchACheckout: one restart for thousands of files that git changes.
func TestWatchACheckout(t *testing.T) {
	g := newGopm(t)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", filepath.Join(g.dir, "app"), "-c", "user.name=x", "-c", "user.email=x@y", "-c", "core.excludesFile=/dev/null"}, args...)...)
		cmd.Env = g.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	fill := func(text string) {
		for i := range 1000 {
			g.file(fmt.Sprintf("app/src/d%d/%s%d", i%30, text, i), text)
			g.file(fmt.Sprintf("app/src/d%d/f%d", i%30, i), text)
		}
	}
	g.sleeper("app/run")
	git("init", "-q", "-b", "one")
	fill("one")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	git("checkout", "-q", "-b", "two")
	must(t, os.RemoveAll(filepath.Join(g.dir, "app/src")))
	fill("two")
	git("add", ".")
	git("commit", "-q", "-m", "two")
	g.watched(`"watch": true`)
	git("checkout", "-q", "one")
	g.restarts(1)
	git("checkout", "-q", "two")
	g.restarts(2)
	contains(t, "info", g.run("info", "web"), " more")
}

// TestWatchOutlivesTheDaemon: the next daemon watches on, and an update.
func TestWatchOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.watched(`"watch": true`)
	g.file("app/server.txt", "1")
	g.restarts(1)
	g.killDaemon()
	g.awaitWatch()
	g.file("app/server.txt", "2")
	g.restarts(2)
	g.run("update")
	g.awaitWatch()
	g.file("app/server.txt", "3")
	g.restarts(3)
}

// TestWatchReloads: a clustered app loses no request by it.
func TestWatchReloads(t *testing.T) {
	g := newGopm(t)
	target := g.served("node", "", `"instances": 2, "min_uptime": "300ms", "watch": "web.js", "watch_delay": 200`)
	g.awaitWatch()
	const edits = 3
	r := underLoad(t, steady(target), func() {
		for i := range edits {
			before := g.pids()
			g.web("node") // written anew
			eventually(t, 2*soon, func() error {
				now := g.pids()
				if now["web:0"] == before["web:0"] || now["web:1"] == before["web:1"] {
					return fmt.Errorf("edit %d: %v are still %v", i, before, now)
				}
				if n := strings.Count(g.log(), "the reload is done"); n != i+1 {
					return fmt.Errorf("%d reloads are done, want %d", n, i+1)
				}
				return nil
			})
		}
	})
	noneFailed(t, r)
	contains(t, "the log", g.log(), "changed: web.js; it is reloaded")
}

// TestWatchOfAFailure: what has failed is tried again when its files change; an app that ends by itself is not.
func TestWatchOfAFailure(t *testing.T) {
	g := newGopm(t)
	g.watched(`"watch": true, "max_restarts": 1`)
	g.script("app/run", "exit 3")
	g.awaitStatus("web", "errored")
	g.sleeper("app/next") // or a file that is being written would be executed
	must(t, os.Rename(filepath.Join(g.dir, "app/next"), filepath.Join(g.dir, "app/run")))
	g.awaitStatus("web", "online")

	g.script("app/once", "exit 0")
	g.run("start", g.file("once.json", fmt.Sprintf(`{"apps": [{"name": "once", "script": "./once", "cwd": %q, "autorestart": false, "watch": true}]}`, filepath.Join(g.dir, "app"))), "--no-wait")
	g.awaitStatus("once", "stopped")
	g.file("app/other", "1")
	eventually(t, soon, func() error {
		if !strings.Contains(g.log(), "changed: other") {
			return fmt.Errorf("the change was not seen")
		}
		return nil
	})
	if e := g.app("once"); e.Env.Status != "stopped" || e.Env.Restarts != 0 {
		t.Errorf("an app that had ended by itself was started: %v", e)
	}
}

// TestWatchAWayward: an app that writes into its own folder is named, with the remedy.
func TestWatchAWayward(t *testing.T) {
	g := newGopm(t)
	g.script("app/run", "[ ! -e begin ] || date +%N > state; exec sleep 1000")
	g.run("start", g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "./run", "cwd": %q, "min_uptime": "100ms", "watch": true, "watch_delay": 100}]}`, filepath.Join(g.dir, "app"))))
	g.awaitWatch()
	g.file("app/begin", "1")
	eventually(t, 2*soon, func() error {
		if !strings.Contains(g.log(), "web: state has changed after each of the last restarts; if the app writes it itself, add it to ignore_watch") {
			return fmt.Errorf("nothing was said")
		}
		return nil
	})
}

// TestWatchOnceMore: however much changes while an app is being restarted, it is restarted once more.
func TestWatchOnceMore(t *testing.T) {
	g := newGopm(t)
	g.script("app/run", `trap "while [ ! -e ../go ]; do sleep 0.1; done; exit 0" INT TERM; while :; do sleep 0.1; done`)
	g.run("start", g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "./run", "cwd": %q, "min_uptime": "100ms", "kill_timeout": "60s", "treekill": false, "watch": true, "watch_delay": 100}]}`, filepath.Join(g.dir, "app"))))
	g.awaitWatch()
	g.file("app/a", "1")
	g.awaitStatus("web", "stopping")
	for i := range 5 {
		g.file("app/b", fmt.Sprint(i))
		steadily(t, 300*time.Millisecond, func() error { // more than one burst
			if e := g.app("web"); e.Env.Status != "stopping" {
				return fmt.Errorf("it does not wait: %v", e)
			}
			return nil
		})
	}
	g.file("go", "")
	g.restarts(2)
	contains(t, "info", g.run("info", "web"), "watch: b")
	steadily(t, 1500*time.Millisecond, func() error {
		if e := g.app("web"); e.Env.Restarts > 2 {
			return fmt.Errorf("one more restart: %v", e)
		}
		return nil
	})
}

// TestWatchOfABadVersion: a clustered app goes on as it is until a version comes that works.
func TestWatchOfABadVersion(t *testing.T) {
	g := newGopm(t)
	target := g.served("node", "", `"instances": 2, "min_uptime": "300ms", "watch": "web.js"`)
	g.awaitWatch()
	before := g.pids()
	g.file("web.js", "function (")
	eventually(t, 2*soon, func() error {
		if !strings.Contains(g.log(), "the reload has failed") {
			return fmt.Errorf("it was not tried")
		}
		return nil
	})
	answering(t, target)
	if now := g.pids(); now["web:0"] != before["web:0"] || now["web:1"] != before["web:1"] {
		t.Errorf("%v have become %v", before, now)
	}
	g.web("node")
	eventually(t, 2*soon, func() error {
		if now := g.pids(); now["web:0"] == before["web:0"] || now["web:1"] == before["web:1"] {
			return fmt.Errorf("%v are still %v", before, now)
		}
		return nil
	})
}

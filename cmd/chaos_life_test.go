package cmd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gopm/daemon/api"
)

// Chaos of what apps wait for, and of what is done for them: dependencies, readiness, health,
// hooks, jobs, watching, and what programs and gopm talk by.

// lifeCast is the apps. Those of the chain depend on one another; stuck depends on one that
// never gets ready.
const lifeCast = `{"apps": [
	{"name": "db", "script": "./life.sh", "args": "db", "min_uptime": "100ms", "ready": {"log": "^ready"}, "ready_timeout": "5s"},
	{"name": "api", "script": "./life.sh", "args": "api", "min_uptime": "100ms", "ready": {"log": "^ready"}, "ready_timeout": "5s", "depends_on": "db"},
	{"name": "web", "script": "./life.sh", "args": "web", "min_uptime": "100ms", "depends_on": ["api"]},
	{"name": "never", "script": "./life.sh", "args": "never", "min_uptime": "100ms", "ready": {"log": "never said"}, "ready_timeout": "1000s"},
	{"name": "stuck", "script": "./life.sh", "args": "stuck", "min_uptime": "100ms", "depends_on": "never"},
	{"name": "tick", "script": "./life.sh", "args": "job tick 0", "min_uptime": "100ms", "schedule": "*/3 * * * * *"},
	{"name": "long", "script": "./life.sh", "args": "job long 1.3", "min_uptime": "100ms", "schedule": {"at": "* * * * * *", "overlap": "queue"}},
	{"name": "hooked", "script": "./life.sh", "args": "hooked", "min_uptime": "100ms",
		"pre_start": "./life.sh pre_start", "pre_stop": "./life.sh pre_stop", "post_start": "sleep 0.2"},
	{"name": "cron", "script": "./life.sh", "args": "cron", "min_uptime": "100ms", "cron_restart": "*/2 * * * * *"},
	{"name": "watched", "script": "./life.sh", "args": "watched", "min_uptime": "100ms", "watch": ["src"], "watch_delay": 100,
		"health": {"exec": "test ! -e ill", "interval": "500ms"}},
	{"name": "hangs", "script": "./life.sh", "args": "hangs", "min_uptime": "100ms", "health": {"exec": "exec sleep 1000", "interval": "500ms", "timeout": "1s"}},
	{"name": "talk", "script": "./cut.js", "min_uptime": "100ms", "ready": "message", "ready_timeout": "10s", "stdin": true},
	{"name": "idle", "script": "./life.sh", "args": "idle", "min_uptime": "100ms"}]}`

// lifeClients are the commands that die at a random moment.
var lifeClients = []string{
	"restart hooked", "stop hooked", "start hooked", "restart talk", "stop tick", "start tick", "restart long", "ls", "restart hooked", "run tick", "restart watched",
}

// household is one such run.
type household struct {
	*chaos
	edits int
	cuts  []time.Time // when something happened that may cut what is talked by
}

func TestChaosOfLife(t *testing.T) {
	g := newGopm(t)
	span := spanOf(t, chaosSwitch, 8*time.Second)
	for _, name := range []string{"life.sh", "cut.js"} {
		text, err := os.ReadFile("testdata/" + name)
		must(t, err)
		must(t, os.Chmod(g.file(name, string(text)), 0o755))
	}
	g.file("src/a", "")
	l := &household{chaos: newChaos(g, nil)}
	t.Cleanup(l.explain)
	g.run("start", g.file("cast.json", lifeCast), "--no-wait")
	g.awaitStatus("idle", "online")
	g.run("stop", "idle")
	g.file("idle.stopped", "")
	ctx, cancel := context.WithCancel(context.Background())
	var chain sync.WaitGroup
	chain.Go(func() { l.workTheChain(ctx) })
	defer chain.Wait()
	defer cancel()
	plan := planFaults(chaosSeed(t), span, [deeds]int{killDaemon: 6, killKeeper: 2, killBoth: 1, killApp: 5, killClient: 10, updateBinary: 1})
	for _, f := range plan {
		<-time.After(f.after)
		if l.act(f); l.isWrong() || t.Failed() {
			break
		}
	}
	cancel()
	chain.Wait()
	if !l.isWrong() {
		l.calmDown()
	}
	l.wasRight()
	l.leavesNothing()
	t.Logf("%d faults, %d daemons killed", len(plan), l.lives)
	lacks(t, "gopm.log", g.log(), "panic:", "fatal error:", "goroutine ")
}

// act is one deed. To the watched app are done edits, too, and it is ill for a while.
func (l *household) act(f fault) {
	l.Helper()
	switch f.deed {
	case killClient:
		l.killClient(lifeClients[f.victim%len(lifeClients)], 5*f.delay)
	case updateBinary:
		l.note("%v: %v", f.deed, l.try("update"))
	case killApp:
		switch what := []string{"hooked", "cron", "pre_start", "edit", "ill"}[f.victim%5]; what {
		case "edit":
			l.edit()
		case "ill":
			if os.Remove(filepath.Join(l.dir, "ill")) != nil {
				l.file("ill", "")
			}
		default:
			if pid := l.pidOf(what); pid != 0 && l.isOurs(pid) {
				strike(pid)
				l.note("%v %s, pid %d", f.deed, what, pid)
			}
		}
	default:
		if f.deed != killDaemon {
			l.cuts = append(l.cuts, time.Now())
		}
		l.do(f)
	}
}

func (l *household) edit() {
	l.edits++
	l.file("src/a", strconv.Itoa(l.edits))
	l.note("edit")
}

// pidOf is the process that has done something last, 0 if there was none.
func (l *household) pidOf(what string) int {
	text, _ := os.ReadFile(filepath.Join(l.dir, what+".pid")) // none yet
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))   // it is just being written
	return pid
}

// isOurs says that a pid that was read is no other's by now.
func (l *household) isOurs(pid int) bool {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && dir == l.dir
}

// isWrong says that something was that must never be.
func (l *household) isWrong() bool { return len(l.wrongs()) > 0 }

// wrongs are the notes of what must never be. Who was started by a command, or ended by one,
// just before the death of both is taken for one that has crashed: that is restarted at once,
// whatever it depends on.
func (l *household) wrongs() []string {
	return slices.DeleteFunc(l.notes("wrong"), func(line string) bool {
		return strings.Contains(line, "was started before") && l.isExcused(line)
	})
}

// notes are the lines of a file to which programs write; none: there is no file.
func (l *household) notes(name string) (all []string) {
	text, _ := os.ReadFile(filepath.Join(l.dir, name))
	for line := range strings.Lines(string(text)) {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

// isExcused says that a note was made when keeper and daemon may have been dead, or just
// after.
func (l *household) isExcused(line string) bool {
	word, _, _ := strings.Cut(line, " ")
	ns, err := strconv.ParseInt(word, 10, 64)
	must(l.T, err)
	return slices.ContainsFunc(l.cuts, func(at time.Time) bool {
		since := time.Unix(0, ns).Sub(at)
		return since > -time.Second && since < 5*time.Second
	})
}

// workTheChain restarts, stops and starts the apps that depend on one another, each time when
// they have come to rest. A command may fail: its daemon dies.
func (l *household) workTheChain(ctx context.Context) {
	all := []string{"restart db api web", "stop db api web", "start web", "restart web", "stop web api", "start api web db"}
	for i := 0; ctx.Err() == nil; i++ {
		args := strings.Fields(all[i%len(all)])
		r, err := l.finish(l.command(args...))
		if err != nil {
			l.Errorf("%v: %v, %v", args, err, r)
			return
		}
		for ctx.Err() == nil && !l.isAtRest("db", "api", "web") {
			select {
			case <-ctx.Done():
			case <-time.After(interval):
			}
		}
	}
}

// isAtRest says that apps are online or stopped, and wait for nothing.
func (l *household) isAtRest(names ...string) bool {
	r, err := l.finish(l.command("ls", "--json"))
	var rows []api.Instance
	if err != nil || r.code != 0 || json.Unmarshal([]byte(r.out), &rows) != nil {
		return false
	}
	return !slices.ContainsFunc(rows, func(in api.Instance) bool {
		p := in.Process
		return slices.Contains(names, in.Name) && (p.Waits != "" || p.Status != "online" && p.Status != "stopped")
	})
}

// calmDown has everything run that should, and waits for that.
func (l *household) calmDown() {
	l.Helper()
	l.present()
	_ = os.Remove(filepath.Join(l.dir, "ill")) // it may be well
	eventually(l.T, soon, func() error {
		if r := l.try("start", "db", "api", "web", "hooked", "talk", "tick", "long", "--no-wait"); r.code != 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	want := map[string]string{"idle": "stopped", "stuck": "launching", "never": "launching", "hangs": "launching"}
	for _, name := range []string{"db", "api", "web", "hooked", "cron", "watched", "talk"} {
		want[name] = "online"
	}
	eventually(l.T, 3*soon, func() error {
		rows := l.instances()
		for name, status := range want {
			if p := rows[name].Process; p.Status != status && !(name == "cron" && p.Status == "launching") {
				l.blame = []string{name}
				return fmt.Errorf("%s is %+v, want it %s", name, p, status)
			}
		}
		for _, name := range []string{"tick", "long"} {
			if p := rows[name].Process; !p.Scheduled {
				return fmt.Errorf("%s: %+v", name, p)
			}
		}
		if h := rows["watched"].Health; h == nil || h.State != "healthy" {
			return fmt.Errorf("watched: %+v", h)
		}
		return nil
	})
	l.awaitWatching()
	before := l.app("watched").Env.Restarts
	l.edit()
	l.await("watched", "a restart", func(e entry) bool { return e.Env.Restarts > before && e.Env.Status == "online" })
}

func (l *household) awaitWatching() {
	l.Helper()
	eventually(l.T, soon, func() error {
		if info := l.run("info", "watched"); !strings.Contains(info, "the kernel (inotify)") {
			return fmt.Errorf("it is not watched:\n%s", info)
		}
		return nil
	})
}

// wasRight looks at what the programs have noted.
func (l *household) wasRight() {
	l.Helper()
	if all := l.wrongs(); len(all) > 0 {
		l.blame = append(l.blame, "db", "api", "web", "hooked", "stuck", "idle", "tick", "long")
		l.Errorf("what must never be:\n%s", strings.Join(all, "\n"))
	}
	for _, line := range l.notes("cut") {
		if !l.isExcused(line) {
			l.wrong("talk", "talk noticed: %s", line)
		}
	}
	l.oncePerTime()
}

// oncePerTime fails if a job was run twice for one time. A run that has begun and ended just
// before the death of both may be made again, and who runs it by hand does that.
func (l *household) oncePerTime() {
	l.Helper()
	const every = 3 * time.Second
	all := l.notes("tick.runs")
	seen, twice := map[int64]bool{}, 0
	for _, line := range all {
		ns, err := strconv.ParseInt(line, 10, 64)
		must(l.T, err)
		if due := ns / int64(every); seen[due] {
			twice++
		} else {
			seen[due] = true
		}
	}
	byHand := strings.Count(strings.Join(l.diary, "\n"), "gopm run tick")
	if most := byHand + len(l.cuts); twice > most {
		l.wrong("tick", "tick was run %d times once more for its time, want at most %d:\n%s", twice, most, strings.Join(all, "\n"))
	}
}

// leavesNothing deletes all apps: then the daemon has open what a new one has.
func (l *household) leavesNothing() {
	l.Helper()
	l.run("delete", "all")
	used := func() demand { return demandOf(l.T, l.daemonNow()) }
	after := used()
	l.nextDaemon()
	l.run("ping")
	if fresh := used(); after.files > fresh.files+play.files {
		l.Errorf("after all apps were deleted the daemon needs %v; a new one: %v", after, fresh)
	}
}

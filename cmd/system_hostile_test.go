package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gopm/bench/load"
)

// A hostile app: whatever a program does, gopm stays small and the apps beside it don't
// feel it. testdata/hostile.* are such programs; beside them runs a web server under a
// steady load, and a quiet program that writes numbered lines and has to be heard by its
// watchdog.

// attack is what a hostile app does.
type attack struct {
	name, script string
	fields       string  // of the app
	leaves       int     // processes that it has in the end, besides itself
	share        float64 // of one processor: so much gopm may take for it, at most; 0: what it sends is to be moved
}

// cost is what gopm has used so far: processor time of daemon and keeper, and memory.
type cost struct {
	at     time.Time
	cpu    time.Duration
	memory int64
}

func (g *gopm) costs() cost {
	g.Helper()
	daemon, keeper := g.daemon()
	c := cost{at: time.Now()}
	for _, pid := range []int{daemon, keeper} {
		var used unix.Timespec
		const clockOf = 2 // clock_getcpuclockid(3): the CPU clock of another process
		must(g.T, unix.ClockGettime(int32(^pid<<3|clockOf), &used))
		c.cpu += time.Duration(used.Nano())
		c.memory += proportional(g.T, pid)
	}
	return c
}

// proportional is the memory of a process (PSS).
func proportional(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "\nPss:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	must(t, err)
	return kb << 10
}

// mostShare of a processor is what a flood may take of gopm: a burst, then a small share.
const mostShare = 0.45

// mostMemory is what an attack may add: all that it can fill is bounded, and small.
const mostMemory = 24 << 20

func TestHostileApps(t *testing.T) {
	g := newGopm(t)
	g.file("hostile.py", readFile(t, "testdata/hostile.py"))
	g.file("hostile.js", readFile(t, "testdata/hostile.js"))
	quiet := g.file("quiet.py", quietProgram)
	web := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "go", web, `"instances": 2`)
	g.run("start", g.file("quiet.json", fmt.Sprintf(`{"apps": [{"name": "quiet", "script": %q, "interpreter": "python3", "ready": "message", "health": {"watchdog": "5s"}}]}`, quiet)))
	before := g.pids()
	g.during("nothing", web, 0, func() { load.Run(t.Context(), load.Plan{Target: web, Rate: 5, Count: 5, Timeout: 2 * soon}) })
	for _, a := range attacks(before["quiet:0"], freePort(t)) {
		g.suffers(a, web)
	}
	g.strangers(before["quiet:0"], web)
	g.crashers(web)
	for name, pid := range g.pids() {
		if pid != before[name] {
			t.Errorf("%s is pid %d, was %d", name, pid, before[name])
		}
	}
	n := 0
	for line := range strings.Lines(readFile(t, g.app("quiet").Env.Out)) {
		if !strings.HasSuffix(line, "\n") { // python -u writes a line in parts
			break
		}
		if want := fmt.Sprintf("tick %d\n", n); line != want {
			t.Fatalf("the quiet app's log has %q, want %q", line, want)
		}
		n++
	}
	lacks(t, "gopm's log", g.log(), "quiet:0 (id 2) stopping", "watchdog")
	isTame(t, "gopm's log", g.log())
}

// suffers lets a hostile app run.
func (g *gopm) suffers(a attack, web string) {
	g.Helper()
	name := "bad-" + a.name
	file := g.file(name+".json", fmt.Sprintf(`{"apps": [{"name": %q, %s, %s, %s}]}`, name, a.script, quick, a.fields))
	g.during(a.name, web, a.share, func() {
		if r := g.try("start", file, "--wait", "0"); r.code != 0 {
			g.Fatalf("%s: %v", a.name, r)
		}
		eventually(g.T, 3*soon, func() error { _, err := os.Stat(filepath.Join(g.dir, a.name+".done")); return err })
	})
	if n := len(g.hostiles()) - 1; n < a.leaves {
		g.Errorf("%s has left %d processes, want %d", name, n, a.leaves)
	}
	g.run("delete", name)
	for _, p := range g.hostiles() {
		g.Errorf("%s: left running: %s", a.name, p)
	}
}

// hostiles are the processes of the hostile app.
func (g *gopm) hostiles() (found []process) {
	for _, p := range belongingTo(g.home) {
		if strings.Contains(p.cmdline, "hostile.") {
			found = append(found, p)
		}
	}
	return found
}

// strangers floods the socket of sd_notify by a program that isn't gopm's, which speaks
// for the quiet app.
func (g *gopm) strangers(victim int, web string) {
	g.Helper()
	g.during("stranger", web, mostShare, func() {
		cmd := exec.Command("python3", "hostile.py", "notifies")
		cmd.Dir = g.dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "NOTIFY_SOCKET=" + g.notifyName(), fmt.Sprintf("VICTIM=%d", victim), "ENDS=1"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			g.Fatalf("%v: %s", err, out)
		}
	})
	if n := strings.Count(g.log(), "is somebody else"); n == 0 || n > 3 {
		g.Errorf("it was said %d times that somebody else was not believed", n)
	}
}

// crashers are fifty programs that end at once, for ever.
func (g *gopm) crashers(web string) {
	g.Helper()
	const n = 50
	file := g.file("crash.json", fmt.Sprintf(`{"apps": [{"name": "crash", "script": "/bin/false", "exec_mode": "fork", "instances": %d, "min_uptime": "1s"}]}`, n))
	g.during("crashers", web, 0, func() {
		if r := g.try("start", file, "--no-wait"); r.code != 0 {
			g.Fatal(r)
		}
		eventually(g.T, 3*soon, func() error {
			for _, r := range g.all() {
				if r.Name == "crash" && r.Process.Restarts < 4 {
					return fmt.Errorf("%s:%d was restarted %d times", r.Name, r.Index, r.Process.Restarts)
				}
			}
			return nil
		})
	})
	for _, r := range g.all() {
		if r.Name == "crash" && r.Process.Status == "online" {
			g.Errorf("it is shown as online: %+v", r.Process)
		}
	}
	contains(g.T, "gopm's log", g.log(), "4 unstable exits in a row")
	g.run("delete", "crash")
}

// during says what something has cost gopm and its apps.
func (g *gopm) during(what, web string, most float64, act func()) {
	g.Helper()
	beside := load.Start(g.Context(), load.Plan{Target: web, Rate: 50, Timeout: 2 * soon})
	first := g.costs()
	act()
	last := g.costs()
	g.run("ls")
	ticks := g.ticks()
	eventually(g.T, soon, func() error {
		if now := g.ticks(); now <= ticks {
			return fmt.Errorf("the quiet app's log has %d lines, and had %d", now, ticks)
		}
		return nil
	})
	beside.Stop()
	r := beside.Wait()
	if r.Failed() > 0 || r.OK == 0 {
		g.Errorf("%s: the web server beside: %s", what, r.Text())
	}
	took := last.at.Sub(first.at)
	share := float64(last.cpu-first.cpu) / float64(took)
	g.Logf("%-9s %5.1f s, cpu %3.0f %%, memory %5.1f MB → %5.1f MB; %d answers beside: %v", what, took.Seconds(), 100*share, mb(first.memory), mb(last.memory), r.OK, r.Fast)
	if most > 0 && share > most {
		g.Errorf("%s: gopm took %.2f of a processor, want %.2f at most", what, share, most)
	}
	if last.memory-first.memory > mostMemory {
		g.Errorf("%s: gopm's memory went from %.1f MB to %.1f MB", what, mb(first.memory), mb(last.memory))
	}
}

func mb(n int64) float64 { return float64(n) / (1 << 20) }

// ticks is how many lines the quiet app's log has.
func (g *gopm) ticks() int {
	g.Helper()
	return strings.Count(readFile(g.T, g.app("quiet").Env.Out), "\n")
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

const quietProgram = `
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("\0" + os.environ["NOTIFY_SOCKET"][1:])
s.send(b"READY=1")
n = 0
while True:
    print("tick", n, flush=True)
    if n % 20 == 0: s.send(b"WATCHDOG=1")
    n += 1
    time.sleep(0.02)
`

// attacks are of all kinds; victim is whose place one of them takes.
func attacks(victim, port int) []attack {
	python := func(kind string) string {
		return fmt.Sprintf(`"script": "hostile.py", "interpreter": "python3", "args": %q`, kind)
	}
	return []attack{
		{"binds", python("binds"), fmt.Sprintf(`"exec_mode": "cluster", "instances": 1, "env": {"A_PORT": %d}`, port), 0, mostShare},
		{"notifies", python("notifies"), fmt.Sprintf(`"env": {"VICTIM": "%d"}`, victim), 0, mostShare},
		{"endless", python("endless"), `"merge_logs": true`, 0, 0},
		{"binary", python("binary"), `"time": true`, 0, 0},
		{"short", python("short"), `"log_type": "json"`, 0, 0},
		{"pipes", python("pipes"), `"merge_logs": false`, 0, 0},
		{"ipc", `"script": "hostile.js"`, `"stdin": true`, 0, mostShare},
		{"forks", python("forks"), `"kill_timeout": "500ms"`, 30, 0},
		{"stubborn", python("stubborn"), `"kill_timeout": "500ms"`, 1, mostShare},
	}
}

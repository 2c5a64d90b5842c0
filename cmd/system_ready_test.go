package cmd_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"gopm/daemon/api"
)

// row is one instance of ls.
func (g *gopm) row(name string, index int) api.Instance {
	g.Helper()
	for _, r := range g.all() {
		if r.Name == name && r.Index == index {
			return r
		}
	}
	g.Fatalf("there is no %s:%d", name, index)
	return api.Instance{}
}

// awaitReady waits until an instance is ready, or isn't though it runs.
func (g *gopm) awaitReady(name string, index int, ready bool) {
	g.Helper()
	eventually(g.T, 2*soon, func() error {
		if p := g.row(name, index).Process; p.Pid == 0 || p.NotReady == ready || ready && p.Status != "online" {
			return fmt.Errorf("%s:%d: %+v", name, index, p)
		}
		return nil
	})
}

// speaks says that it is ready when there is a file for its instance: on stderr, in two
// pieces; and before that much that only looks like it.
const speaks = `echo "not yet Listening on nothing"; i=$NODE_APP_INSTANCE
while ! [ -e go$i ]; do sleep 0.02; done
printf 'Listening on ' >&2; printf '80%s\n' $i >&2
exec sleep 1000`

// TestReadyByLog: the line of one instance doesn't make another ready, whatever becomes of
// the lines.
func TestReadyByLog(t *testing.T) {
	for name, fields := range map[string]string{
		"files":    ``,
		"merged":   `, "merge_logs": true`,
		"json":     `, "log_type": "json"`,
		"dated":    `, "time": true`,
		"nowhere":  `, "out_file": "/dev/null", "error_file": "/dev/null"`,
		"combined": `, "log_file": "all.log"`,
	} {
		t.Run(name, func(t *testing.T) {
			g := newGopm(t)
			g.script("speaks", speaks)
			g.run("start", "--no-wait", g.file("eco.json", `{"apps": [{"name": "speaks", "script": "./speaks", "instances": 2, "min_uptime": "100ms",
				"ready": {"log": "^Listening on \\d+$"}`+fields+`}]}`))
			g.awaitReady("speaks", 0, false)
			g.awaitReady("speaks", 1, false)
			g.file("go1", "")
			g.awaitReady("speaks", 1, true)
			g.awaitReady("speaks", 0, false)
			g.file("go0", "")
			g.awaitReady("speaks", 0, true)
			must(t, os.Remove(g.dir+"/go1"))
			g.run("restart", "--no-wait", "speaks")
			g.awaitReady("speaks", 0, true)
			g.awaitReady("speaks", 1, false)
		})
	}
}

// TestAHookMakesNobodyReady: what pre_start writes isn't the program's.
func TestAHookMakesNobodyReady(t *testing.T) {
	g := newGopm(t)
	g.script("speaks", speaks)
	g.run("start", "--no-wait", g.file("eco.json", `{"apps": [{"name": "speaks", "script": "./speaks", "min_uptime": "100ms",
		"pre_start": "echo Listening on 1", "ready": {"log": "^Listening on \\d+$"}}]}`))
	g.fileSays(g.app("speaks").Env.Out, "not yet Listening")
	g.awaitReady("speaks", 0, false)
	g.file("go0", "")
	g.awaitReady("speaks", 0, true)
}

// TestReadyByLogAfterADeath: a line that is written before, while or after another daemon
// comes makes it ready.
func TestReadyByLogAfterADeath(t *testing.T) {
	g := newGopm(t)
	g.script("speaks", speaks)
	g.run("start", "--no-wait", g.file("eco.json", `{"apps": [{"name": "speaks", "script": "./speaks", "instances": 2, "min_uptime": "100ms",
		"ready": {"log": "^Listening on \\d+$"}}]}`))
	g.awaitReady("speaks", 0, false)
	old := g.daemonNow()
	if !strike(old) {
		t.Fatal("there is no daemon")
	}
	g.file("go0", "")
	g.another("daemon", g.daemonNow, old)
	g.awaitReady("speaks", 0, true)
	g.awaitReady("speaks", 1, false)
	g.nextDaemon()
	g.file("go1", "")
	g.awaitReady("speaks", 1, true)
}

// TestNeverReadyByLog: the start says so, and so does the reason of the restart.
func TestNeverReadyByLog(t *testing.T) {
	g := newGopm(t)
	g.script("silent", "echo I have other things to say; exec sleep 1000")
	g.fail(1, []string{"silent", "not ready within 1s", "I have other things to say"}, "start",
		g.file("eco.json", `{"apps": [{"name": "silent", "script": "./silent", "min_uptime": "100ms", "ready": {"log": "ready"}, "ready_timeout": "1s"}]}`))
	e := g.await("silent", "a restart", func(e entry) bool { return e.Env.Restarts > 0 })
	if e.Env.Status == "online" {
		t.Error("it is online")
	}
}

// TestReadyByPort: in fork mode an app is ready when a process of it listens, be it one that
// it has started.
func TestReadyByPort(t *testing.T) {
	g := newGopm(t)
	text, err := os.ReadFile("testdata/sick.py")
	must(t, err)
	server := g.file("sick.py", string(text))
	port, other := freePort(t), freePort(t)
	g.script("wrapped", fmt.Sprintf("python3 %s %d 1 & wait", server, port))
	g.script("elsewhere", fmt.Sprintf("exec python3 %s %d", server, other))
	g.run("start", "--no-wait", g.file("eco.json", fmt.Sprintf(`{"apps": [
		{"name": "wrapped", "script": "./wrapped", "min_uptime": "100ms", "ready": %d},
		{"name": "elsewhere", "script": "./elsewhere", "min_uptime": "100ms", "ready": %d}]}`, port, port)))
	g.awaitReady("wrapped", 0, false)
	g.awaitReady("wrapped", 0, true)
	if pid, err := getText(fmt.Sprintf("http://127.0.0.1:%d/", port)); err != nil || pid == "" {
		t.Errorf("it is ready and answers %q, %v", pid, err)
	}
	eventually(t, soon, func() error {
		_, err := getText(fmt.Sprintf("http://127.0.0.1:%d/", other))
		return err
	})
	g.awaitReady("elsewhere", 0, false) // another's port is not its own
	g.run("delete", "wrapped")
	g.nextDaemon()
	g.script("elsewhere", fmt.Sprintf("exec python3 %s %d", server, port))
	g.run("restart", "--no-wait", "elsewhere")
	g.awaitReady("elsewhere", 0, true)
	if n := strings.Count(g.log(), "elsewhere:0 (id 1) ready after"); n > 1 {
		t.Errorf("it is said to be ready %d times", n)
	}
}

// TestNeverReadyByHealth: what the check said is the reason.
func TestNeverReadyByHealth(t *testing.T) {
	g := newGopm(t)
	g.fail(1, []string{"ill:0 failed: not ready within 1s", "its health check says", "no database"}, "start",
		g.file("eco.json", `{"apps": [{"name": "ill", "script": "sleep 1000", "min_uptime": "100ms", "health": {"exec": "echo no database; exit 1", "interval": "200ms"}, "ready_timeout": "1s"}]}`))
}

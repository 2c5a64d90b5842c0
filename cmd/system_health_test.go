package cmd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gopm/daemon/api"
)

// sick starts the server of testdata/sick.py with a health check each second; health is what
// else is said of that.
func (g *gopm) sick(args, fields, health string) (port int) {
	g.Helper()
	text, err := os.ReadFile("testdata/sick.py")
	must(g.T, err)
	port = freePort(g.T)
	g.run("start", "--no-wait", g.file("sick.json", fmt.Sprintf(`{"apps": [{"name": "sick", "script": %q, "interpreter": "python3", "args": "%d %s", "port": %d, "min_uptime": "200ms",
		"health": {"http": "http://127.0.0.1:{port}/health", "interval": "1s", "retries": 2%s}%s}]}`,
		g.file("sick.py", string(text)), port, args, port, health, fields)))
	return port
}

// all are the rows of ls.
func (g *gopm) all() (rows []api.Instance) {
	g.Helper()
	must(g.T, json.Unmarshal([]byte(g.run("ls", "--json")), &rows))
	return rows
}

// healthIs waits until the instances of the only app have these states, by number.
func (g *gopm) healthIs(states ...string) (rows []api.Instance) {
	g.Helper()
	eventually(g.T, 3*soon, func() error {
		rows = g.all()
		if len(rows) != len(states) {
			return fmt.Errorf("%d instances", len(rows))
		}
		for _, r := range rows {
			if r.Health == nil || r.Health.State != states[r.Index] || r.Process.Status != "online" {
				return fmt.Errorf("%d is %s, %+v, want %s", r.Index, r.Process.Status, r.Health, states[r.Index])
			}
		}
		return nil
	})
	return rows
}

func getText(url string) (string, error) {
	client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// TestHealthIsShown: an app that starts slowly is ready with its first good answer; when it
// answers badly that is said everywhere, and so is that it is well again.
func TestHealthIsShown(t *testing.T) {
	g := newGopm(t)
	g.sick("3", "", "")
	eventually(t, soon, func() error {
		if out := g.run("ls"); !strings.Contains(out, "launching (not ready") {
			return errors.New(out)
		}
		return nil
	})
	first := g.healthIs("healthy")[0]
	if first.Process.Restarts != 0 || first.Process.NotReady {
		t.Errorf("%+v", first.Process)
	}
	g.file("state", "no database\nat all")
	g.healthIs("unhealthy")
	contains(t, "ls", g.run("ls"), "online (unhealthy)")
	contains(t, "info", g.run("info", "sick"), "unhealthy for", "/health: 503 Service Unavailable no database at all", "each 1s")
	contains(t, "jlist", g.run("jlist"), `"gopm_health":{"state":"unhealthy"`)
	contains(t, "the log", g.log(), "sick:0 (id 0) unhealthy: GET http://127.0.0.1:", "503 Service Unavailable no database at all")
	must(t, os.Remove(filepath.Join(g.dir, "state")))
	again := g.healthIs("healthy")[0]
	if again.Process.Pid != first.Process.Pid {
		t.Error("it was restarted, and was to be marked alone")
	}
	g.run("stop", "sick")
	if h := g.all()[0].Health; h != nil {
		t.Errorf("a stopped instance has %+v", h)
	}
}

// savedAs waits until the health of an instance of the only app is in the state file: a
// moment after it is known it survives any death.
func (g *gopm) savedAs(index int, state string) {
	g.Helper()
	eventually(g.T, soon, func() error {
		s, err := api.Home{Dir: g.home}.LoadState()
		if err == nil && s.Apps[0].Instances[index].Health.State != state {
			err = fmt.Errorf("saved as %s", s.Apps[0].Instances[index].Health.State)
		}
		return err
	})
}

// TestHealthOfAnotherDaemon: what was known is known to the next daemon, which restarts
// nobody before it has looked itself.
func TestHealthOfAnotherDaemon(t *testing.T) {
	g := newGopm(t)
	g.sick("", "", "")
	was := g.healthIs("healthy")[0]
	g.file("state", "out of order")
	g.healthIs("unhealthy")
	g.savedAs(0, "unhealthy")
	g.nextDaemon()
	now := g.all()[0]
	if now.Health == nil || now.Health.State != "unhealthy" || now.Health.Since.IsZero() || now.Process.Pid != was.Process.Pid {
		t.Errorf("after the death of the daemon: %+v", now.Health)
	}
	must(t, os.Remove(filepath.Join(g.dir, "state")))
	g.healthIs("healthy")
	if n := strings.Count(g.log(), " healthy\n"); n != 2 {
		t.Errorf("it is said to be healthy %d times, want at the start and at last:\n%s", n, g.log())
	}
}

// TestUnhealthyIsAvoided: in cluster mode each instance is checked itself though they share
// the port, and clients are served by those that are healthy.
func TestUnhealthyIsAvoided(t *testing.T) {
	g := newGopm(t)
	port := g.sick("", `, "instances": 3, "exec_mode": "cluster"`, "")
	g.healthIs("healthy", "healthy", "healthy")
	g.file("state.1", "ill")
	rows := g.healthIs("healthy", "unhealthy", "healthy")
	ill := ""
	for _, r := range rows {
		if r.Index == 1 {
			ill = strconv.Itoa(r.Process.Pid)
		}
	}
	avoided := func(when string) {
		for range 40 {
			if pid, err := getText(fmt.Sprintf("http://127.0.0.1:%d/", port)); err != nil || pid == ill {
				t.Fatalf("%s: %s answers, %v; %s is unhealthy", when, pid, err, ill)
			}
		}
	}
	avoided("when it is known")
	contains(t, "info", g.run("info", "sick"), "new connections go to instances that are healthy")
	g.savedAs(1, "unhealthy")
	g.nextDaemon()
	g.run("ping")
	avoided("under the next daemon")
	must(t, os.Remove(filepath.Join(g.dir, "state.1")))
	g.healthIs("healthy", "healthy", "healthy")
	eventually(t, soon, func() error {
		if pid, err := getText(fmt.Sprintf("http://127.0.0.1:%d/", port)); err != nil || pid != ill {
			return fmt.Errorf("%s answers, %v; %s is healthy again", pid, err, ill)
		}
		return nil
	})
}

// TestAHangingCheckDelaysNobody: it is ended at its timeout, and the others are checked
// meanwhile as ever.
func TestAHangingCheckDelaysNobody(t *testing.T) {
	g := newGopm(t)
	g.sick("", `, "instances": 2, "exec_mode": "cluster"`, "")
	g.healthIs("healthy", "healthy")
	g.file("state.0", "hang")
	rows := g.healthIs("unhealthy", "healthy")
	contains(t, "info", g.run("info", "sick"), "/health: not done within 3s")
	var checks [2]int
	for _, r := range rows {
		checks[r.Index] = r.Health.Checks
	}
	if checks[1] < checks[0]+3 {
		t.Errorf("%d checks of the instance that hangs, %d of the other one", checks[0], checks[1])
	}
}

// checksSo is how many checks there were of each instance, by id.
func (g *gopm) checksSo() map[int]int {
	g.Helper()
	all := map[int]int{}
	for _, r := range g.all() {
		if r.Health != nil {
			all[r.ID] = r.Health.Checks
		}
	}
	return all
}

// leftAlone is how many of some instances have the same process as then.
func (g *gopm) leftAlone(before []api.Instance) (same int) {
	g.Helper()
	for _, r := range g.all() {
		for _, b := range before {
			if b.ID == r.ID && b.Process.Pid == r.Process.Pid {
				same++
			}
		}
	}
	return same
}

// TestUnhealthyIsRestarted: one at a time, and the next one only when the first is healthy
// again.
func TestUnhealthyIsRestarted(t *testing.T) {
	g := newGopm(t)
	g.sick("", `, "instances": 3, "exec_mode": "cluster"`, `, "on_fail": "restart"`)
	before := g.healthIs("healthy", "healthy", "healthy")
	g.file("state", "ill")
	eventually(t, 3*soon, func() error {
		for _, r := range g.all() {
			if r.Process.LastExit != nil && strings.HasPrefix(r.Process.LastExit.Fault, "unhealthy: GET ") {
				return nil
			}
		}
		return fmt.Errorf("nobody was restarted")
	})
	eventually(t, 3*soon, func() error { // it comes back, and can't get ready; the others are unhealthy and go on
		ill := 0
		for _, r := range g.all() {
			if r.Health != nil && r.Health.State == "unhealthy" {
				ill++
			}
		}
		if ill != 2 {
			return fmt.Errorf("%d are unhealthy, want the two that were not restarted", ill)
		}
		return nil
	})
	if same := g.leftAlone(before); same != 2 {
		t.Errorf("%d were left alone, want 2", same)
	}
	g.nextDaemon() // it sees by the last exit that one is on its way back
	seen := g.checksSo()
	eventually(t, 3*soon, func() error {
		for id, n := range g.checksSo() {
			if n < seen[id]+3 && n > 0 {
				return fmt.Errorf("%d: %d checks, and %d of the daemon before", id, n, seen[id])
			}
		}
		return nil
	})
	if same := g.leftAlone(before); same != 2 {
		t.Errorf("the next daemon has left %d alone, want 2", same)
	}
	must(t, os.Remove(filepath.Join(g.dir, "state")))
	g.healthIs("healthy", "healthy", "healthy")
	contains(t, "the log", g.log(), "was ended (unhealthy: GET http://127.0.0.1:")
}

// TestWhatCannotBeChecked is a state that says what happened: a command that there isn't, a
// port on which nobody listens.
func TestWhatCannotBeChecked(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	closed := freePort(t)
	kinds := map[string]string{
		"command": `"exec": "no-such-check --all"`,
		"refused": fmt.Sprintf(`"tcp": "127.0.0.1:%d"`, closed),
		"slow":    `"exec": "echo looking >&2; sleep 1000"`,
		"well":    `"exec": "test -n \"$GOPM_PID\""`,
	}
	var apps []string
	for name, check := range kinds {
		apps = append(apps, fmt.Sprintf(`{"name": %q, "script": "./run", "min_uptime": "100ms", "ready": "uptime", "health": {%s, "interval": "1s", "timeout": "1s", "retries": 1}}`, name, check))
	}
	g.run("start", "--no-wait", g.file("eco.json", `{"apps": [`+strings.Join(apps, ",")+`]}`))
	want := map[string]string{
		"command": "not found",
		"refused": fmt.Sprintf("tcp 127.0.0.1:%d: connection refused", closed),
		"slow":    "sleep 1000: not done within 1s",
	}
	eventually(t, 3*soon, func() error {
		for name, r := range g.instances() {
			state := "unhealthy"
			if name == "well" {
				state = "healthy"
			}
			if r.Health == nil || r.Health.State != state || !strings.Contains(r.Health.Error, want[name]) {
				return fmt.Errorf("%s: %+v, want %s: %s", name, r.Health, state, want[name])
			}
		}
		return nil
	})
	g.run("stop", "slow")
	eventually(t, soon, func() error {
		for _, p := range belongingTo(g.home) {
			if strings.Contains(p.cmdline, "looking") {
				return fmt.Errorf("its check still runs: %s", p)
			}
		}
		return nil
	})
}

// TestReloadOfUnhealthyApps: a new process that doesn't get healthy is not taken, and the old
// one stays; one that does is.
func TestReloadOfUnhealthyApps(t *testing.T) {
	g := newGopm(t)
	g.sick("", `, "instances": 2, "exec_mode": "cluster", "listen_timeout": "3s"`, "")
	before := g.healthIs("healthy", "healthy")
	g.file("state", "ill")
	g.fail(1, []string{"isn't ready after 3s"}, "reload", "sick")
	pids := map[int]bool{}
	for _, r := range append(before, g.all()...) {
		pids[r.Process.Pid] = true
	}
	if len(pids) != 2 {
		t.Errorf("a process that was not healthy has taken the place of one that was: %v", pids)
	}
	must(t, os.Remove(filepath.Join(g.dir, "state")))
	g.run("reload", "sick")
	for _, r := range g.healthIs("healthy", "healthy") {
		if pids[r.Process.Pid] {
			t.Errorf("%d was not replaced", r.Process.Pid)
		}
	}
}

// TestSparesAreReadyWithoutChecks: one that is held before it listens can't answer, and is
// not checked before it has a place.
func TestSparesAreReadyWithoutChecks(t *testing.T) {
	g := newGopm(t)
	g.sick("", `, "instances": 1, "spares": 1, "exec_mode": "cluster"`, "")
	var active, spare api.Instance
	eventually(t, 3*soon, func() error {
		for _, r := range g.all() {
			switch {
			case r.Process.Standby && !r.Process.NotReady && r.Health == nil:
				spare = r
			case r.Health != nil && r.Health.State == "healthy":
				active = r
			}
		}
		if active.Process.Pid == 0 || spare.Process.Pid == 0 || active.ID == spare.ID {
			return fmt.Errorf("active %+v, spare %+v", active.Process, spare.Process)
		}
		return nil
	})
	g.killHard(active.Process.Pid)
	eventually(t, 3*soon, func() error {
		for _, r := range g.all() {
			if r.ID == spare.ID && r.Process.Pid == spare.Process.Pid && r.Health != nil && r.Health.State == "healthy" {
				return nil
			}
		}
		return fmt.Errorf("the spare isn't checked now that it has the place")
	})
}

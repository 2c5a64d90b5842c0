package cmd_test

import (
	"encoding/json"
	"fmt"
	"testing"
)

// wellIs runs healthcheck, which has to say that all is well, or else why not.
func (g *gopm) wellIs(want bool, words string, args ...string) {
	g.Helper()
	r := g.try(append([]string{"healthcheck"}, args...)...)
	if (r.code == 0) != want || r.code > 1 || r.err != "" {
		g.Errorf("healthcheck %v: want %v, got %v", args, want, r)
	}
	contains(g.T, "healthcheck", r.out, words)
}

// The exit code is 0 when all is well and else 1, never 2, which Docker has reserved.
func TestHealthcheck(t *testing.T) {
	g := newGopm(t)
	g.wellIs(false, "not healthy: daemon not running")
	g.script("flag", "until [ -e up ]; do sleep 0.02; done; echo is up; exec sleep 1000")
	g.script("once", "exit 0")
	g.script("fails", "exit 3")
	g.sleeper("run")
	g.file("eco.json", `{"apps": [
		{"name": "web", "script": "./flag", "ready": {"log": "is up"}, "min_uptime": "100ms"},
		{"name": "db", "script": "./run", "min_uptime": "100ms"},
		{"name": "migrate", "script": "./once", "autorestart": false},
		{"name": "night", "script": "./fails", "schedule": "0 3 * * *"},
		{"name": "later", "script": "./run", "autostart": false}]}`)
	g.run("start", "eco.json", "--no-wait", "-s")
	g.awaitStatus("db", "online")
	g.wellIs(false, "not healthy: web:0 is launching (not ready ")
	g.wellIs(true, "healthy: 1 instance", "db")
	g.file("up", "")
	g.awaitStatus("web", "online")
	g.awaitStatus("migrate", "stopped")
	g.wellIs(true, "healthy: 4 instances")
	g.wellIs(true, "", "-s")
	g.wellIs(true, "", "migrate", "night")
	g.wellIs(false, "later:0 is stopped", "later")

	g.run("stop", "db", "-s")
	g.wellIs(true, "healthy: 3 instances") // who has stopped it knows that
	g.wellIs(false, "db:0 is stopped", "db")
	g.run("start", "fails", "--name", "loop", "--no-wait", "--max-restarts", "1", "-s")
	g.awaitStatus("loop", "errored")
	g.wellIs(false, "not healthy: loop:0 is errored (exit 3)")
	var result struct {
		Healthy   bool
		Why       string
		Instances []struct{ Name, Status, State, Why string }
	}
	r := g.try("healthcheck", "--json")
	must(t, json.Unmarshal([]byte(r.out), &result))
	if r.code != 1 || result.Healthy || len(result.Instances) != 6 || fmt.Sprint(result.Instances[1]) != "{db stopped off db:0 is stopped}" || result.Instances[5].Why != result.Why {
		t.Errorf("%v", r)
	}
	g.run("stop", "loop", "-s") // it had failed, and isn't to run any more
	g.wellIs(true, "healthy: 3 instances")
	g.wellIs(false, "nobody", "nobody")
	g.fail(1, []string{"unknown flag", "healthcheck --help"}, "healthcheck", "--nonsense")
	g.run("stop", "all", "-s")
	g.wellIs(false, "nothing is to run")
}

// What the app's own health check says counts, and with --any one instance is enough.
func TestHealthcheckOfWhatIsIll(t *testing.T) {
	g := newGopm(t)
	g.sick("", `, "instances": 2, "exec_mode": "cluster"`, "")
	g.wellIs(false, "sick:")
	g.healthIs("healthy", "healthy")
	g.wellIs(true, "healthy: 2 instances")
	g.file("state.1", "no database")
	g.healthIs("healthy", "unhealthy")
	g.wellIs(false, "sick:1 is online (unhealthy), its health check says: ")
	g.wellIs(true, "healthy", "--any")
}

// A reload of a cluster is not seen: at each moment as many serve as should.
func TestHealthcheckDuringReload(t *testing.T) {
	g := newGopm(t)
	g.served("python", "", `"instances": 2, "min_uptime": "300ms"`)
	g.wellIs(true, "healthy: 2 instances")
	done := make(chan result, 1)
	go func() { done <- g.try("reload", "web") }()
	for asked := 1; ; asked++ {
		select {
		case r := <-done:
			if r.code != 0 || asked < 3 {
				t.Errorf("asked %d times during %v", asked, r)
			}
			return
		default:
			g.wellIs(true, "healthy: ")
		}
	}
}

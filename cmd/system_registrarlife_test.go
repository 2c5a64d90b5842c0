package cmd_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
	"gopm/tools/agent"
)

// What becomes of entries while instances, gopm or both are exchanged or ended.

// states watches the state of an entry until stop, which returns what it has been, in order.
// "" is: it isn't there.
func (c *consulAgent) states(service, id string) (stop func() []string) {
	var all []string
	end, done := make(chan struct{}), make(chan struct{})
	go func() { // ended by stop, which waits for it
		defer close(done)
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			state := ""
			if e, err := c.entryOf(service, id); err == nil {
				state = e.Status()
			}
			if len(all) == 0 || all[len(all)-1] != state {
				all = append(all, state)
			}
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	once := sync.OnceFunc(func() { close(end) })
	c.t.Cleanup(once)
	return func() []string {
		once()
		<-done
		return all
	}
}

// TestRegistrationSurvives sees that an entry passes all the time while gopm is updated or
// its daemon dies, and while a clustered app is reloaded.
func TestRegistrationSurvives(t *testing.T) {
	g, c, _ := startsListed(t, 2, `, "consul": true, "ready": "port"`)
	const id = "gopm:h:web:0"
	c.awaitEntry("web", id, "passing")
	for what, do := range map[string]func(){
		"update": func() { g.run("update") },
		"kill -9": func() {
			daemon, _ := g.daemon()
			must(t, syscall.Kill(daemon, syscall.SIGKILL))
			eventually(t, 2*soon, func() error {
				if now, _ := g.daemon(); now == daemon {
					return fmt.Errorf("the daemon is still %d", now)
				}
				return nil
			})
			g.run("ls")
		},
		"reload": func() { g.run("reload", "web") },
	} {
		stop := c.states("web", id)
		do()
		eventually(t, 2*soon, func() error { // the next daemon has seen, and told, the agent
			if out := g.run("info", "web"); !strings.Contains(out, "registered as web ("+id+"), passing") {
				return fmt.Errorf("info shows\n%s", out)
			}
			return nil
		})
		if all := stop(); !slices.Equal(all, []string{"passing"}) {
			t.Errorf("%s: it has been %q", what, all)
		}
	}
}

// TestRegistrationLeaves sees that with deregister_delay nobody is sent any more to an
// instance that still serves, before it is stopped.
func TestRegistrationLeaves(t *testing.T) {
	g, c, port := startsListed(t, 1, `, "consul": {"deregister_delay": "2s"}, "pre_stop": "date > stopping"`)
	const id = "gopm:h:web:0"
	c.awaitEntry("web", id, "passing")
	ended := make(chan result)
	go func() { ended <- g.try("stop", "web") }() // received below
	e := c.awaitEntry("web", id, "critical")
	if own := e.Checks[id+":gopm"]; own.Status != "warning" {
		t.Errorf("it says %+v", own)
	}
	if m, is := e.Checks["_service_maintenance:"+id]; !is {
		t.Errorf("it is in no maintenance: %v", e.Checks)
	} else if m.Status != "critical" {
		t.Errorf("maintenance: %+v", m)
	}
	if _, err := os.Stat(filepath.Join(g.dir, "stopping")); err == nil {
		t.Error("it is being stopped already")
	}
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d", port))
	must(t, err)
	must(t, r.Body.Close())
	if r := <-ended; r.code != 0 {
		t.Errorf("stop: %v", r)
	}
	c.awaitHealth("web", map[string]string{})
	g.run("start", "web") // and it comes back, out of maintenance
	c.awaitEntry("web", id, "passing")
	g.run("restart", "web")
	c.awaitEntry("web", id, "passing", "ended by command")
}

// TestRegistrationUnhealthy sees an instance flip as soon as its own health checks fail,
// and back.
func TestRegistrationUnhealthy(t *testing.T) {
	g, c, _ := startsListed(t, 1, `, "consul": true, "health": {"exec": "test ! -e sick", "interval": "200ms", "retries": 2}`)
	const id = "gopm:h:web:0"
	c.awaitEntry("web", id, "passing", "healthy")
	g.file("sick", "")
	c.awaitEntry("web", id, "critical", "unhealthy: ")
	must(t, os.Remove(filepath.Join(g.dir, "sick")))
	c.awaitEntry("web", id, "passing", "healthy")
}

// TestRegistrationChanges sees that a change of the file changes entries and restarts
// nothing, and that scaling adds and removes them.
func TestRegistrationChanges(t *testing.T) {
	g, c, port := startsListed(t, 1, `, "consul": true, "exec_mode": "cluster"`)
	c.awaitHealth("web", map[string]string{"gopm:h:web:0": "passing"})
	pids := g.pids()
	g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "web.js", "instances": 1, "exec_mode": "cluster", "env": {"PORT": "%d"},
		"consul": {"service": "shop", "tags": ["new"], "weights": {"passing": 5, "warning": 2}}}]}`, port))
	g.run("start", "eco.json")
	c.awaitHealth("shop", map[string]string{"gopm:h:web:0": "passing"})
	c.awaitHealth("web", map[string]string{})
	var has struct{ Weights map[string]int }
	must(t, c.Ask("GET", "/v1/agent/service/gopm:h:web:0", nil, &has))
	if has.Weights["Passing"] != 5 || has.Weights["Warning"] != 2 {
		t.Errorf("its weights are %v", has.Weights)
	}
	if now := g.pids(); now["web:0"] != pids["web:0"] {
		t.Errorf("it was restarted: %v, before %v", now, pids)
	}
	g.run("scale", "web", "3")
	c.awaitHealth("shop", map[string]string{"gopm:h:web:0": "passing", "gopm:h:web:1": "passing", "gopm:h:web:2": "passing"})
	g.run("scale", "web", "1")
	c.awaitHealth("shop", map[string]string{"gopm:h:web:0": "passing"})
	g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "web.js", "instances": 1, "exec_mode": "cluster", "env": {"PORT": "%d"}}]}`, port))
	g.run("start", "eco.json")
	c.awaitHealth("shop", map[string]string{})
	lacks(t, "info", g.run("info", "web"), "registered")
}

// TestRegistrationWithoutPort sees that who listens on nothing is registered all the same,
// later, and that spares and jobs are not.
func TestRegistrationWithoutPort(t *testing.T) {
	g, c, _ := startsListed(t, 1, `, "consul": true, "exec_mode": "cluster", "spares": 1`)
	g.file("more.json", fmt.Sprintf(`{"apps": [{"name": "worker", "script": %q, "consul": true},
		{"name": "job", "script": %q, "schedule": "* * * * *", "consul": true}]}`, g.sleeper("worker.sh"), g.sleeper("job.sh")))
	g.run("start", "more.json")
	e := c.awaitEntry("worker", "gopm:h:worker:0", "passing")
	if e.Port != 0 {
		t.Errorf("its port is %d", e.Port)
	}
	c.awaitHealth("web", map[string]string{"gopm:h:web:0": "passing"})
	c.awaitHealth("job", map[string]string{})
	must(t, syscall.Kill(g.pids()["web:0"], syscall.SIGKILL))
	c.awaitHealth("web", map[string]string{"gopm:h:web:1": "passing"}) // the spare has the place
}

// TestRegistrationOfASingleton sees that of an app which is active on one machine only that
// one is in the catalog.
func TestRegistrationOfASingleton(t *testing.T) {
	a, c, _ := startsListed(t, 1, `, "consul": true, "singleton": "locks/web"`)
	c.awaitHealth("web", map[string]string{"gopm:h:web:0": "passing"})
	b := newGopmBeside(a, "i")
	b.run("start", "eco.json", "--no-wait")
	eventually(t, soon, func() error {
		if out := b.run("ls"); !strings.Contains(out, "standby") {
			return fmt.Errorf("it shows\n%s", out)
		}
		return nil
	})
	c.awaitHealth("web", map[string]string{"gopm:h:web:0": "passing"})
	a.run("stop", "web")
	c.awaitHealth("web", map[string]string{"gopm:i:web:0": "passing"})
}

// newGopmBeside is one more in the same folder, with another home and name.
func newGopmBeside(g *gopm, node string) *gopm {
	more := *g.with("GOPM_NODE=" + node)
	more.home = g.home + node
	g.Cleanup(more.close)
	return &more
}

// TestRegistrationMoves sees that entries follow their app to another agent, and that what
// is scaled away leaves while it still serves.
func TestRegistrationMoves(t *testing.T) {
	g, c, port := startsListed(t, 3, `, "consul": {"deregister_delay": "2s"}`)
	all := map[string]string{"gopm:h:web:0": "passing", "gopm:h:web:1": "passing", "gopm:h:web:2": "passing"}
	c.awaitHealth("web", all)
	scaled := make(chan result)
	go func() { scaled <- g.try("scale", "web", "2") }() // received below
	c.awaitEntry("web", "gopm:h:web:2", "critical", "leaving: ")
	if r := <-scaled; r.code != 0 {
		t.Errorf("scale: %v", r)
	}
	delete(all, "gopm:h:web:2")
	c.awaitHealth("web", all)
	other := startConsul(t, agent.Options{})
	g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "web.js", "instances": 2, "env": {"PORT": "%d"}, "consul": {"agent": %q}}]}`, port, other.HostPort()))
	pids := g.pids()
	g.run("start", "eco.json")
	other.awaitHealth("web", all)
	c.awaitHealth("web", map[string]string{})
	if now := g.pids(); now["web:0"] != pids["web:0"] || now["web:1"] != pids["web:1"] {
		t.Errorf("restarted: %v, before %v", now, pids)
	}
}

// TestRegistrationSeesPorts sees that an instance whose port nobody has named, and that
// listens late, is registered with the port that it listens on, and never without.
func TestRegistrationSeesPorts(t *testing.T) {
	g, c, _ := startsListed(t, 1, "")
	port, err := load.FreePort()
	must(t, err)
	g.file("late.js", fmt.Sprintf(`setTimeout(() => require("http").createServer().listen(%d, "127.0.0.1"), 2000)`, port))
	g.file("late.json", `{"apps": [{"name": "late", "script": "late.js", "consul": true}]}`)
	g.run("start", "late.json")
	var e agent.Entry
	eventually(t, 2*soon, func() (err error) {
		e, err = c.entryOf("late", "gopm:h:late:0")
		return err
	})
	if e.Port != port {
		t.Errorf("it is registered with the port %d, and listens on %d", e.Port, port)
	}
	c.awaitEntry("late", "gopm:h:late:0", "passing")
	must(t, syscall.Kill(g.pids()["late:0"], syscall.SIGKILL))
	if e := c.awaitEntry("late", "gopm:h:late:0", "critical"); e.Port != port {
		t.Errorf("after its death its port is %d", e.Port)
	}
	c.awaitEntry("late", "gopm:h:late:0", "passing")
}

package cmd_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
	"gopm/daemon/api"
	"gopm/tools/agent"
)

// The registration of instances with a real agent, by the built binary.

// nodeServer answers on PORT.
const nodeServer = `require("http").createServer((_, r) => r.end("pid " + process.pid)).listen(+process.env.PORT, "127.0.0.1")`

// startsListed gives a test a gopm called h, an agent, and an app with so many instances.
func startsListed(t *testing.T, count int, fields string) (g *gopm, c *consulAgent, port int) {
	t.Helper()
	base := newGopm(t)
	c = startConsul(t, agent.Options{})
	g = base.uses(c).with("GOPM_NODE=h")
	port, err := load.FreePort()
	must(t, err)
	g.file("web.js", nodeServer)
	g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "web.js", "instances": %d, "env": {"PORT": "%d"}%s}]}`, count, port, fields))
	g.run("start", "eco.json")
	return g, c, port
}

// entryOf is an entry of the catalog.
func (c *consulAgent) entryOf(service, id string) (agent.Entry, error) {
	entries, err := c.Health(service)
	if err != nil {
		return agent.Entry{}, err
	}
	for _, e := range entries {
		if e.ID == id {
			return e, nil
		}
	}
	return agent.Entry{}, fmt.Errorf("no %s among %d entries of %s", id, len(entries), service)
}

// awaitEntry waits until an entry is in a state, and what is said of it has some words.
func (c *consulAgent) awaitEntry(service, id, state string, words ...string) agent.Entry {
	c.t.Helper()
	var found agent.Entry
	eventually(c.t, 2*soon, func() error {
		e, err := c.entryOf(service, id)
		if err != nil {
			return err
		}
		found = e
		said := e.Checks[id+":gopm"]
		if e.Status() != state {
			return fmt.Errorf("%s is %s: %v", id, e.Status(), e.Checks)
		}
		for _, w := range words {
			if !strings.Contains(said.Output, w) {
				return fmt.Errorf("%s says %q, want %q in it", id, said.Output, w)
			}
		}
		return nil
	})
	return found
}

// TestRegistration sees an app's life in the catalog: it is there with its port and its
// checks, is critical from its death to its return, and gone when it is stopped. What isn't
// ours is never touched.
func TestRegistration(t *testing.T) {
	g, c, port := startsListed(t, 2, `, "restart_delay": "1s", "consul": {"tags": ["v1", "i{instance}"], "meta": {"a": "b"}, "checks": [{"http": "http://127.0.0.1:{port}/", "interval": "1s"}]}`)
	foreign := map[string]map[string]any{
		"gopm:h2:web:0":  {"gopm_home": g.home},       // another host's
		"gopm:h:other:0": {"gopm_home": "/elsewhere"}, // another home's
		"gopm:h:loose":   {},                          // nobody's
		"own":            {"gopm_home": g.home},       // without the prefix
	}
	for id, meta := range foreign {
		must(t, c.Ask("PUT", "/v1/agent/service/register", map[string]any{"ID": id, "Name": "foreign", "Meta": meta}, nil))
	}
	for i := range 2 {
		id := fmt.Sprintf("gopm:h:web:%d", i)
		e := c.awaitEntry("web", id, "passing", "online, pid ")
		if e.Port != port || len(e.Checks) != 3 || strings.Join(e.Tags, " ") != fmt.Sprintf("v1 i%d", i) || e.Meta["a"] != "b" || e.Meta["gopm_home"] != g.home {
			t.Errorf("%s is registered as %+v", id, e)
		}
	}
	contains(t, "info", g.run("info", "web"), "registered as web (gopm:h:web:0), passing, port "+fmt.Sprint(port))
	pid := g.pids()["web:1"]
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	c.awaitEntry("web", "gopm:h:web:1", "critical", "SIGKILL")
	c.awaitEntry("web", "gopm:h:web:1", "passing", "online", "the run before was ended by SIGKILL")
	g.run("stop", "web")
	c.awaitHealth("web", map[string]string{})
	g.run("start", "web")
	c.awaitHealth("web", map[string]string{"gopm:h:web:0": "passing", "gopm:h:web:1": "passing"})
	g.run("kill")
	left := c.catalog()
	for id := range foreign {
		if left[id] != "foreign" {
			t.Errorf("%s, which isn't ours, is gone", id)
		}
		delete(left, id)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestRegistrationAgentGone sees that nothing waits for an agent that is gone, that it is
// told, and that all is back soon after it answers with nothing of what it had.
func TestRegistrationAgentGone(t *testing.T) {
	g, c, _ := startsListed(t, 2, `, "consul": true`)
	both := map[string]string{"gopm:h:web:0": "passing", "gopm:h:web:1": "passing"}
	c.awaitHealth("web", both)
	c.Kill()
	eventually(t, soon, func() error {
		if out := g.run("ls"); !strings.Contains(out, "consul: down") || !strings.Contains(out, "connection refused") {
			return fmt.Errorf("ls shows nothing of the agent:\n%s", out)
		}
		return nil
	})
	eventually(t, soon, func() error { // not while it tries
		if out := g.run("info", "web"); !strings.Contains(out, "next try in") {
			return fmt.Errorf("info says nothing of the next try:\n%s", out)
		}
		return nil
	})
	contains(t, "info", g.run("info", "web"), "down ", "connection refused")
	g.run("restart", "web")
	c.begin()
	back := time.Now()
	c.awaitHealth("web", both)
	t.Logf("back %v after the agent could be asked", time.Since(back).Round(time.Millisecond))
	lacks(t, "ls", g.run("ls"), "consul: down")
	var told []string
	for _, e := range g.events("--kind", api.EventConsul) {
		told = append(told, e.Text)
	}
	contains(t, "events", strings.Join(told, "\n"), "is down", "answers")
}

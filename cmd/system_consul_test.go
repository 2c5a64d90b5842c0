package cmd_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopm/tools/agent"
)

// What the tests with Consul need: a real agent, gopms that speak with it, and machines
// that can be cut off from each other.

// consulAgent is an agent for one test. What its methods can't do fails the test.
type consulAgent struct {
	*agent.Agent
	t *testing.T
}

// startConsul starts one that ends with the test.
func startConsul(t *testing.T, o agent.Options) *consulAgent {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real agent of Consul")
	}
	a, err := agent.Start(t.TempDir(), o)
	must(t, err)
	t.Cleanup(a.Kill)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("consul of %s:\n%s", a.Node, (&gopm{}).tail(a.Log(), 40))
		}
	})
	return &consulAgent{a, t}
}

// env is what CONSUL_HTTP_ADDR and the like say of the agent.
func (c *consulAgent) env() []string {
	env := []string{"CONSUL_HTTP_ADDR=" + c.Address()}
	if c.Token != "" {
		env = append(env, "CONSUL_HTTP_TOKEN="+c.Token)
	}
	if c.Certs != nil {
		env = append(env, "CONSUL_CACERT="+c.Certs.CA, "CONSUL_CLIENT_CERT="+c.Certs.Client, "CONSUL_CLIENT_KEY="+c.Certs.ClientKey)
	}
	return env
}

// begin starts an agent again that was ended: empty, if it has all in memory.
func (c *consulAgent) begin() {
	c.t.Helper()
	must(c.t, c.Begin())
}

func (c *consulAgent) put(key, value string) {
	c.t.Helper()
	must(c.t, c.Put(key, value))
}

// value is what a key has; "": there is none.
func (c *consulAgent) value(key string) string {
	c.t.Helper()
	value, _, err := c.Get(key)
	must(c.t, err)
	return value
}

func (c *consulAgent) remove(key string) {
	c.t.Helper()
	must(c.t, c.Delete(key))
}

// health is what the catalog has of a service: the state of each entry, by its ID.
func (c *consulAgent) health(service string) map[string]string {
	c.t.Helper()
	entries, err := c.Health(service)
	must(c.t, err)
	states := map[string]string{}
	for _, e := range entries {
		states[e.ID] = e.Status()
	}
	return states
}

// awaitHealth waits until it is exactly that.
func (c *consulAgent) awaitHealth(service string, want map[string]string) {
	c.t.Helper()
	eventually(c.t, 2*soon, func() error {
		if have := c.health(service); !maps.Equal(have, want) {
			return fmt.Errorf("the catalog has %v of %s, want %v", have, service, want)
		}
		return nil
	})
}

// catalog is what the agent itself was told of: names of services, by ID.
func (c *consulAgent) catalog() map[string]string {
	c.t.Helper()
	names, err := c.Services()
	must(c.t, err)
	return names
}

func (c *consulAgent) dig(name, kind string) string {
	c.t.Helper()
	said, err := c.Dig(name, kind)
	must(c.t, err)
	return said
}

// uses gives a gopm's commands, and thereby its daemon and its apps, the agent.
func (g *gopm) uses(c *consulAgent) *gopm { return g.with(c.env()...) }

// fleet is some machines, each with a network, an agent and a gopm of its own.
type fleet struct {
	*testing.T
	net    *agent.Net
	server *consulAgent // on a machine without gopm; nil where the machines' agents are the servers
	hosts  []*host
}

// host is a machine of a fleet, called m1, m2, … everywhere.
type host struct {
	*gopm
	machine *agent.Machine
	agent   *consulAgent
}

// newFleet starts n machines. Either one server is on a machine of its own, so that each
// of the n can be cut off without harm to the others, or the first three elect one.
func newFleet(t *testing.T, n, servers int) *fleet {
	t.Helper()
	base := newGopm(t)
	all := n
	if servers == 1 {
		all++
	}
	network, err := agent.NewNet(all)
	must(t, err)
	t.Cleanup(network.Close)
	f := &fleet{T: t, net: network}
	if servers == 1 {
		f.server = startConsul(t, agent.Options{Node: "server", Machine: network.Machines[n], Servers: 1})
	}
	for i, a := range f.agents(n, servers) {
		f.hosts = append(f.hosts, f.host(base, network.Machines[i], a))
	}
	return f
}

// agents starts those of the machines, all at once: servers wait for each other.
func (f *fleet) agents(n, servers int) []*consulAgent {
	f.Helper()
	agents, started := make([]*consulAgent, n), make(chan struct{})
	dir := f.TempDir()
	for i := range n {
		m := f.net.Machines[i]
		o := agent.Options{Node: m.Name, Machine: m}
		if servers == 1 {
			o.Join = []string{f.net.Machines[n].Address}
		} else {
			o.Join = []string{f.net.Machines[(i+1)%servers].Address}
			if i < servers {
				o.Servers = servers
			}
		}
		go func() {
			defer func() { started <- struct{}{} }()
			a, err := agent.Start(filepath.Join(dir, m.Name), o)
			if err != nil {
				f.Errorf("%s: %v", m.Name, err)
				return
			}
			agents[i] = &consulAgent{a, f.T}
		}()
	}
	for range n {
		<-started
	}
	for _, a := range agents {
		if a != nil {
			f.Cleanup(a.Kill)
		}
	}
	if f.Failed() {
		f.FailNow()
	}
	return agents
}

// host is the gopm of a machine.
func (f *fleet) host(base *gopm, m *agent.Machine, a *consulAgent) *host {
	f.Helper()
	g := *base
	dir := filepath.Join(filepath.Dir(base.dir), m.Name)
	g.dir, g.home, g.within = filepath.Join(dir, "w"), filepath.Join(dir, "h"), m.Prefix()
	must(f.T, os.MkdirAll(g.dir, 0o755))
	h := &host{gopm: g.with(append(a.env(), "GOPM_NODE="+m.Name)...), machine: m, agent: a}
	f.Cleanup(h.close)
	return h
}

// partition cuts a machine off from all others, and heal ends that.
func (f *fleet) partition(h *host) {
	f.Helper()
	must(f.T, f.net.Cut(h.machine))
}

func (f *fleet) heal(h *host) {
	f.Helper()
	must(f.T, f.net.Join(h.machine))
}

// die kills a machine: nothing is sent any more, and nothing of it runs.
func (f *fleet) die(h *host) {
	f.Helper()
	f.partition(h)
	for left := belongingTo(h.home); len(left) > 0; left = belongingTo(h.home) {
		for _, p := range left {
			p.kill()
		}
	}
	h.agent.Kill()
}

// TestConsulFleet sees that machines have networks of their own, and that gopm runs there.
func TestConsulFleet(t *testing.T) {
	f := newFleet(t, 3, 3)
	for _, h := range f.hosts {
		h.file("app.js", `require("http").createServer((_, r) => r.end(process.env.GOPM_NODE)).listen(8080)`)
		h.run("start", "app.js")
		eventually(t, soon, func() error {
			out, err := h.machine.Command("curl", "-s", "-m", "3", "http://127.0.0.1:8080").CombinedOutput()
			if err == nil && string(out) != h.machine.Name {
				err = fmt.Errorf("%s answers %q", h.machine.Name, out)
			}
			return err
		})
	}
	a, b := f.hosts[0], f.hosts[1]
	a.agent.put("key", "a value")
	if have := b.agent.value("key"); have != "a value" {
		t.Errorf("the other machine has %q", have)
	}
	f.partition(a)
	ask := func() error {
		out, err := b.machine.Command("curl", "-sS", "-m", "2", "http://"+a.machine.Address+":8080").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %s", err, out)
		}
		return err
	}
	if err := ask(); err == nil || !strings.Contains(err.Error(), "curl") {
		t.Errorf("who is cut off has answered: %v", err)
	}
	eventually(t, 2*soon, func() error { return b.agent.Put("key", "another") }) // they may elect a leader first
	f.heal(a)
	eventually(t, soon, ask)
	f.die(f.hosts[2])
	if left := belongingTo(f.hosts[2].home); len(left) > 0 {
		t.Errorf("a dead machine runs %v", left)
	}
}

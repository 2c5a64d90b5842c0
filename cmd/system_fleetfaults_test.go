package cmd_test

import (
	"strings"
	"testing"

	"gopm/tools/agent"
)

// TestFleetInTrouble asks for other machines, and for a lock, by an agent that doesn't do as
// it should: each command says what is wrong, and ends.
func TestFleetInTrouble(t *testing.T) {
	g := newGopm(t).with("GOPM_NODE=h")
	c := startConsul(t, agent.Options{ACL: true})
	p, err := agent.NewProxy(c.Address())
	must(t, err)
	t.Cleanup(p.Close)
	g = g.with("CONSUL_HTTP_ADDR="+p.Address(), "CONSUL_HTTP_TOKEN="+c.Token)
	g.sleeper("run")
	g.file("eco.json", `{"apps": [{"name": "app", "script": "./run", "consul": {"fleet": true, "port": 3000}}]}`)
	g.run("start", "eco.json")
	c.awaitHealth("app", map[string]string{"gopm:h:app:0": "passing"})
	c.awaitHealth("gopm", map[string]string{"gopm:h": "passing"})
	before := g.list()
	commands := []string{"fleet ls", "fleet info app", "fleet reload app", "fleet status app", "fleet render nginx app", "lock --wait 0 locks/one -- true"}
	try := func(g *gopm, words string) {
		t.Helper()
		for _, command := range commands {
			r := g.try(strings.Fields(command)...)
			if r.code == 0 || !strings.Contains(r.err, words) {
				t.Errorf("gopm %s: want %q, got %v", command, words, r)
			}
			lacks(t, command, r.out+r.err, c.Token)
		}
	}
	for fault, words := range map[agent.Fault]string{
		agent.Fail: "500 No cluster leader", agent.Cut: "in the middle of an answer", agent.Stranger: "no agent of Consul answers there", agent.Silent: "no answer within",
	} {
		p.Set(fault, "")
		try(g, words)
	}
	p.Set(agent.Pass, "")
	try(g.with("CONSUL_HTTP_TOKEN=none-that-is-known"), "doesn't know the token")
	g.undisturbed(before)
}
